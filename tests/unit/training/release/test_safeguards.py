from __future__ import annotations

import pytest

from training.errors import PublishError
from training.release.safeguards import check_leaving


@pytest.mark.parametrize(("items", "leaving"), [(0, 0), (10, 0), (10, 4), (1, 0)])
def test_less_than_half_may_leave(items: int, leaving: int) -> None:
    check_leaving("the catalogue", items, leaving)


@pytest.mark.parametrize(("items", "leaving"), [(10, 5), (10, 10), (1, 1)])
def test_half_may_not(items: int, leaving: int) -> None:
    with pytest.raises(PublishError, match=f"{leaving} of the {items} items of the catalogue"):
        check_leaving("the catalogue", items, leaving)
