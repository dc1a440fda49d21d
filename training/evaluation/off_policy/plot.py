"""The plot of a what-if: outcome and long tail by policy."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.contract.front import Estimate
from training.evaluation.off_policy.schema import PolicyEstimate, WhatIf
from training.evaluation.report.style import LINE, OTHER, OURS, QUIET, drawn, svg

_WIDTH, _HEIGHT = 11.0, 4.6
_INTERVAL = 1.96  # standard errors of a 95 % interval


def plot_what_if(result: WhatIf, file: Path | IO[bytes], *, title: str) -> None:
    """Write a PNG of a result, with 95 % intervals."""
    with drawn(_WIDTH, _HEIGHT) as figure:
        _draw(figure, result)
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
        figure.savefig(file, format="png", dpi=120)


def what_if_chart(result: WhatIf) -> str:
    """Return the plot as an SVG."""
    with drawn(_WIDTH, _HEIGHT) as figure:
        _draw(figure, result)
        return svg(figure)


def _draw(figure: Figure, result: WhatIf) -> None:
    policies = result.policies or result.ranked_again
    left, right = figure.subplots(1, 2)
    best = None if result.advice is None else result.advice.tradeoff
    for policy in policies:
        if policy.value is None:
            continue
        colour = OTHER if policy.tradeoff == best else OURS
        _point(left, policy, policy.value, colour)
        if policy.tail_share is not None:
            right.errorbar(
                policy.tail_share.mean,
                policy.value.mean,
                xerr=_INTERVAL * (policy.tail_share.se or 0.0),
                yerr=_INTERVAL * (policy.value.se or 0.0),
                color=colour,
                marker="o",
                elinewidth=0.8,
            )
            right.annotate(
                policy.name,
                (policy.tail_share.mean, policy.value.mean),
                xytext=(6, 6),
                textcoords="offset points",
                color=colour,
                fontsize=9,
            )
    known = [policy for policy in policies if policy.value is not None]
    left.plot(
        [policy.tradeoff for policy in known],
        [policy.value.mean for policy in known if policy.value is not None],
        color=QUIET,
        linewidth=0.8,
        zorder=0,
    )
    left.set_xlabel("tradeoff w")
    left.set_ylabel(f"{result.metric} per request")
    left.set_title("estimates; bars: 95 % intervals", color=QUIET, fontsize=9)
    right.set_xlabel("share of the places for the long tail")
    right.set_ylabel(f"{result.metric} per request")
    right.set_title("what the long tail costs", color=QUIET, fontsize=9)
    for axes in (left, right):
        axes.grid(color=LINE, linewidth=0.5)
        axes.margins(0.12)


def _point(axes: Axes, policy: PolicyEstimate, value: Estimate, colour: str) -> None:
    axes.errorbar(
        policy.tradeoff, value.mean, yerr=_INTERVAL * (value.se or 0.0), color=colour,
        marker="o", elinewidth=0.8,
    )  # fmt: skip
