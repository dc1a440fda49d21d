"""Trains, scores and exports a net on the device ``far``; prints how each case ended, as JSON.

``python -m tests.contract.placement``: each case maps to None, or to the error that ended it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast, get_args
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from tests.contract.architectures import VARIANTS, LoggedRows, Memory, small
from tests.contract.far_device import FAR, MixedDevicesError
from tests.datasets import make_clicks, make_dataset
from tests.short_inference import short_inference
from training.config import TrainOptions
from training.data.split import split_rows
from training.evaluation.mask import _describe
from training.fitting import batches as batches_module
from training.fitting import by_id, device, distributed
from training.fitting.fitted_net import FittedNet
from training.fitting.selection import selection_rule
from training.fitting.trainer import fit
from training.metrics.full_ranking import RankingTask
from training.nets.base import FrontNet, NetOptions, Slates
from training.nets.by_id import BprMf, LightGcn, UltraGcn
from training.nets.cp2rec.decomposed import Cp2recOptions
from training.nets.cp2rec.rivals import Objective, RivalOptions
from training.nets.registry import architecture, build_net
from training.release.parity import make_golden

CPU = torch.device("cpu")
ENDS = np.array([0.0, 1.0])
TRAIN = TrainOptions(
    epochs=1, evaluations=2, patience=9, batch_slates=6, slate=4, lr=0.01, lr_final=0.01
)
EVERYTHING = 2**40  # free bytes
PREPARED: dict[NetOptions, Memory] = defaultdict(Memory)  # once for both devices
Results = dict[str, np.ndarray]


def rivals() -> dict[str, NetOptions]:
    """Return the options of every rival."""
    tower = cast(Cp2recOptions, small("decomposed"))
    return {
        f"rival-{objective}": RivalOptions(objective=objective, tower=tower)
        for objective in get_args(Objective)
    }


@dataclass(frozen=True)
class Place:
    """A device, and how much of its memory is free for the rows of a log."""

    device: torch.device
    free_bytes: int = EVERYTHING

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Train on the device within the block."""
        with (
            mock.patch.object(device._Chosen, "device", self.device),
            mock.patch.object(batches_module, "free_bytes", return_value=self.free_bytes),
        ):
            yield


def nothing(_: object) -> None:
    """Leave the net as it is."""


def net_results(
    options: NetOptions,
    place: Place,
    *,
    first: Place | None = None,
    wrong: Callable[..., None] = nothing,
) -> Results:
    """Return what a net of ``options`` scores and exports, trained at ``place``.

    The training stops after an evaluation, at ``first`` if that is given, and is resumed.
    """
    clicks_alone = architecture(options).learns_from_clicks_alone
    dataset = make_clicks(rows=120) if clicks_alone else make_dataset(rows=160)
    rows = LoggedRows.of(dataset)
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    torch.manual_seed(0)
    net = build_net(options, rows.tables)
    net.prepare(0, PREPARED[options])
    wrong(net)
    fitted = FittedNet(net, dataset, split, torch.arange(len(dataset.item_ids)) > 0)
    rule = selection_rule(fitted)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        for part, stop in ((first or place, 1), (place, None)):
            net.to(part.device)
            with part.chosen():
                fit(net, rows.batches, rule, TRAIN, seed=0, checkpoint=checkpoint, stop_after=stop)
    if net.device != place.device:
        raise MixedDevicesError(f"a net trained on {place.device} ended on {net.device}")
    results = scored(fitted)
    golden = make_golden(FittedNet(net.cpu(), dataset, split, fitted.warm))
    return results | {"golden": golden.logits, "cold": golden.cold_user}


def scored(fitted: FittedNet) -> Results:
    """Return all scores that measurements use."""
    dataset, users = fitted.dataset, np.arange(5)
    rows = np.arange(len(dataset.impressions))
    by_history = fitted.user_vectors_by_history(users, rows)
    log_examination = fitted.log_examination(rows)
    results = {
        "rows": fitted.score_rows(rows, ENDS),
        "by history": fitted.score_rows(rows, ENDS, by_history),
        "catalogue": fitted.catalogue_scores()(0.5)(users),
        "top": fitted.rank_catalogue(users, ENDS)[1],
        "examination": np.zeros(0) if log_examination is None else log_examination,
    }
    if fitted.net.learned_mask() is not None:
        results["overlap"] = np.array(_describe(fitted).overlap.mean)
    return results


def factors(net_class: Callable[..., BprMf | UltraGcn], place: Place, **options: float) -> Results:
    """Return the factors of a recommender that learns from ids alone."""
    dataset = make_clicks(rows=120)
    task = RankingTask.of(dataset, split_rows(dataset, validation=0.2, test=0.2, seed=0))
    torch.manual_seed(0)
    net = net_class(task.positives["train"], dim=4, l2=0.01, **options)
    with place.chosen(), mock.patch.object(by_id, "EPOCHS", by_id.EVERY):
        users, items = by_id.fit_by_id(net, task, lr=0.01)
    return {"users": users, "items": items}


def averaged(place: Place) -> Results:
    """Return the gradients of two processes that have the same batch."""
    rows = LoggedRows.of(make_dataset(rows=160))
    torch.manual_seed(0)
    net = build_net(small("decomposed"), rows.tables).to(place.device)

    def gather(parts: list[Tensor], part: Tensor) -> None:
        for each in parts:
            each.copy_(part)

    with place.chosen():
        rows.batches.place(place.device)
    net.loss(rows.batch()).backward()
    with (
        mock.patch.object(distributed, "world_size", return_value=2),
        mock.patch.object(dist, "all_gather", gather),
        mock.patch.object(dist, "all_reduce", lambda part: part.mul_(2.0)),
    ):
        distributed.average_gradients(net)
    return {
        name: parameter.grad.cpu().to_dense().numpy()
        for name, parameter in net.named_parameters()
        if parameter.grad is not None
    }


def constant_on_the_cpu(net: FrontNet) -> None:
    """Let a constant of the net stay where the net was built."""
    constant = net.get_buffer("_user_attributes")
    delattr(net, "_user_attributes")
    vars(net)["_user_attributes"] = constant


def draws_on_the_cpu(net: FrontNet) -> None:
    """Let the loss draw random numbers on the CPU."""
    loss = net.loss

    def mixed(batch: Slates) -> Tensor:
        return loss(batch) + (batch.label * torch.rand(len(batch.label))).sum()

    net.loss = mixed  # type: ignore[method-assign]  # the planted mistake


Case = Callable[[Place], Results]
SMALL = small("decomposed")

CASES: dict[str, Case] = {
    **{name: partial(net_results, options) for name, options in (VARIANTS | rivals()).items()},
    "bpr-mf": partial(factors, BprMf),
    "lightgcn": partial(factors, LightGcn, layers=2),
    "ultragcn": partial(factors, UltraGcn, negatives=4, negative_weight=1.0, item_weight=1.0),
    "processes": averaged,
    "checkpoint-to-the-device": partial(net_results, SMALL, first=Place(CPU)),
    "checkpoint-from-the-device": lambda place: net_results(SMALL, Place(CPU), first=place),
    "streamed-rows": lambda place: net_results(SMALL, replace(place, free_bytes=0)),
    "constant-on-the-cpu": partial(net_results, SMALL, wrong=constant_on_the_cpu),
    "draws-on-the-cpu": partial(net_results, SMALL, wrong=draws_on_the_cpu),
}


def compare(case: Case, place: Place) -> str | None:
    """Return the error that a case ends with at ``place``; None if all is as on the CPU."""
    try:
        expected, results = case(Place(CPU)), case(place)
        for name, values in expected.items():
            np.testing.assert_allclose(results[name], values, atol=1e-4, err_msg=name)
    except Exception as error:  # each case reports its own
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    """Print how all cases ended."""
    torch.set_num_threads(1)
    with short_inference():
        outcomes = {name: compare(case, Place(FAR)) for name, case in CASES.items()}
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
