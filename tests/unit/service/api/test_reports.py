"""The line of a request counts the items of an answer in both formats."""

from __future__ import annotations

from typing import Any

import pytest

from service.api.reports import Ranked, RequestLine
from service.ranking.items import ItemColumns, RankedItem
from service.ranking.messages import RankRequest, RankResponse

TIMES_MS: Any = {"catalog": 1.0, "user": 2.0, "score": 3.0, "select": 4.0, "total": 10.0}
ROWS = [RankedItem("a", 1, 0.5, "ok"), RankedItem("b", 2, 0.4, "ok")]
COLUMNS = ItemColumns(item_ids=["a", "b"], ranks=[1, 2], scores=[0.5, 0.4], status=["ok", "ok"])


@pytest.mark.parametrize("items", [ROWS, COLUMNS], ids=["rows", "columns"])
def test_the_items_of_an_answer_are_counted(items: Any) -> None:
    line = RequestLine(request_id="r", route="/rank", status=200, total_ms=10.0)
    answer = RankResponse(
        request_id="r", model="toy@1", tradeoff=0.5, items=items, degraded=[], timing_ms=TIMES_MS
    )
    line.add_ranking(Ranked(RankRequest(user_id="u"), answer, 0.0))
    assert line.items == 2
