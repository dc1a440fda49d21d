from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.full_disk import file_size_limit
from tests.integration.training.fitting.small_run import OPTIONS, Script, SmallRun, equal, weights
from training.errors import TrainingError
from training.nets.base import FrontNet


@pytest.mark.parametrize("stop_after", [1, 2, 5])
def test_a_resumed_run_ends_at_the_same_weights(
    run: SmallRun, tmp_path: Path, stop_after: int
) -> None:
    # The best is the last, so that the restored weights are those of the end.
    def rising() -> Callable[[FrontNet], float]:
        return Script(*range(6))

    whole = run.net()
    expected = run.fit(whole, rising(), checkpoint=tmp_path / "whole.pt")
    run.fit(run.net(), rising(), stop_after=stop_after)
    resumed = run.net(init=1)  # also the generator is somewhere else

    result = run.fit(resumed, Script(*range(stop_after, 6)))

    assert result == expected
    assert result.history == (0, 1, 2, 3, 4, 5)
    assert equal(weights(resumed), weights(whole))


def test_a_resumed_run_has_the_history_of_an_uninterrupted_one(
    run: SmallRun, tmp_path: Path
) -> None:
    whole = run.net()
    expected = run.fit(whole, checkpoint=tmp_path / "whole.pt")
    run.fit(run.net(), stop_after=3)
    resumed = run.net(init=1)

    result = run.fit(resumed)

    assert result == expected
    assert len(set(result.history)) > 1
    assert result.best == max(result.history)
    assert equal(weights(resumed), weights(whole))


def test_a_finished_run_is_not_trained_again(run: SmallRun) -> None:
    first, again = run.net(), run.net(init=1)
    expected = run.fit(first)

    assert run.fit(again, Script()) == expected
    assert equal(weights(again), weights(first))


def test_a_run_out_of_patience_stays_so_when_resumed(run: SmallRun) -> None:
    options = OPTIONS.model_copy(update={"patience": 1})
    expected = run.fit(run.net(), Script(0.5, 0.4), options)

    assert run.fit(run.net(init=1), Script(), options) == expected


def test_a_checkpoint_leaves_no_other_file(run: SmallRun) -> None:
    run.fit(run.net())

    assert list(run.checkpoint.parent.iterdir()) == [run.checkpoint]


def test_a_full_disk_leaves_the_last_checkpoint(run: SmallRun, tmp_path: Path) -> None:
    whole = run.net()
    expected = run.fit(whole, checkpoint=tmp_path / "whole.pt")
    run.fit(run.net(), stop_after=2)
    before = run.checkpoint.read_bytes()

    with (
        file_size_limit(len(before) // 2),
        pytest.raises(OSError, match="File too large") as caught,
    ):
        run.fit(run.net(init=1))
    assert caught.value.filename == str(run.checkpoint)
    assert run.checkpoint.read_bytes() == before
    assert list(run.checkpoint.parent.iterdir()) == [run.checkpoint]

    resumed = run.net(init=2)
    assert run.fit(resumed) == expected
    assert equal(weights(resumed), weights(whole))


def test_a_damaged_checkpoint_is_named(run: SmallRun) -> None:
    run.fit(run.net(), stop_after=1)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])

    with pytest.raises(TrainingError, match=r"toy\.pt: the checkpoint cannot be read; remove it"):
        run.fit(run.net())
