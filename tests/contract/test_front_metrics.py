"""Training measures exactly the metrics that the contract lists."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from service.contract.front_metrics import FRONT_METRICS, Group
from tests.conftest import World
from training.metrics.full_ranking import TAIL_RECALL, RankingTask, full_ranking_by_user

GROUPS: tuple[Group, ...] = ("logged", "unbiased", "shown")


def test_a_front_holds_the_listed_metrics_and_no_others(world: World) -> None:
    for point in world.artifact.manifest.front.points:
        for group in GROUPS:
            assert set(getattr(point, group)) == {
                metric.name
                for metric in FRONT_METRICS
                if group in metric.groups and metric.table != "full ranking"
            }


def test_a_full_ranking_holds_the_listed_metrics() -> None:
    train, test = np.zeros((2, 3, 30), np.bool_)
    train[:, 0] = True
    test[0, 1], test[1, 2] = True, True
    positives = {"train": csr_array(train), "test": csr_array(test)}
    task = RankingTask(3, 30, positives, train.sum(axis=0))

    values = full_ranking_by_user(task, lambda users: np.zeros((len(users), 30)), "test")

    listed = {metric.name for metric in FRONT_METRICS if metric.table == "full ranking"}
    assert set(values) - {TAIL_RECALL, "arp"} == listed
