"""Which policy to serve under a constraint, and whether a log suffices to say so."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import norm

from service.contract.front import Estimate
from training.errors import ConfigError
from training.evaluation.off_policy.estimators import Estimated
from training.evaluation.off_policy.schema import Advice, Pair

TAIL_SHARE = "tail_share"

_LEVEL = 0.05  # chance of a wrong word among all comparisons that an answer rests on
_POWER = float(norm.ppf(0.8))  # four times of five
_MOST = 1000.0  # times this log: beyond that, no number is promised


@dataclass(frozen=True)
class Wish:
    """What to maximise, and the largest share of a measure that it may cost; None: any."""

    maximise: str
    most_cost: float | None = None
    of: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A policy that could be served: its measures by name, from the same decisions."""

    name: str
    tradeoff: float
    measures: dict[str, Estimated]

    @property
    def known(self) -> bool:
        """Whether the log says anything about all measures."""
        return all(math.isfinite(measure.value) for measure in self.measures.values())


def parse_wish(at_most: str | None, maximise: str | None, metric: str) -> Wish | None:
    """Return what ``--at-most`` and ``--maximise`` ask for; raises ConfigError."""
    measures = (metric, TAIL_SHARE)
    if maximise is not None and maximise not in measures:
        raise ConfigError(f"--maximise {maximise!r}: is neither {metric} nor {TAIL_SHARE}")
    if at_most is None:
        return None if maximise is None else Wish(maximise)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*(\S+)\s*", at_most)
    if match is None or float(match[1]) > 100 or match[2] not in measures:
        raise ConfigError(f"--at-most {at_most!r}: should be as in '2% {metric}'")
    other = TAIL_SHARE if match[2] == metric else metric
    return Wish(maximise or other, float(match[1]) / 100, match[2])


def decide(
    candidates: Sequence[Candidate], against: Candidate, wish: Wish, decisions: int
) -> Advice:
    """Return the policy that maximises what is wished for, among those that keep its constraint.

    The log suffices if the policy surely keeps it, and each other one surely breaks it or surely
    gains less: at 95 % for all comparisons together, after Bonferroni. Policies of which the log
    shows nothing are left out.
    """
    if not against.known:
        return Advice(
            goal=wish.maximise,
            most_cost=wish.most_cost,
            of=wish.of,
            tradeoff=None,
            suffices=False,
            more=None,
            sentence=f"The log shows nothing of {against.name}, to which others are compared.",
        )
    candidates = [c for c in candidates if c.known]
    goal = {c.name: c.measures[wish.maximise] for c in candidates}
    margins = {c.name: _margin(c, against, wish) for c in candidates}
    allowed = [c for c in candidates if _allowed(margins[c.name])]
    chosen = max(allowed, key=lambda c: goal[c.name].value, default=against)
    evidence = [_z(margins[chosen.name])] if margins[chosen.name] is not None else []
    for other in candidates:
        if other.name != chosen.name:
            worse = _z(goal[chosen.name].less(goal[other.name]))
            margin = margins[other.name]
            breaks = -math.inf if margin is None else -_z(margin)
            evidence.append(max(worse, breaks))
    weakest = min(evidence, default=math.inf)
    critical = _critical(len(evidence))
    suffices = weakest >= critical
    more = None if suffices else _more(weakest, critical, decisions)
    return Advice(
        goal=wish.maximise,
        most_cost=wish.most_cost,
        of=wish.of,
        tradeoff=chosen.tradeoff,
        suffices=suffices,
        more=more,
        sentence=_sentence(chosen, against, wish, suffices, more, decisions),
    )


def order_of(candidates: Sequence[Candidate], measure: str, decisions: int) -> tuple[Pair, ...]:
    """Return each two neighbours by a measure, best first; policies without a value are left out.

    They are sure at 95 % for all pairs together, after Bonferroni.
    """
    known = [c for c in candidates if math.isfinite(c.measures[measure].value)]
    ranked = sorted(known, key=lambda c: -c.measures[measure].value)
    critical = _critical(len(ranked) - 1)
    pairs = []
    for better, worse in itertools.pairwise(ranked):
        difference = better.measures[measure].less(worse.measures[measure])
        if difference is not None:
            z = _z(difference)
            pairs.append(
                Pair(
                    better=better.name,
                    worse=worse.name,
                    difference=difference,
                    sure=z >= critical,
                    more=_more(z, critical, decisions),
                )
            )
    return tuple(pairs)


def _margin(candidate: Candidate, against: Candidate, wish: Wish) -> Estimate | None:
    """Return by how much a policy stays within the constraint, None where it cannot break it."""
    if wish.of is None or wish.most_cost is None or candidate.name == against.name:
        return None
    kept, whole = candidate.measures[wish.of], against.measures[wish.of]
    return kept.less(whole, 1 - wish.most_cost)


def _allowed(margin: Estimate | None) -> bool:
    return margin is None or margin.mean >= 0


def _z(difference: Estimate | None) -> float:
    """Return a difference in standard errors, 0 if its error is not known."""
    if difference is None or difference.se is None:
        return 0.0
    if difference.se == 0:
        return math.copysign(math.inf, difference.mean) if difference.mean else 0.0
    return difference.mean / difference.se


def _critical(comparisons: int) -> float:
    return float(norm.ppf(1 - _LEVEL / (2 * max(comparisons, 1))))


def _more(z: float, critical: float, decisions: int) -> int | None:
    """Return how many decisions to add so that ``z`` exceeds ``critical`` four times of five.

    After m times as many decisions were added, z is normal with mean z sqrt(1 + m) and variance m,
    from a flat prior of the difference: the assurance of O'Hagan et al., Pharmaceutical Statistics
    2005. So z sqrt(1 + m) - critical = b sqrt(m), with b = .84 for four of five. None where even
    the sign is less sure than that, or for more than 1,000 times as many.
    """
    if z >= critical:
        return 0
    if z <= _POWER:
        return None
    root = _POWER * math.sqrt(critical**2 + _POWER**2 - z**2)
    times = ((z * critical + root) / (z**2 - _POWER**2)) ** 2 - 1
    return math.ceil(decisions * times) if times <= _MOST else None


def _sentence(
    chosen: Candidate,
    against: Candidate,
    wish: Wish,
    suffices: bool,
    more: int | None,
    decisions: int,
) -> str:
    what = f"the greatest {wish.maximise}"
    if wish.most_cost is not None:
        what += f" at a cost of at most {100 * wish.most_cost:g} % of {wish.of}"
    if chosen.name == against.name:
        text = f"Stay at {chosen.name}: no other policy has more {wish.maximise}"
        text += "" if wish.most_cost is None else " within the cost"
    else:
        text = f"Serve {chosen.name}: {what}"
        text += f" ({_change(chosen, against)}, against {against.name})"
    if suffices:
        return f"{text}. The log suffices to say so."
    if more is None:
        return f"{text}. The log does not suffice, and says too little to tell how much more would."
    return (
        f"{text}. The log does not suffice: about {_rounded(more):,} more decisions like its "
        f"{decisions:,} would, four times of five."
    )


def _change(chosen: Candidate, against: Candidate) -> str:
    parts = []
    for name, measure in chosen.measures.items():
        other = against.measures[name]
        difference = measure.less(other)
        if difference is not None and other.value:
            error = "" if difference.se is None else f" ± {abs(difference.se / other.value):.1%}"
            parts.append(f"{name} {difference.mean / other.value:+.1%}{error}")
    return ", ".join(parts)


def _rounded(count: int) -> int:
    """Return a number of two digits that count: no more of it is known."""
    unit: int = 10 ** max(len(str(count)) - 2, 0)
    return math.ceil(count / unit) * unit
