from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets import make_clicks, make_dataset
from training.config import load_config
from training.errors import ConfigError
from training.evaluation.baselines.full_ranking import RANKING_BASELINES
from training.evaluation.baselines.reranking import BASELINES
from training.evaluation.study import StudyOptions, baseline_names, known_baselines, run
from training.fitting.runs import RunKey, RunStore


class Untouched(RunStore):
    """A run store that fails on every use: no training and no result may be requested."""

    def path(self, key: RunKey, result: str, module: str, suffix: str) -> Path:
        raise AssertionError(f"{result} of {key.name} in {module}: {suffix}")


def test_baselines_are_parsed_by_name() -> None:
    known = tuple(BASELINES)

    assert baseline_names("all", known) == known
    assert baseline_names("none", known) == baseline_names("", known) == ()
    assert baseline_names("pos,ips", known) == ("pos", "ips")
    with pytest.raises(ConfigError, match=r"--baselines: 'popular' is not one of plain, no-proxy"):
        baseline_names("ips,popular", known)


def test_ablations_are_those_of_the_architecture() -> None:
    rankers = tuple(RANKING_BASELINES)
    painvrl, cp2rec = load_config("painvrl"), load_config("cp2rec")

    assert known_baselines(cp2rec, clicks_alone=True) == rankers
    assert known_baselines(painvrl, clicks_alone=True) == (
        *rankers,
        *("unmasked", "unmasked-penalty", "random-environments", "mask-only", "no-popularity"),
    )
    for config in (painvrl, cp2rec):
        assert known_baselines(config, clicks_alone=False) == tuple(BASELINES)


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("cp2rec", StudyOptions(), r"^toy holds clicks alone.*--baselines"),
        (
            "cp2rec",
            StudyOptions(baselines="unmasked"),
            r"--baselines: 'unmasked' is not one of popularity, item-knn, rp3beta, bpr-mf, "
            r"ultragcn, lightgcn, penalty$",
        ),
        ("painvrl", StudyOptions(baselines="plain"), "'plain' is not one of popularity, item-knn"),
        (
            "painvrl",
            StudyOptions(probes=True),
            r"--probes.*--cold: toy holds clicks alone, which have no AUC",
        ),
        (
            "painvrl",
            StudyOptions(cold=True),
            r"--probes.*--cold: toy holds clicks alone, which have no AUC",
        ),
    ],
)
def test_clicks_alone_are_refused_before_anything_is_trained(
    model: str, options: StudyOptions, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        run(make_clicks(), load_config(model), options, Untouched(Path("unused")))


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("painvrl", StudyOptions(baselines="unmasked"), "'unmasked' is not one of plain, no-proxy"),
        ("cp2rec", StudyOptions(mask=True), r"^--mask: .*this configuration learns no mask"),
        ("cp2rec", StudyOptions(cold=True, cold_users=0.01), "--cold-users: 0.01 of 12 users"),
    ],
)
def test_options_are_refused_before_anything_is_trained(
    model: str, options: StudyOptions, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        run(make_dataset(), load_config(model), options, Untouched(Path("unused")))


def test_a_net_without_gates_has_no_mask() -> None:
    config = load_config("painvrl", overrides=("net.gates=none",))

    with pytest.raises(ConfigError, match=r"^--mask: .*this configuration learns no mask"):
        run(make_clicks(), config, StudyOptions(mask=True), Untouched(Path("unused")))
