from __future__ import annotations

import re

import pytest

from service.contract.front import Anchor, Anchors, Estimate, UserGroup
from tests.fronts import make_front_with_shown
from training.evaluation.report.compare import comparison_page, difference_table
from training.evaluation.report.page import report_page
from training.evaluation.report.schema import Curve, Origin, RankingReport, Report, Segment

HALF = Estimate(mean=0.5, se=0.01)
CURVE = Curve(
    description="clicks < all & more", tradeoffs=(1.0,), logged=(HALF,), unbiased=(HALF,),
    hypervolume=HALF,
)  # fmt: skip
ANCHORS = Anchors(
    metric="auc",
    model=Estimate(mean=0.69),
    anchors=(Anchor(name="popularity alone", value=HALF, lead=Estimate(mean=-0.02, se=0.001)),),
    beaten=False,
    rows=100,
)
GROUP = UserGroup(
    group=0, users=40, rows=90, click_rate=0.2, predicted=0.25, observed=0.2, gap=HALF
)
SEGMENT = Segment(
    side="logged", name="cold items", rows=9, clicks=3, users=5, items=4,
    auc={"w = 0": HALF, "w = 1": HALF},
)  # fmt: skip


@pytest.fixture
def report() -> Report:
    front = make_front_with_shown()
    return Report(
        **front.model_copy(update={"anchors": ANCHORS, "user_groups": (GROUP,)}).model_dump(),
        baselines={"plain": CURVE},
        segments=(SEGMENT,),
        training=((0.6, 0.7, 0.65),),
        origin=Origin(command="python -m training evaluate", commit="c0ffee", configuration="a"),
    )  # fmt: skip


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_the_page_has_all_parts_of_a_report_and_the_verdict_first(report: Report) -> None:
    page = report_page(report, "shop on toy")

    assert headings(page) == [
        "The tradeoff works on this data", "The front", "Baselines", "Simple models",
        "What is shown", "Segments", "Calibration", "Training", "All numbers", "How to reproduce",
        "Configuration",
    ]  # fmt: skip
    first_screen = page[: page.index("<nav")]
    assert "Not worth serving as it is: a simple model, popularity alone" in first_screen
    assert "-0.0200 ± 0.0010, popularity alone" in first_screen
    assert "# Sources: commit c0ffee\npython -m training evaluate" in page
    assert "clicks &lt; all &amp; more" in page
    assert page.count("<svg") == 6


def test_the_page_needs_no_network_and_takes_its_colours_from_the_theme(report: Report) -> None:
    page = report_page(report, "shop on toy")

    addresses = set(re.findall(r"""(?:https?:)?//[^\s"'<>)]+""", page))
    names_of_formats = {"http://www.w3.org", "http://purl.org", "http://creativecommons.org"}
    assert not [a for a in addresses if not a.startswith(tuple(names_of_formats))]
    assert not re.search(r"<(?:script|link|img|iframe)\b", page)
    styles = page[page.index("<svg") :]
    assert "#0969da" not in styles
    assert "var(--ours)" in styles
    assert "prefers-color-scheme: dark" in page


def test_equal_reports_are_equal_pages(report: Report) -> None:
    assert report_page(report, "x") == report_page(report, "x")


def test_a_report_without_a_front_shows_its_rankers() -> None:
    curve = CURVE.model_copy(update={"points": ({"recall_at_20": HALF},)})
    report = RankingReport(dataset="toy", seeds=(0,), baselines={"bpr": curve})

    page = report_page(report, "x")

    assert headings(page) == ["Rankers"]
    assert "0.5000 ± 0.0100" in page


def test_two_reports_are_compared_by_tradeoff(report: Report) -> None:
    better = report.points[0].model_copy(
        update={"logged": {"auc": Estimate(mean=0.63, se=0.0024), "gauc": Estimate(mean=0.55)}}
    )
    other = report.model_copy(update={"points": (better, *report.points[2:])})

    table = difference_table(report, other)
    page = comparison_page(report, other, ("one", "two"))

    first, *_ = (line for line in table.splitlines() if line.startswith("| 0.00"))
    assert first.split(" | ")[1] == "+0.0200 ± 0.0026"  # the root of .001² + .0024²
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| 0.00",
        "| 0.50",
        "| 1.00",
    ]
    assert headings(page) == ["one", "two", "Fronts", "Differences", "one", "two"]
