"""A study: a front over several seeds with baselines, probes, segments and mask, in one report."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from training.config import Config
from training.data.dataset import Dataset
from training.data.split import positives_only, split_rows
from training.data.summary import summarise
from training.errors import ConfigError
from training.evaluation.baselines import BASELINE_NAMES, RANKING_BASELINE_NAMES
from training.evaluation.baselines.ablations import measure_ablation
from training.evaluation.baselines.full_ranking import measure_ranking_baseline
from training.evaluation.baselines.reranking import has_tower, measure_baseline
from training.evaluation.mask import check_learns_mask, measure_mask
from training.evaluation.measure import front_over_seeds, training_curves
from training.evaluation.probes import measure_probes
from training.evaluation.report.schema import Curve, RankingReport, Report
from training.evaluation.segments import hidden_users, measure_segments
from training.fitting.runs import RunStore
from training.fitting.train_net import settle
from training.nets.registry import architecture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyOptions:
    """The options of a study.

    seeds: number of trainings. baselines: ``all``, ``none`` or names, separated by commas.
    probes, cold, mask: whether to measure purification probes, segments, the invariant mask.
    cold_users: the share of users that ``cold`` hides from a second training.
    """

    seeds: int = 5
    baselines: str = "none"
    probes: bool = False
    cold: bool = False
    cold_users: float = 0.1
    mask: bool = False


def run(
    dataset: Dataset, config: Config, options: StudyOptions, runs: RunStore
) -> Report | RankingReport:
    """Return the report of a study; results in ``runs`` are not computed again.

    On clicks alone, a net that needs skips has no front; the report then holds baselines alone.
    Raises ConfigError before any training for options that do not fit the net or the dataset.
    """
    clicks_alone = positives_only(dataset)
    names = baseline_names(options.baselines, known_baselines(config, clicks_alone=clicks_alone))
    _check(dataset, config, options, names, clicks_alone=clicks_alone)
    shares = config.split
    split = split_rows(dataset, validation=shares.validation, test=shares.test, seed=config.seed)
    data = summarise(dataset, split)
    if clicks_alone and not architecture(config.net).learns_from_clicks_alone:
        seeds = tuple(range(config.seed, config.seed + options.seeds))
        curves = _rankers(dataset, config, names, options.seeds, runs)
        name = dataset.description.name
        return RankingReport(dataset=name, seeds=seeds, baselines=curves, data=data)
    config = settle(dataset, config, runs)  # once: for all seeds, and for rivals on the same tower
    arguments = dataset, config, options.seeds, runs
    front = front_over_seeds(*arguments)
    measure_baselines = _rankers if clicks_alone else _rerankers
    baselines = measure_baselines(dataset, config, names, options.seeds, runs)
    purification = measure_probes(*arguments) if options.probes else ()
    segments = measure_segments(*arguments, options.cold_users) if options.cold else ()
    return Report(
        **front.model_dump(),
        baselines=baselines,
        purification=purification,
        segments=segments,
        mask=measure_mask(*arguments) if options.mask else None,
        training=training_curves(*arguments),
        data=data,
    )


def known_baselines(config: Config, *, clicks_alone: bool) -> tuple[str, ...]:
    """Return the names of the baselines of a net, on clicks alone or with skips."""
    if clicks_alone:
        return (*RANKING_BASELINE_NAMES, *architecture(config.net).ablations)
    return BASELINE_NAMES


def baseline_names(selection: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Parse ``all``, ``none`` or names separated by commas; ConfigError for an unknown name."""
    if selection in ("", "none"):
        return ()
    names = allowed if selection == "all" else tuple(selection.split(","))
    for name in names:
        if name not in allowed:
            raise ConfigError(f"--baselines: {name!r} is not one of {', '.join(allowed)}")
    return names


def _check(
    dataset: Dataset,
    config: Config,
    options: StudyOptions,
    names: tuple[str, ...],
    *,
    clicks_alone: bool,
) -> None:
    """Raise ConfigError for options that do not fit the net or the dataset."""
    if options.mask:
        check_learns_mask(config)
    if clicks_alone and (options.probes or options.cold):
        raise ConfigError(
            f"--probes and --cold: {dataset.path} holds clicks alone, which have no AUC"
        )
    if clicks_alone and not names and not architecture(config.net).learns_from_clicks_alone:
        raise ConfigError(
            f"{dataset.path} holds clicks alone: name rankers to measure, --baselines"
        )
    if options.cold:
        hidden_users(dataset, options.cold_users)


def _rerankers(
    dataset: Dataset, config: Config, names: tuple[str, ...], seeds: int, runs: RunStore
) -> dict[str, Curve]:
    """Return the curves of baselines on a log with skips."""
    if names and not has_tower(config):
        log.info(
            "baselines use the tower of cp2rec: net.architecture = %s has none",
            config.net.architecture,
        )
    curves = {}
    for name in names:
        log.info("baseline %s", name)
        curves[name] = measure_baseline(name, dataset, config, seeds, runs)
    return curves


def _rankers(
    dataset: Dataset, config: Config, names: tuple[str, ...], seeds: int, runs: RunStore
) -> dict[str, Curve]:
    """Return the curves of baselines and ablations on clicks alone."""
    curves = {}
    for name in names:
        log.info("baseline %s", name)
        is_ablation = name in architecture(config.net).ablations
        measure = measure_ablation if is_ablation else measure_ranking_baseline
        curves[name] = measure(name, dataset, config, seeds, runs)
    return curves
