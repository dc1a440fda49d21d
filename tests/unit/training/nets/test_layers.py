from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.nets.layers import Content, ProxyBins, content_inputs

DIMS = (3, 2)


def bins_of(proxy: ProxyBins, values: Tensor) -> list[list[int]]:
    """Return the embedding rows (N, P) that each value reads; each row becomes its own number."""
    with torch.no_grad():
        numbers = torch.arange(len(proxy.embedding.weight))
        proxy.embedding.weight.copy_(torch.nn.functional.one_hot(numbers).float())
        return [row.nonzero().flatten().tolist() for row in proxy(values)]


def make(values: Tensor, bins: int, dropout: float = 0.0) -> ProxyBins:
    """Bins whose embedding is as wide as it is long, for ``bins_of``."""
    dim = (bins + 1) * values.shape[1]
    return ProxyBins(values, bins, dim, dropout).eval()


def test_quantiles_part_the_training_rows_evenly() -> None:
    values = torch.randperm(100, generator=torch.Generator().manual_seed(0)).float()[:, None]

    index = torch.tensor(bins_of(make(values, 4), values)).flatten()

    assert torch.bincount(index).tolist() == [25, 25, 25, 25]
    ordered = index[values.flatten().argsort()]
    assert ordered.tolist() == sorted(ordered.tolist())


def test_values_out_of_range_fall_into_the_outer_bins() -> None:
    proxy = make(torch.arange(100.0)[:, None], 4)

    assert bins_of(proxy, torch.tensor([[-torch.inf], [-5.0], [1e9], [torch.inf]])) == [
        [0], [0], [3], [3],
    ]  # fmt: skip


def test_an_unknown_value_has_a_bin_of_its_own() -> None:
    proxies = torch.stack([torch.arange(8.0), torch.arange(8.0)], 1)
    proxies[0, 1] = torch.nan  # also among the training rows
    proxy = make(proxies, 4)

    assert bins_of(proxy, torch.tensor([[torch.nan, 7.0], [7.0, torch.nan]])) == [[4, 8], [3, 9]]


def test_each_proxy_has_its_own_edges_and_embeddings() -> None:
    proxies = torch.stack([torch.arange(8.0), 100 * torch.arange(8.0)], 1)

    assert bins_of(make(proxies, 2), torch.tensor([[5.0, 5.0], [5.0, 500.0]])) == [[1, 3], [1, 4]]


@pytest.mark.parametrize("transform", [torch.log1p, torch.exp, lambda x: 7 * x - 3])
def test_a_monotone_transform_changes_nothing(transform: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(1)
    train, served = torch.rand(500, 2, generator=generator), torch.rand(200, 2, generator=generator)

    raw = bins_of(make(train, 16), served)

    assert bins_of(make(transform(train), 16), transform(served)) == raw
    assert len({tuple(row) for row in raw}) > 100


def test_a_column_with_ties_keeps_equal_values_together() -> None:
    values = torch.tensor([0.0] * 90 + [1.0] * 5 + [2.0] * 5)[:, None]
    proxy = make(values, 8)

    assert bins_of(proxy, torch.tensor([[0.0], [1.0], [2.0]])) == [[0], [1], [1]]


def test_a_constant_column_separates_known_from_unknown_only() -> None:
    proxy = make(torch.full((10, 1), 3.0), 4)

    assert bins_of(proxy, torch.tensor([[3.0], [9.0], [-9.0], [torch.nan]])) == [[0], [0], [0], [4]]


def test_a_column_never_known_has_one_bin() -> None:
    proxy = make(torch.full((10, 1), torch.nan), 4)

    assert bins_of(proxy, torch.tensor([[3.0], [torch.nan]])) == [[0], [4]]


def test_dropout_acts_in_training_alone() -> None:
    proxies = torch.rand(4000, 2, generator=torch.Generator().manual_seed(2))
    proxy = make(proxies, 4, dropout=0.25)
    torch.manual_seed(0)

    served = torch.tensor(bins_of(proxy, proxies))
    trained = torch.tensor(bins_of(proxy.train(), proxies))

    unknown = torch.tensor([4, 9])
    assert not (served == unknown).any()
    dropped = trained == unknown
    assert dropped.float().mean(0).tolist() == pytest.approx([0.25, 0.25], abs=0.03)
    assert torch.equal(trained[~dropped], served[~dropped])


def test_without_dropout_training_draws_no_random_numbers() -> None:
    proxies = torch.rand(50, 2)
    proxy = make(proxies, 4).train()
    before = torch.get_rng_state()

    proxy(proxies)

    assert torch.equal(torch.get_rng_state(), before)


def test_no_proxies_embed_as_zero() -> None:
    assert ProxyBins(torch.empty(5, 0), 4, 3, 0.1)(torch.empty(2, 0)).tolist() == [[0.0] * 3] * 2


@pytest.fixture
def items() -> tuple[Tensor, Tensor]:
    """Embedding (30, 5) and mask (30, 2); item 0 lacks the first modality, 1 and 2 the second."""
    generator = torch.Generator().manual_seed(1)
    embedding = 5 + torch.tensor([1.0, 2.0, 3.0, 4.0, 50.0]) * torch.randn(
        30, 5, generator=generator
    )
    mask = torch.ones(30, 2)
    mask[0, 0] = mask[1:3, 1] = 0.0
    embedding[0, :3] = embedding[1:3, 3:] = 0.0
    return embedding, mask


def test_content_is_centred_and_of_unit_mean_square_norm(items: tuple[Tensor, Tensor]) -> None:
    embedding, mask = items
    content = Content(DIMS, embedding, mask, torch.ones(30))(embedding, mask).detach()

    for rows, dims in ((mask[:, 0] > 0, slice(0, 3)), (mask[:, 1] > 0, slice(3, 5))):
        block = content[rows, dims]
        assert block.mean(0).tolist() == pytest.approx([0.0] * block.shape[1], abs=1e-5)
        assert block.square().sum(1).mean() == pytest.approx(1.0, abs=1e-5)


def test_a_modality_keeps_the_proportions_of_its_dimensions(items: tuple[Tensor, Tensor]) -> None:
    embedding, mask = items
    content = Content(DIMS, embedding, mask, torch.ones(30))(embedding, mask).detach()

    spread = embedding[3:, 3:].std(0) / content[3:, 3:].std(0)
    assert spread[0] == pytest.approx(float(spread[1]), rel=1e-4)


def test_absent_rows_do_not_move_mean_nor_scale(items: tuple[Tensor, Tensor]) -> None:
    embedding, mask = items
    lonely = Content(
        (3,), embedding[1:, :3], mask[1:, :1], torch.ones(29)
    )  # the first modality, all present
    both = Content(DIMS, embedding, mask, torch.ones(30))

    torch.testing.assert_close(both.mean[:3], lonely.mean)
    torch.testing.assert_close(both.scale[:3], lonely.scale)


def test_an_absent_modality_is_zero_and_a_layer_sees_the_missing_vector(
    items: tuple[Tensor, Tensor],
) -> None:
    embedding, mask = items
    content = Content(DIMS, embedding, mask, torch.ones(30))
    with torch.no_grad():
        content.missing.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    layer = torch.nn.Linear(5, 5)
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.constant_(layer.bias, 0.5)

    bare = content(embedding, mask)
    seen = content.project(layer, content_inputs(bare, mask)).detach() - 0.5

    assert bare[0, :3].tolist() == [0.0] * 3
    assert seen[0, :3].tolist() == [1.0, 2.0, 3.0]
    assert seen[1:3, 3:].tolist() == [[4.0, 5.0]] * 2
    torch.testing.assert_close(seen[3:], bare[3:])
    torch.testing.assert_close(seen[0, 3:], bare[0, 3:])


def test_content_is_centred_on_impressions() -> None:
    """Item 1 is shown three times as often as item 0, item 2 never."""
    embedding = torch.tensor([[0.0], [4.0], [100.0]])
    content = Content((1,), embedding, torch.ones(3, 1), torch.tensor([1.0, 3.0, 0.0]))

    # Mean 3; mean square (9 + 3 * 1) / 4 = 3. Item 2, at 97 / 3**.5, is further than any other.
    expected = [-3 / 3**0.5, 1 / 3**0.5, 3 / (97 / 3**0.5)]
    assert content(embedding, torch.ones(3, 1)).flatten().tolist() == pytest.approx(expected)


def test_a_row_unlike_all_others_returns_to_the_mean_in_its_modality_alone(
    items: tuple[Tensor, Tensor],
) -> None:
    embedding, mask = items
    layer = Content(DIMS, embedding, mask, torch.ones(30))
    longest = layer(embedding, mask)[:, :3].norm(dim=1).max()
    strange = torch.cat([embedding[5:6, :3] - 500.0, embedding[5:6, 3:]], 1)
    raw = (strange - layer.mean) * layer.scale

    content = layer(strange, torch.ones(1, 2))

    expected = raw[0, :3] * (longest / raw[0, :3].norm()) ** 2
    torch.testing.assert_close(content[0, :3], expected)
    torch.testing.assert_close(content[0, 3:], layer(embedding[5:6], mask[5:6])[0, 3:])


@pytest.mark.parametrize(("shown", "familiar"), [(0.9, False), (1.1, True)])
def test_only_one_impression_in_a_hundred_is_unfamiliar(shown: float, *, familiar: bool) -> None:
    embedding = torch.linspace(-1.0, 1.0, 100)[:, None]
    embedding[99] = 50.0
    exposures = torch.full((100,), (100 - shown) / 99)
    exposures[99] = shown

    layer = Content((1,), embedding, torch.ones(100, 1), exposures)
    norm = layer(embedding, torch.ones(100, 1)).abs().flatten()

    assert (norm[99] > 10 * norm[:99].max()) if familiar else (norm[99] < 0.1 * norm[:99].max())


def test_a_modality_that_no_item_has_stays_finite() -> None:
    layer = Content((2,), torch.zeros(4, 2), torch.zeros(4, 1), torch.ones(4))

    assert layer(torch.zeros(4, 2), torch.zeros(4, 1)).tolist() == [[0.0, 0.0]] * 4
