from __future__ import annotations

import pytest
import torch
from torch import Tensor

import training.fitting.row_adagrad as module
from training.fitting.row_adagrad import Past, RowAdagrad
from training.nets.id_table import IdTable

LR = 0.1


def table() -> IdTable:
    """Return four ids, each with a factor of two elements and a bias."""
    learned = IdTable(4, factor=2, bias=1)
    with torch.no_grad():
        learned.weight.copy_(torch.arange(12.0).view(4, 3))
    return learned


def step(learned: IdTable, optimizer: RowAdagrad, index: list[int], gradient: Tensor) -> None:
    """Take a step whose loss has this gradient (N, 3) in the rows ``index`` (N,)."""
    optimizer.zero_grad()
    (learned(torch.tensor(index)) * gradient).sum().backward()
    optimizer.step()


def test_by_hand() -> None:
    learned = table()
    optimizer = RowAdagrad([learned], LR)

    step(learned, optimizer, [1, 3], torch.tensor([[3.0, 4.0, -2.0], [1.0, 1.0, 0.0]]))
    step(learned, optimizer, [1], torch.tensor([[0.0, 1.0, 4.0]]))

    # The mean squares of row 1: factor 25 / 2, then + 1 / 2; bias 4, then + 16.
    factor = [3 / 12.5**0.5, 4 / 12.5**0.5 + 2**0.5 * 1 / 13**0.5]
    bias = -2 / 4**0.5 + 2**0.5 * 4 / 20**0.5
    row = [3 - LR * factor[0], 4 - LR * factor[1], 5 - LR * bias]
    assert learned.weight[1].tolist() == pytest.approx(row, rel=1e-6)
    assert learned.weight[3].tolist() == pytest.approx([9 - LR, 10 - LR, 11.0], rel=1e-6)


def test_rows_of_other_ids_stay_as_they_are() -> None:
    learned = table()
    optimizer = RowAdagrad([learned], LR)
    before = learned.weight.detach().clone()

    for _ in range(3):
        step(learned, optimizer, [1], torch.ones(1, 3))

    assert torch.equal(learned.weight[[0, 2, 3]], before[[0, 2, 3]])
    assert optimizer.state[learned.weight]["squares"][[0, 2, 3]].count_nonzero() == 0


def test_an_id_that_occurs_twice_has_one_gradient() -> None:
    once, twice = table(), table()

    step(once, RowAdagrad([once], LR), [2], torch.tensor([[5.0, 1.0, 2.0]]))
    parts = torch.tensor([[2.0, 0.0, 3.0], [3.0, 1.0, -1.0]])
    step(twice, RowAdagrad([twice], LR), [2, 2], parts)

    torch.testing.assert_close(twice.weight, once.weight)


def test_on_dense_data_a_step_is_adams_without_momentum() -> None:
    torch.manual_seed(0)
    learned = IdTable(4, bias=1)
    dense = torch.nn.Parameter(torch.zeros(4, 1))
    ours = RowAdagrad([learned], LR)
    # Its mean over all steps so far: Adam's own, bias-corrected, as beta_2 nears 1.
    adam = torch.optim.Adam([dense], lr=LR, betas=(0.0, 1 - 1e-5), eps=0.0)

    for _ in range(50):
        gradient = torch.randn(4, 1)
        dense.grad = gradient
        adam.step()
        step(learned, ours, [0, 1, 2, 3], gradient)

    assert learned.weight.abs().min() > 0.01
    torch.testing.assert_close(learned.weight, dense, rtol=0.01, atol=0.01)


def test_an_id_that_comes_late_takes_a_step_of_bounded_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WINDOW", 4)
    learned = table()
    optimizer = RowAdagrad([learned], LR)

    for _ in range(99):
        step(learned, optimizer, [0], torch.ones(1, 3))
    step(learned, optimizer, [1], torch.ones(1, 3))

    assert learned.weight[1].tolist() == pytest.approx([3 - 2 * LR, 4 - 2 * LR, 5 - 2 * LR])


def test_the_pace_of_an_id_shortens_its_steps() -> None:
    learned = table()
    learned.pace = torch.tensor([1.0, 0.5, 1.0, 1.0])

    step(learned, RowAdagrad([learned], LR), [1, 3], torch.ones(2, 3))

    moved = table().weight - learned.weight
    assert moved[1].tolist() == pytest.approx([LR / 2] * 3, rel=1e-4)
    assert moved[3].tolist() == pytest.approx([LR] * 3, rel=1e-4)


def test_a_gradient_of_zero_moves_nothing() -> None:
    learned = table()
    before = learned.weight.detach().clone()

    step(learned, RowAdagrad([learned], LR), [0, 1], torch.zeros(2, 3))

    assert torch.equal(learned.weight, before)


def test_an_optimizer_that_remembers_goes_on_as_the_first_one() -> None:
    gradient = torch.tensor([[0.3, -0.1, 0.2], [0.1, 0.2, 0.7]])
    first, second = table(), table()
    whole, begun = RowAdagrad([first], LR), RowAdagrad([second], LR)
    step(first, whole, [0, 2], gradient)
    step(second, begun, [0, 2], gradient)
    resumed = RowAdagrad([second], LR)
    resumed.remember(begun.past())

    step(first, whole, [2, 3], gradient)
    step(second, resumed, [2, 3], gradient)

    assert torch.equal(first.weight, second.weight)


def test_a_past_fades_and_is_never_forgotten() -> None:
    past = Past(torch.tensor([[4.0, 1e-30], [0.0, 1e-3]]), steps=7)

    faded = past.faded(0.25)

    torch.testing.assert_close(faded.squares, torch.tensor([[1.0, 1e-30], [0.0, 2.5e-4]]))
    assert faded.steps == 7


def test_a_past_follows_its_rows() -> None:
    past = Past(torch.tensor([[1.0], [2.0], [3.0]]), steps=7)

    later = past.of_rows(4, now=torch.tensor([3, 0]), then=torch.tensor([1, 2]))

    assert later.squares.flatten().tolist() == [3.0, 0.0, 0.0, 2.0]
