"""Open Bandit's converter: small files in the owners' own format, and their sample."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.manifest import Modality
from tests.integration.training.data.convert.real_files import DATA, needs
from tests.integration.training.data.convert.refusals import assert_refused
from tests.integration.training.data.convert.sources.open_bandit import FILES, ITEMS, LOG, SOURCE
from tests.integration.training.data.convert.sources.source import encoded
from training.data.convert.open_bandit import prepare_open_bandit
from training.data.dataset import open_dataset
from training.data.split import split_rows
from training.errors import DatasetError


@pytest.fixture
def men(tmp_path: Path) -> Path:
    return SOURCE.write(tmp_path / "obd")


def test_impressions(men: Path, tmp_path: Path) -> None:
    prepare_open_bandit(men, tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out/impressions.parquet", glob=False).sort(
        "exposure", "timestamp"
    )
    d, e, other = "aaaaaaaa-b-c-d", "aaaaaaaa-b-c-e", "ffffffff-b-c-e"
    columns = ("user_id", "item_id", "label", "timestamp", "exposure", "position", "propensity")
    assert rows.select(columns).rows() == [
        (d, "men-0", 1, 1574639999.5, "logged", 0, 0.7),
        (e, "men-0", 0, 1574640000.0, "logged", 2, 0.25),
        (d, "men-0", 1, 1574676000.25, "logged", 1, 1e-06),
        (d, "men-1", 0, 1574762400.25, "logged", 1, 0.5),
        (e, "men-0", 1, 1574643600.0, "uniform", 0, 0.5),
        (other, "men-0", 0, 1574730000.0, "uniform", 1, 0.5),
    ]
    # 25 November knows the 24th alone; the 26th knows three rows of bts, none of random.
    assert rows["popularity"].to_list() == [None, 1, 1, 0, 1, 3]
    assert rows["positive_rate"].to_list() == [None, 1, 1, None, 1, pytest.approx(2 / 3)]


def test_items_users_and_split(men: Path, tmp_path: Path) -> None:
    prepare_open_bandit(men, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.titles == ["Men item 0", "Men item 1"]
    # item_feature_0, then item_feature_2 as q or s; the other features do not differ
    assert dataset.modalities == (Modality(name="attributes", dim=3),)
    np.testing.assert_array_equal(dataset.embedding, [[-0.5, 1, 0], [0.75, 0, 1]])
    assert dataset.description.user_attributes == (
        "user_feature_0=aaaaaaaa1",
        "user_feature_0=ffffffff2",
        "user_feature_3=d",
        "user_feature_3=e",
    )
    assert dataset.user_ids == ["aaaaaaaa-b-c-d", "aaaaaaaa-b-c-e", "ffffffff-b-c-e"]
    np.testing.assert_array_equal(
        dataset.user_attributes, [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]
    )
    np.testing.assert_allclose(dataset.proxies, np.array([[3, 2 / 3], [1, 0]]), rtol=1e-6)
    assert dataset.description.unbiased_kind == "uniformly random policy"
    assert dataset.impressions.uniform.sum() == 2


def test_campaigns_are_separate(men: Path, tmp_path: Path) -> None:
    women = {name.replace("men", "women"): text for name, text in FILES.items()}
    SOURCE.write(men, encoded(women))
    for policy in ("bts", "random"):  # as in the owners' sample
        plain = men / policy / "women/women.csv"
        with gzip.open(plain.with_suffix(".csv.gz"), "wb") as packed:
            packed.write(plain.read_bytes())
        plain.unlink()
    prepare_open_bandit(men, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.item_ids == ["men-0", "men-1", "women-0", "women-1"]
    assert len(dataset.user_ids) == 3
    assert len(dataset.impressions) == 12
    np.testing.assert_allclose(dataset.proxies[:2], dataset.proxies[2:])


def test_a_campaign_needs_both_policies(men: Path, tmp_path: Path) -> None:
    (men / "bts/all").mkdir()
    with pytest.raises(DatasetError, match="needs its folder under bts and under random") as caught:
        prepare_open_bandit(men, tmp_path / "out")
    assert caught.value.file == men / "random/all"
    with pytest.raises(DatasetError, match="needs its folder") as caught:
        prepare_open_bandit(tmp_path / "nothing", tmp_path / "out")
    assert caught.value.file == tmp_path / "nothing/bts/all"


GOOD = "0,2019-11-24 23:59:59.500000+00:00,0,1,1,0.7,a,b,c,d,0.0,0.0\n"


@pytest.mark.parametrize(
    ("name", "text", "column", "row", "problem"),
    [
        (
            "bts/men/men.csv",
            LOG + GOOD + GOOD.replace("0,1,1,", "0,0,1,"),
            "position",
            1,
            "1, 2 or",
        ),
        ("bts/men/men.csv", LOG + GOOD.replace("0,1,1,", "0,1,2,"), "click", 0, "2 is not 0 or 1"),
        ("bts/men/men.csv", LOG + GOOD.replace("0.7", "0"), "propensity_score", 0, "0.0 is not in"),
        ("bts/men/men.csv", LOG + GOOD.replace("0.7", "1.5"), "propensity_score", 0, "1.5 is not"),
        ("bts/men/men.csv", LOG + GOOD.replace("24 ", "31 "), "timestamp", 0, "a time such as"),
        ("random/men/men.csv", LOG + GOOD.replace(",0,1,1", ",7,1,1"), "item_id", 0, "7 is not in"),
        (
            "bts/men/men.csv",
            LOG.replace("propensity_score", "p"),
            "propensity_score",
            None,
            "missing",
        ),
        (
            "bts/men/item_context.csv",
            ITEMS + "0,0,,p,q,r\n",
            "item_feature_0",
            0,
            "the value is empty",
        ),
        ("bts/men/item_context.csv", ITEMS + "0,0,1,p,q,r\n" * 2, "item_id", 1, "0 occurs twice"),
    ],
)
def test_a_malformed_file_is_named(
    men: Path, name: str, text: str, column: str, row: int | None, problem: str
) -> None:
    (men / name).write_text(text)
    assert_refused(prepare_open_bandit, men, name, problem, column=column, row=row)


@needs("obd")
def test_the_real_sample(tmp_path: Path) -> None:
    prepare_open_bandit(DATA / "obd", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    rows = dataset.impressions
    assert len(dataset.item_ids) == 34 + 46
    assert rows.uniform.sum() == (~rows.uniform).sum() == 20_000
    assert rows.label[rows.uniform].sum() == 46 + 46
    assert rows.label[~rows.uniform].sum() == 69 + 46
    assert len(dataset.user_ids) == 317
    assert dataset.user_attributes.sum(axis=1).tolist() == [4] * 317
    assert rows.position is not None
    assert rows.propensity is not None
    assert np.unique(rows.position).tolist() == [0, 1, 2]
    men = np.array([name.startswith("men") for name in dataset.item_ids])
    np.testing.assert_allclose(rows.propensity[rows.uniform & men[rows.item]], 1 / 34)
    np.testing.assert_allclose(rows.propensity[rows.uniform & ~men[rows.item]], 1 / 46)
    assert np.bincount(rows.item[~rows.uniform]).tolist() == dataset.proxies[:, 0].tolist()
    split = split_rows(dataset, validation=0.2, test=0.2, seed=0)
    assert len(split.unbiased) == 20_000
