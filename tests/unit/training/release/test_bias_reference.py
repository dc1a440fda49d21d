from __future__ import annotations

import numpy as np
import pytest

from service.contract.measures import gini
from training.release.bias_reference import expected_gini


def test_a_list_that_all_users_get_is_as_concentrated_as_can_be() -> None:
    lists = np.tile(np.arange(10), (5, 1))
    assert expected_gini(lists, 40) == pytest.approx(30 / 40)


def test_a_window_smaller_than_the_users_looks_more_concentrated() -> None:
    lists = np.arange(5000).reshape(500, 10)  # no two users share an item
    everything = gini(np.bincount(lists.ravel(), minlength=5000))
    assert everything == pytest.approx(0)
    # 100 draws of 500 users with replacement reach 18 % of them; of 1,000 places each reached user
    # has 10 x draws: the share of items without any place is (1 - 1/500)^100 = .8186.
    assert expected_gini(lists, 5000) == pytest.approx(0.8345, abs=0.01)
