from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import CalibrationError
from infra.contracts.specs import CalibrationSpec
from infra.conversations import loading
from infra.conversations.loading import read
from infra.models.hubs.snapshots import Snapshot
from infra.store.content import digest_folder
from infra.store.settings import Settings

GOOD = '{"messages": [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": ""}]}'
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def spec(path: object, **fields: Any) -> CalibrationSpec:
    return CalibrationSpec(path=str(path), **{"min_samples": 1} | fields)


def test_a_file_keeps_its_order_and_knows_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "calibration.jsonl"
    path.write_bytes(f"\ufeff{GOOD}\r\n\n{GOOD.replace('Grüße', 'two')}".encode())
    found = read(spec(path), settings=Settings(cache=tmp_path))
    assert found.total == 2
    assert [(talk.place, talk.messages[0]["content"]) for talk in found.rows] == [
        (f"Line 1 of {path}", "Grüße"),
        (f"Line 3 of {path}", "two"),
    ]


def many(path: Path, count: int) -> Path:
    path.write_text("\n".join(GOOD.replace("Grüße", f"Nr. {n}") for n in range(count)))
    return path


def test_a_file_is_gone_through_once_as_long_as_it_holds_the_same(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path)
    path = many(tmp_path / "calibration.jsonl", 3)
    one, same = read(spec(path), settings=settings), read(spec(path), settings=settings)
    assert all(a is b for a, b in zip(one.rows, same.rows, strict=True))
    path.rename(tmp_path / "away.jsonl")
    assert [talk.texts[0] for talk in one.rows] == ["Nr. 0", "Nr. 1", "Nr. 2"]
    (tmp_path / "away.jsonl").rename(path)
    # Another field, another place in messages, or other content are another set.
    with pytest.raises(CalibrationError, match="no field 'turns'"):
        read(spec(path, messages_field="turns"), settings=settings)
    moved = many(tmp_path / "moved.jsonl", 3)
    assert next(iter(read(spec(moved), settings=settings).rows)).place == f"Line 1 of {moved}"
    stat = path.stat()
    path.write_text(path.read_text().replace("Nr. 2", "No. 2"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    *_, last = read(spec(path), settings=settings).rows
    assert last.texts[0] == "No. 2"


def test_too_few_are_refused_of_a_remembered_file_too(tmp_path: Path) -> None:
    path = many(tmp_path / "calibration.jsonl", 3)
    settings = Settings(cache=tmp_path)
    assert read(spec(path), settings=settings).total == 3
    with pytest.raises(CalibrationError, match="holds 3 conversations"):
        read(spec(path, min_samples=4), settings=settings)


@pytest.mark.parametrize("bound", ["_MOST_HELD", "_MOST_CHARACTERS"])
def test_of_a_large_file_the_first_are_held_and_all_are_there(
    tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, bound, 12)
    path = many(tmp_path / "calibration.jsonl", 30)
    settings = Settings(cache=tmp_path)
    talks, again = (list(read(spec(path), settings=settings).rows) for _ in range(2))
    assert [talk.texts[0] for talk in talks] == [f"Nr. {n}" for n in range(30)]
    assert again == talks
    held = sum(a is b for a, b in zip(again, talks, strict=True))
    assert held == (12 if bound == "_MOST_HELD" else 2)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"messages": [', "is not JSON"),
        (b'{"messages": "\xff"}', "is not utf-8 (byte 0xff)"),
        (b"[]", "has no list of messages"),
        (b"7", "is a JSON number, not an object"),
        (b'{"conversations": [], "id": 1}', "has no field 'messages'; it has conversations, id"),
        (b'{"messages": [{"role": "user", "content": 3}]}', "has number for content in message 1"),
        (b'{"messages": []}', "has no list of messages"),
        (b'{"messages": "hello"}', "has no list of messages"),
        (b'{"messages": [{"role": "user", "content": null}]}', "number 1"),
        (b'{"messages": [{"role": "user", "content": "a"}, {"value": "b"}]}', "number 2"),
        (b'{"messages": ["hello"]}', "number 1"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "calibration.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode())
    with pytest.raises(CalibrationError) as caught:
        read(spec(path), settings=Settings(cache=tmp_path))
    assert caught.value.fact.startswith(f"Line 2 of {path}")
    assert says in caught.value.fact
    assert caught.value.remedy


@pytest.mark.parametrize("content", ["", "\n \n", GOOD])
def test_too_few_conversations_are_refused_before_rendering(tmp_path: Path, content: str) -> None:
    path = tmp_path / "calibration.jsonl"
    path.write_text(content)
    with pytest.raises(CalibrationError, match="min_samples asks for 2"):
        read(spec(path, min_samples=2), settings=Settings(cache=tmp_path))


def test_a_missing_file_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalibrationError) as caught:
        read(spec("mine.jsonl"), settings=Settings(cache=tmp_path))
    assert "mine.jsonl" in caught.value.fact
    assert str(tmp_path) in caught.value.cause
    with pytest.raises(CalibrationError, match="Is a directory"):
        read(spec(tmp_path), settings=Settings(cache=tmp_path))


@pytest.fixture
def hub(tmp_path: Path) -> Settings:
    """Settings with a dataset in the cache: what is here needs no network."""
    settings = Settings(cache=tmp_path)
    folder = settings.datasets / "huggingface" / "me--chats" / COMMIT
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(GOOD.replace("messages", "turns") + "\n" + '{"turns": []}')
    snapshot = Snapshot(
        source="huggingface",
        kind="dataset",
        id="me/chats",
        revision=COMMIT,
        files=digest_folder(folder),
        left_out=(),
    )
    (folder / ".manifest.json").write_text(snapshot.model_dump_json())
    return settings


def test_rows_of_a_hub_are_checked_as_they_are_used(hub: Settings) -> None:
    dataset = spec("me/chats", source="huggingface", revision=COMMIT, messages_field="turns")
    found = read(dataset, settings=hub)
    assert found.total == 2
    rows = iter(found.rows)
    talk = next(rows)
    assert (talk.place, talk.messages[0]["content"]) == ("Row 0 of me/chats", "Grüße")
    with pytest.raises(CalibrationError, match="Row 1 of me/chats has no list of messages"):
        next(rows)


def test_a_split_that_is_not_there_is_refused(hub: Settings) -> None:
    dataset = spec("me/chats", source="huggingface", revision=COMMIT, split="nightly")
    with pytest.raises(CalibrationError, match="'nightly' of me/chats") as caught:
        read(dataset, settings=hub)
    assert "train" in caught.value.cause
