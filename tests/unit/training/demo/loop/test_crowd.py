import numpy as np
import pytest

from training.data.simulate.worlds import toy_world
from training.demo.loop.crowd import Crowd
from training.demo.loop.figures import Shown, Truth, UnbiasedAuc


@pytest.fixture
def crowd() -> Crowd:
    rng = np.random.default_rng(0)
    return Crowd.of(toy_world(rng, 50), rng, days=5)


def test_sixty_percent_of_items_are_there_at_the_start_and_all_arrive_in_time(crowd: Crowd) -> None:
    assert (crowd.arrival == 0).sum() == 480
    assert crowd.arrival.max() == 4
    assert sum(len(crowd.arriving(day)) for day in range(5)) == 800


def test_nobody_is_shown_again_what_they_clicked_nor_what_has_not_arrived(crowd: Crowd) -> None:
    rng = np.random.default_rng(1)
    shown = crowd.eligible(3, 0)[:16]
    clicked = shown[crowd.visit(rng, 3, shown)]
    assert 0 < len(clicked) < 16
    eligible = crowd.eligible(3, 0)
    assert not set(clicked) & set(eligible)
    assert len(eligible) == 480 - len(clicked)
    assert len(crowd.eligible(4, 0)) == 480


def test_at_a_uniform_slot_nobody_follows_the_crowd(crowd: Crowd) -> None:
    item, third = np.array([9]), np.array([2])
    crowd.clicks[9] = 1000
    crowd.begin_day(1)
    assert crowd.click_probability(1, item, third) != crowd.slot_probability(1, item, third)
    expected = 3**-0.4 * crowd.liking(1, item)
    assert crowd.slot_probability(1, item, third) == pytest.approx(expected)
    shown = np.array([1, 2, 9])
    draws = np.random.default_rng(0), np.random.default_rng(0)
    clicks = [0, 0]
    for _ in range(4000):
        for n, slot in enumerate((None, 2)):
            clicks[n] += int(crowd.visit(draws[n], 1, shown, slot)[2])
    assert clicks[1] == pytest.approx(4000 * float(expected[0]), rel=0.1)
    assert clicks[0] > 1.2 * clicks[1]


def test_clicks_fall_with_the_place_as_examination_does(crowd: Crowd) -> None:
    items = np.full(3, 7)
    top, second, last = crowd.click_probability(2, items, np.array([0, 1, 15]))
    assert second / top == pytest.approx(2**-0.4)
    assert last / top == pytest.approx(16**-0.4)


def test_the_crowd_follows_what_is_popular_only_from_the_next_day(crowd: Crowd) -> None:
    crowd.conformity[:] = 1.0
    item, places = np.array([9]), np.array([0])
    before = crowd.click_probability(1, item, places)
    crowd.clicks[9] = 1000
    assert crowd.click_probability(1, item, places) == before
    crowd.begin_day(1)
    assert crowd.click_probability(1, item, places) > before


def test_a_visit_clicks_at_the_known_rate() -> None:
    rng = np.random.default_rng(0)
    crowd = Crowd.of(toy_world(rng, 400), rng, days=1)
    items = np.arange(16)
    expected = sum(crowd.click_probability(u, items, items).sum() for u in range(400))
    clicks = sum(int(crowd.visit(rng, user, items).sum()) for user in range(400))
    assert crowd.clicks.sum() == clicks
    assert abs(clicks - expected) < 4 * np.sqrt(expected)


def test_figures_of_a_day_count_places_by_hand(crowd: Crowd) -> None:
    crowd.arrival[:] = 9
    crowd.arrival[:4] = [0, 0, 0, 2]
    before = np.zeros(800, np.int64)
    before[0] = 5
    shown = Shown([np.array([0, 1]), np.array([0, 3])], [0.2, 0.6], [False, True], clicks=3)
    day = shown.day(crowd, 2, before, seconds=0.5)
    assert day.rankings_per_s == 4
    # Views 0, 1, 1, 2 of the four items: (-3 * 0 - 1 + 1 + 3 * 2) / (4 * 4).
    assert day.exposure_gini == pytest.approx(0.375)
    assert day.new_share == 0.25
    assert [day.clicks, day.liking] == pytest.approx([1.5, 0.4])
    assert day.slot_cost == pytest.approx(-0.4)


def test_true_and_measured_agree_within_the_error_of_their_difference() -> None:
    def of(measured: float) -> UnbiasedAuc:
        value = {"mean": measured, "se": 0.03}
        return UnbiasedAuc.model_validate(
            {"tradeoff": 0.5, "measured": value, "true": {"mean": 0.7, "se": 0.04}}
        )

    assert of(0.79).agrees  # 1.8 errors of .05
    assert not of(0.81).agrees  # 2.2


def test_the_truth_draws_from_what_could_have_been_shown(crowd: Crowd) -> None:
    truth, rng = Truth(), np.random.default_rng(0)
    crowd.clicked[5, :470] = True
    eligible = set(crowd.eligible(5, 0).tolist())
    for _ in range(40):
        truth.draw(crowd, rng, 5, 0, places=16)
    assert len(truth.item) == 200
    assert set(truth.item) <= eligible
    assert len(set(truth.item)) > len(eligible) / 2
