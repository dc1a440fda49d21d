"""From a fitted net to an artifact: graphs, golden inputs, proof of parity, manifest."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.contract.artifact import (
    BIAS_REFERENCE,
    GOLDEN,
    MANIFEST,
    Artifact,
    BiasReference,
)
from service.contract.attributes import CODINGS, CODINGS_FILE
from service.contract.card import CARD, CARD_PAGE
from service.contract.files import sha256
from service.contract.front import Front
from service.contract.manifest import (
    SCHEMA_VERSION,
    DatasetInfo,
    Graph,
    GraphName,
    Manifest,
    Modality,
    Predecessor,
    Spaces,
    graph_signatures,
)
from service.contract.repository import Repository
from training.config import Config
from training.data.dataset import Dataset
from training.errors import ExportError
from training.evaluation.report.card import make_card
from training.evaluation.report.card_page import card_page
from training.evaluation.report.page import report_page
from training.evaluation.report.plots import plot_front
from training.evaluation.report.schema import Report
from training.fitting.fitted_net import FittedNet
from training.fitting.provenance import commit
from training.fitting.warm_start import TrainingState
from training.nets.base import FrontNet
from training.release.parity import make_golden, prove_parity, prove_service
from training.release.parts import ITEMS, STATE, USERS, write_learned
from training.release.state import write_state

OPSET = 20
LEARNED_MODALITY = "id"
PLOT = "front.png"
PAGE = "report.html"
_CENTURY_S = tuple(datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2000, 2100))

Array = NDArray[np.float32]


def export_artifact(
    fitted: FittedNet,
    front: Front,
    reference: BiasReference,
    config: Config,
    repository: Repository,
    name: str,
    state: TrainingState | None = None,
    continued_from: Predecessor | None = None,
    report: Report | None = None,
) -> Artifact:
    """Export a new version of ``name``, prove its parity, and add it to the repository.

    The net moves to the CPU. With a ``report``, the artifact contains its page and a card.
    ``state`` is for a later training, ``continued_from`` the artifact that this one went on from.
    Raises ExportError unless torch, the graphs and the service give equal scores; the repository
    then stays as it was.
    """
    net, dataset, code = fitted.net, fitted.dataset, commit()
    net.cpu().eval()
    with repository.staging(name) as folder:
        signatures = export_graphs(net, dataset, folder)
        golden = make_golden(fitted)
        golden.save(folder / GOLDEN)
        prove_parity(folder, golden, config.parity_tolerance)
        write_learned(fitted, folder)
        if dataset.item_codings:
            (folder / CODINGS_FILE).write_bytes(CODINGS.dump_json(dataset.item_codings, indent=2))
        reference.save(folder / BIAS_REFERENCE)
        (folder / "front.json").write_text(front.model_dump_json(indent=2))
        title = f"{name} on {front.dataset}"
        plot_front(front, folder / PLOT, title=title)
        if report is not None:
            (folder / PAGE).write_text(report_page(report, title), encoding="utf-8")
        files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        if state is not None:
            write_state(state, folder / STATE)
        learned = Modality(name=LEARNED_MODALITY, dim=net.learned_items().shape[1], learned=True)
        trained = dataset.impressions.timestamp[fitted.split.train]
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            name=name,
            architecture=config.net.architecture,
            created=datetime.now(UTC),
            git_commit=code.sha if code else None,
            git_dirty=code.dirty if code else None,
            config=config.model_dump(mode="json"),
            dataset=DatasetInfo(
                name=dataset.description.name,
                fingerprint=dataset.fingerprint,
                users=len(dataset.user_ids),
                items=len(dataset.item_ids),
                impressions=len(dataset.impressions),
            ),
            modalities=(*dataset.modalities, learned),
            proxies=dataset.proxy_fields,
            graphs=signatures,
            opset=OPSET,
            spaces=_spaces(name, dataset, files),
            default_tradeoff=default_tradeoff(config, front),
            calibration=fitted.calibration,
            parity_tolerance=config.parity_tolerance,
            front=front,
            continued_from=continued_from,
            trained_until=unix_time(float(trained.max())),
            files=files,
            training_files={} if state is None else {STATE: sha256(folder / STATE)},
        )
        if report is not None:
            manifest = _with_card(manifest, report, folder)
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2))
        prove_service(folder)
        return repository.add(name, folder)


def export_graphs(net: FrontNet, dataset: Dataset, folder: Path) -> dict[GraphName, Graph]:
    """Write the ONNX graphs of ``net`` to ``folder``; return their signatures by name."""
    learned = net.learned_items().shape[1]
    embedding = dataset.embedding.shape[1] + learned
    modalities = len(dataset.modalities) + 1
    proxies = len(dataset.proxy_fields)
    with torch.inference_mode():
        item = (torch.zeros(3, embedding), torch.ones(3, modalities), torch.zeros(3, proxies))
        state = net.item_encoder(*item)
        user = net.user_encoder(state)
        moves, record, trace = net.user_moves(), net.user_records()[:1], torch.zeros(3, 0)
        if moves is not None:
            trace = moves.history_encoder(*item[:2])
    signatures = graph_signatures(
        embedding=embedding,
        modalities=modalities,
        proxies=proxies,
        state=state.shape[1],
        user=user.shape[1],
        trace=trace.shape[1],
        record=record.shape[1],
    )
    examples: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
        "item_encoder": (net.item_encoder, item),
        "user_encoder": (net.user_encoder, (state,)),
        "ranker": (net.ranker, (user, state, torch.tensor([0.5]))),
    }
    if moves is not None:
        examples["history_encoder"] = (moves.history_encoder, item[:2])
        examples["user_update"] = (moves.user_update, (record, trace))
    for name, graph in signatures.items():
        module, inputs = examples[name]
        shapes = tuple(
            {
                dimension: torch.export.Dim.DYNAMIC
                for dimension, size in enumerate(t.shape)
                if size in ("N", "L")
            }
            for t in graph.inputs
        )
        with _quiet_exporter():
            program = torch.onnx.export(
                module,
                tuple(tensor.clone() for tensor in inputs),
                input_names=[tensor.name for tensor in graph.inputs],
                output_names=[tensor.name for tensor in graph.outputs],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        if program is None:
            raise ExportError(f"{name}: torch exported nothing")
        onnx.save(_without_traces(program.model_proto), folder / f"{name}.onnx")
    return signatures


def unix_time(timestamp: float) -> datetime | None:
    """Return the time of a dataset's timestamp, which may be in any unit; None if it is no time.

    It is Unix time in the one of seconds, milliseconds, microseconds (dates) and nanoseconds that
    gives a time of this century.
    """
    for unit_s in (1.0, 1e-3, 1e-6, 1e-9):
        if _CENTURY_S[0] <= timestamp * unit_s < _CENTURY_S[1]:
            return datetime.fromtimestamp(timestamp * unit_s, UTC)
    return None


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph without the exporter's traces: module names, source lines and paths.

    With them, equal nets defined in different places would give different files.
    """
    graph = model.graph
    owners = (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info)
    for owner in (*owners, *graph.initializer, *model.functions):
        del owner.metadata_props[:]
    return model


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's deprecation warnings and its notes on each graph pass."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "onnxscript", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def default_tradeoff(config: Config, front: Front) -> float:
    """Return the configured tradeoff of requests that name none, else the recommended one."""
    if config.default_tradeoff is not None:
        return config.default_tradeoff
    return 1.0 if front.recommended is None else front.recommended


def _with_card(manifest: Manifest, report: Report, folder: Path) -> Manifest:
    """Write the card of a manifest and its page to ``folder``; return the manifest with both."""
    card = make_card(manifest, report)
    (folder / CARD).write_text(card.model_dump_json(indent=2), encoding="utf-8")
    (folder / CARD_PAGE).write_text(card_page(card), encoding="utf-8")
    hashes = {name: sha256(folder / name) for name in (CARD, CARD_PAGE)}
    return manifest.model_copy(update={"files": {**manifest.files, **hashes}})


def _spaces(name: str, dataset: Dataset, files: dict[str, str]) -> Spaces:
    """Return the key spaces: named by a hash of the encoders and vectors, and of the proxies."""
    model = hashlib.sha256(
        "".join(files[f"{g}.onnx"] for g in ("item_encoder", "user_encoder")).encode()
    )
    model.update((files[ITEMS] + files[USERS]).encode())
    proxies = hashlib.sha256("\n".join(p.model_dump_json() for p in dataset.proxy_fields).encode())
    space = f"{name[:40]}-{model.hexdigest()[:12]}"
    return Spaces(
        items=space,
        users=space,
        proxies=f"{dataset.description.name[:40]}-{proxies.hexdigest()[:12]}",
    )
