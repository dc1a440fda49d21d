"""``python -m service keys``, and the file that it writes."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from service.__main__ import main
from service.access.keys import add, digest, name_of, read
from service.errors import KeysError


@pytest.fixture
def keys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys.json"
    monkeypatch.setenv("RANK_KEYS_FILE", str(path))
    return path


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["service", "keys", *arguments])
    return main()


def test_a_key_is_shown_once_and_kept_as_a_hash(
    keys_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--scope", "rank", "--scope", "feedback", "--rate", "100/second")
    assert _run(monkeypatch, "add", "feed-1", *options, "--expires", "2030-01-31") == 0
    key = capsys.readouterr().out.strip()
    assert name_of(key.encode()) == b"feed-1"
    assert len(key) == len("pr_feed-1_") + 43  # 256 bits
    assert key not in keys_file.read_text()
    assert key.rpartition("_")[2] not in keys_file.read_text()
    (entry,) = read(keys_file).keys
    assert bytes.fromhex(entry.sha256) == digest(key.encode())
    assert entry.scopes == {"rank", "feedback"}
    assert entry.rate == "100/second"
    assert str(entry.expires) == "2030-01-31 00:00:00+00:00"
    assert _run(monkeypatch, "list") == 0
    listed = capsys.readouterr().out
    assert listed.split() == [
        *("feed-1", "feedback,rank", "100/second", "expires", "2030-01-31", "00:00:00+00:00")
    ]
    assert _run(monkeypatch, "remove", "feed-1") == 0
    assert read(keys_file).keys == ()
    assert [path.name for path in keys_file.parent.iterdir()] == ["keys.json"]


def test_several_writers_lose_no_key(keys_file: Path) -> None:
    names = [f"key-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda name: add(keys_file, name, frozenset({"rank"})), names))
    assert len(set(keys)) == 8
    assert sorted(key.name for key in read(keys_file).keys) == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "Feed", "--scope", "rank"), "name: String should match pattern"),
        (("add", "there", "--scope", "rank"), "has a key there; choose another name"),
        (("add", "feed", "--scope", "rank", "--rate", "100"), "rate: String should match pattern"),
        (("remove", "feed"), "has no key feed; its keys: there"),
        (("list", "--file", "absent.json"), "absent.json: No such file or directory; make it with"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    arguments: tuple[str, ...],
    message: str,
    keys_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(keys_file, "there", frozenset({"rank"}))
    before = keys_file.read_bytes()
    assert _run(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert keys_file.read_bytes() == before


def test_without_a_file_the_command_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RANK_KEYS_FILE", raising=False)
    assert _run(monkeypatch, "list") == 2
    assert capsys.readouterr().err == "name the keys file: --file or RANK_KEYS_FILE\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b'{"keys": [{"name": "a"}]}', "keys.0.sha256: Field required"),
        (b'{"kyes": []}', "kyes: Extra inputs are not permitted"),
    ],
)
def test_a_broken_file_is_named_with_the_place(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(KeysError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_name_occurs_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = {"name": "a", "sha256": "0" * 64, "scopes": ["rank"]}
    path.write_bytes(msgspec.json.encode({"keys": [key, key]}))
    with pytest.raises(KeysError, match="the name a occurs twice"):
        read(path)
