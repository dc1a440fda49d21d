"""The log of a feed: the slates that a recommender shows day by day, and their clicks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.data.columns import Floats
from training.data.simulate.worlds import World

# From the specification of the simulator.
DAYS = 20
SLATE = 16
CANDIDATES = 200
INITIAL_SHARE, LAST_ARRIVAL_DAY = 0.6, 18
CANDIDATE_COUNT_POWER = 0.5
FRESHNESS_DAYS = 3.0
POLICY_POPULARITY, POLICY_FRESHNESS = 0.6, 1.5
EXAMINATION_DECAY = 0.4
CONFORMITY_CENTRE, CLICK_FRESHNESS = 1.5, 0.8

# Our choices.
OLDEST_DAYS = 30  # items of the start arrived on one of the 30 days before it
CONFORMITY_MEDIAN, CONFORMITY_SIGMA = 0.8, 0.6  # tuned on oracle AUCs only
SEEN_ODDS = 1e-12  # a feed shows a user no item twice while it has others
TEST_DAYS = 2
EPOCH_S = 1_767_225_600  # 2026-01-01 00:00 UTC
DAY_S = 86_400
USER_BLOCK = 512
BLOCK_ROWS = 2**18  # rows that are in memory with all their columns, a multiple of every slate

Rows = NDArray[np.int64]
Indices = NDArray[np.int32 | np.int64]
Exposure = Literal["logged", "uniform"]


@dataclass(frozen=True)
class Columns:
    """R impressions with their truth; every array is (R,).

    timestamp: unix seconds; position: 0 = top; propensity in (0, 1]; popularity and age_days as
    of the row's day; truth_logit, click_probability and served_logit go to the oracle alone.
    """

    user: Indices
    item: Rows
    label: NDArray[np.int8]
    timestamp: Rows
    position: NDArray[np.int16]
    propensity: Floats
    popularity: Floats
    age_days: NDArray[np.int16]
    truth_logit: Floats
    click_probability: Floats
    served_logit: Floats


@dataclass(frozen=True)
class _Day:
    """Item statistics at the start of a day; arrays (A,) over the items that have arrived."""

    day: int
    items: Rows
    popularity: Floats
    age_days: NDArray[np.int16]
    freshness: Floats
    candidate_weight: Floats


def simulate_log(
    world: World,
    rng: np.random.Generator,
    emit: Callable[[Exposure, Columns], None],
    *,
    policy_weight: float,
    slate: int,
    uniform_rows: int,
) -> tuple[Floats, NDArray[np.int16]]:
    """Run the recommender for 20 days, one slate a user a day, then expose uniformly.

    ``emit`` receives the rows in blocks; those of one exposure are in the order of time. Memory
    holds one block and the items that each user has seen, some hundred bytes a user.
    ``policy_weight`` (rho >= 0) weighs the truth in the score of the logging policy; ``slate`` is
    the number of items in a slate. Returns the items' popularity and age in days (I,) after the
    last day.
    """
    arrival = _arrivals(rng, world.items)
    log_conformity = CONFORMITY_SIGMA * rng.standard_normal(world.users)
    conformity = (CONFORMITY_MEDIAN * np.exp(log_conformity)).astype(np.float32)
    clicks = np.zeros(world.items, np.int64)
    seen = np.empty((world.users, DAYS * slate), np.min_scalar_type(world.items))
    shares = np.diff(np.linspace(0, uniform_rows, TEST_DAYS + 1).astype(int))
    for day in tqdm(range(DAYS), desc="simulate", unit="day", disable=None):
        today = _start_of_day(day, arrival, clicks)
        for rows in _day_p_slates(world, rng, today, conformity, seen, policy_weight):
            emit("logged", rows)
            clicks += np.bincount(rows.item[rows.label == 1], minlength=world.items)
        if day >= DAYS - TEST_DAYS:
            share = shares[day - DAYS + TEST_DAYS]
            for rows in _uniform_exposure(world, rng, today, conformity, share):
                emit("uniform", rows)
    end = _start_of_day(DAYS, arrival, clicks)
    return end.popularity, end.age_days


def _arrivals(rng: np.random.Generator, items: int) -> Rows:
    """Return the day each item arrives: 60 % before day 0, the rest on days 1 to 18."""
    arrival = rng.integers(1, LAST_ARRIVAL_DAY + 1, size=items)
    initial = rng.permutation(items)[: round(INITIAL_SHARE * items)]
    arrival[initial] = rng.integers(-OLDEST_DAYS, 0, size=len(initial))
    return arrival


def _start_of_day(day: int, arrival: Rows, clicks: Rows) -> _Day:
    items = np.flatnonzero(arrival <= day)
    log_clicks = np.log1p(clicks[items])
    spread = log_clicks.std()
    age_days = day - arrival[items]
    freshness = np.exp(-age_days / FRESHNESS_DAYS)
    weight = (1 + clicks[items]) ** CANDIDATE_COUNT_POWER * np.exp(freshness)
    return _Day(
        day=day,
        items=items,
        popularity=((log_clicks - log_clicks.mean()) / (spread or 1.0)).astype(np.float32),
        age_days=age_days.astype(np.int16),
        freshness=freshness.astype(np.float32),
        candidate_weight=weight.astype(np.float32),
    )


def _day_p_slates(
    world: World,
    rng: np.random.Generator,
    today: _Day,
    conformity: Floats,
    seen: NDArray[np.unsignedinteger],
    policy_weight: float,
) -> Iterator[Columns]:
    """Show one slate a user and add it to ``seen`` (U, days * slate); rows are in order of time."""
    size = seen.shape[1] // DAYS
    start, stop = today.day * size, (today.day + 1) * size
    seconds = np.sort(rng.integers(DAY_S, size=world.users))
    users = rng.permutation(world.users)
    slates = np.empty((world.users, size), np.int32)  # indices into today.items
    z, propensity = np.empty(slates.shape, np.float32), np.empty(slates.shape, np.float32)
    for block in _blocks(world.users, USER_BLOCK):
        earlier = np.searchsorted(today.items, seen[users[block], :start])
        slates[block], z[block], propensity[block] = _slates(
            world, rng, today, users[block], earlier, policy_weight, size
        )
    seen[users, start:stop] = today.items[slates]
    for block in _blocks(world.users, BLOCK_ROWS // size):
        yield _expose(
            world,
            rng,
            today,
            user=np.repeat(users[block], size),
            arrived=slates[block].ravel(),
            z=z[block].ravel(),
            seconds=np.repeat(seconds[block], size),
            position=np.tile(np.arange(size), len(users[block])),
            propensity=propensity[block].ravel(),
            conformity=conformity,
        )


def _slates(
    world: World,
    rng: np.random.Generator,
    today: _Day,
    users: Rows,
    seen: Rows,
    policy_weight: float,
    size: int,
) -> tuple[Rows, Floats, Floats]:
    """Draw candidates, then the slate among them, both without replacement by Gumbel top-k.

    ``seen`` (B, n), indices into ``today.items``, return only when nothing else is left. Returns
    three arrays (B, size), from the top: index into ``today.items``, z(S), propensity. The
    propensity is the probability that the item is in the slate, given the noise of all other items:
    P(its key beats the best key left out) for the candidates, times the same for the slate (Kool et
    al., "Stochastic Beams", ICML 2019). Items of slates, weighed by 1 / propensity, estimate sums
    over all arrived items without bias.
    """
    arrived = today.items
    z_all = world.preferences(users, arrived)  # (B, A)
    unseen = np.ones_like(z_all)
    np.put_along_axis(unseen, seen, SEEN_ODDS, axis=1)
    weight = unseen * today.candidate_weight
    # An exponential race: the smallest E / weight is the largest log weight + Gumbel.
    keys = rng.standard_exponential(z_all.shape, dtype=np.float32) / weight
    count = min(CANDIDATES, len(arrived))
    if count < len(arrived):
        candidates = np.argpartition(keys, count, axis=1)
        bound = np.take_along_axis(keys, candidates[:, [count]], axis=1)  # (B, 1)
        candidates = candidates[:, :count]  # (B, C)
        p_candidate = -np.expm1(-np.take_along_axis(weight, candidates, axis=1) * bound)
    else:
        candidates = np.broadcast_to(np.arange(count), (len(users), count))
        p_candidate = np.ones(candidates.shape, np.float32)
    z = np.take_along_axis(z_all, candidates, axis=1)
    score = (  # (B, C)
        policy_weight * world.truth_logit(z, arrived[candidates])
        + POLICY_POPULARITY * today.popularity[candidates]
        + POLICY_FRESHNESS * today.freshness[candidates]
        + np.log(np.take_along_axis(unseen, candidates, axis=1))
    )
    noisy = score - np.log(rng.standard_exponential(score.shape))  # + Gumbel
    order = np.argsort(-noisy, axis=1)
    slate, first_left_out = order[:, :size], order[:, size : size + 1]
    bound = np.take_along_axis(noisy, first_left_out, axis=1)
    p_slate = -np.expm1(-np.exp(np.take_along_axis(score, slate, axis=1) - bound))
    propensity = np.take_along_axis(p_candidate, slate, axis=1) * p_slate
    return (
        np.take_along_axis(candidates, slate, axis=1),
        np.take_along_axis(z, slate, axis=1),
        propensity.astype(np.float32),
    )


def _uniform_exposure(
    world: World, rng: np.random.Generator, today: _Day, conformity: Floats, rows: int
) -> Iterator[Columns]:
    """Show random arrived items to random users, each alone at the top: labels from sigmoid(r)."""
    user = rng.integers(world.users, size=rows, dtype=np.int32)
    arrived = rng.integers(len(today.items), size=rows, dtype=np.int32)
    seconds = rng.integers(DAY_S, size=rows, dtype=np.int32)
    seconds.sort()
    for block in _blocks(rows, BLOCK_ROWS):
        count = len(user[block])
        yield _expose(
            world,
            rng,
            today,
            user=user[block],
            arrived=arrived[block],
            z=world.pair_preferences(user[block], today.items[arrived[block]]),
            seconds=seconds[block],
            position=np.zeros(count, np.int64),
            propensity=np.full(count, 1 / len(today.items), np.float32),
            conformity=conformity,
            biased=False,
        )


def _expose(
    world: World,
    rng: np.random.Generator,
    today: _Day,
    *,
    user: Indices,
    arrived: Indices,
    z: Floats,
    seconds: Indices,
    position: Rows,
    propensity: Floats,
    conformity: Floats,
    biased: bool = True,
) -> Columns:
    """Draw the clicks of R rows; ``arrived`` indexes ``today.items``."""
    item = today.items[arrived]
    popularity, freshness = today.popularity[arrived], today.freshness[arrived]
    truth = world.truth_logit(z, item)
    bias = conformity[user] * (popularity - CONFORMITY_CENTRE) + CLICK_FRESHNESS * freshness
    served = truth + bias
    examination = (position + 1.0) ** -EXAMINATION_DECAY
    probability = examination * _sigmoid(served) if biased else _sigmoid(truth)
    return Columns(
        user=user,
        item=item,
        label=(rng.random(len(user)) < probability).astype(np.int8),
        timestamp=EPOCH_S + today.day * DAY_S + seconds.astype(np.int64),
        position=position.astype(np.int16),
        propensity=propensity,
        popularity=popularity,
        age_days=today.age_days[arrived],
        truth_logit=truth,
        click_probability=probability.astype(np.float32),
        served_logit=served,
    )


def _sigmoid(x: NDArray[np.floating]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def _blocks(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
