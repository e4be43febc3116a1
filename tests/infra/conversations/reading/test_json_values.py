"""JSON in every layout people write it in; what is none is named by its line."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest

from infra.conversations.reading import json_values
from infra.conversations.reading.json_values import NotJson, begins_as_json, rows

ROWS = [{"id": number, "text": f'"{number}", ] }} \\ Größe\u2028'} for number in range(7)]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]


def read(text: str, is_part: Any = lambda _: False) -> list[tuple[int, int | None, Any]]:
    return list(rows(io.StringIO(text), is_part))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LINES),
        "\n\n" + "\n \n".join(LINES) + "\n\n",
        ",\n".join(LINES) + ",\n",
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        "[\n" + ",\n".join(LINES) + ",\n]\n",
        "[" + ",\n".join(LINES) + "]",
        "\n".join(json.dumps(row, indent=4) for row in ROWS),
        "".join(LINES),
        "\n".join(f"[{line}]" for line in LINES),
    ],
    ids=["lines", "blank lines", "commas", "array", "pretty array", "array of lines",
         "array from the first line", "pretty objects", "no line ends", "arrays"],
)  # fmt: skip
@pytest.mark.parametrize("piece", [1 << 16, 40, 17])
def test_rows_in_every_layout(text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "_PIECE", piece)
    assert [row for _, _, row in read(text)] == ROWS


def test_rows_know_their_lines() -> None:
    assert [line for line, number, _ in read("\n" + "\n\n".join(LINES[:3])) if not number] == [
        2, 4, 6,
    ]  # fmt: skip
    assert [row[:2] for row in read(json.dumps([{"a": 1}, {"a": 2}], indent=1))] == [(2, 1), (5, 2)]
    assert [row[:2] for row in read('[\n{"a": 1},\n\n{"a": 2}\n]')] == [(2, 1), (4, 2)]


@pytest.mark.parametrize("layout", ["line", "pretty", "nested"])
def test_a_list_of_parts_is_one_row(layout: str) -> None:
    def is_part(value: Any) -> bool:
        return isinstance(value, dict) and "role" in value

    talk = [{"role": "user"}, {"role": "assistant"}]
    text = {
        "line": f"{json.dumps(talk)}\n{json.dumps(talk)}\n",
        "pretty": f"{json.dumps(talk, indent=2)}\n{json.dumps(talk, indent=2)}\n",
        "nested": json.dumps([talk, talk], indent=2),
    }[layout]
    assert [row for _, _, row in read(text, is_part)] == [talk, talk]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('{"a": 1}\n{"a": \n{"a": 3}', 2, "is not JSON"),
        ('{"a": \n{"a": 2}\n{"a": 3}', 1, "is not JSON"),
        ('[{"a": \n[{"a": 2}]\n[{"a": 3}]', 1, "is not JSON"),
        ('[\n{"a": 1},\n{"a": }\n]', 3, "is not JSON"),
        ('[\n{"a": 1},\n{"a": 2}\n', 1, "no end"),
        ('{\n"a": 1,\n}\n', 3, "comma before }"),
        ("{'a': 1}\n", 1, "' instead of"),
        ('{"a": "\udcff"}\n', 1, "not utf-8 (byte 0xff)"),
        ('[\n{"a": "\udcfc"}\n]', 2, "not utf-8 (byte 0xfc)"),
        ("Hello\nyou\n", 1, "is not JSON"),
        ('{"a": "' + "[" * 100_000 + "\n", 1, "is not JSON"),
        ("[" * 100_000 + "\n", 1, "is not JSON"),
    ],
)
def test_what_is_no_json_is_named_by_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(NotJson) as caught:
        read(text)
    assert (caught.value.line, why in caught.value.why) == (line, True), caught.value.why
    assert caught.value.undecoded == ("utf-8" in why)


def test_a_large_array_needs_little_memory() -> None:
    text = io.StringIO(json.dumps([{"text": "x" * 1000}] * 20_000))
    tracemalloc.start()
    count = sum(1 for _ in rows(text, lambda _: False))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert most < 2_000_000, most


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ('{"text": "a"}\n', True), ("\n [1, 2]", True), ("[\n", True), ("{\n", True),
        ('[{"a": 1},\n{"a": 2}]', True), ("[1] Introduction\n", False), ("[note] Hello", False),
        ("{braces} are fun", False), ("Hello", False), ("", False),
    ],
)  # fmt: skip
def test_json_is_recognized_by_its_beginning(text: str, is_json: bool) -> None:
    assert begins_as_json(io.StringIO(text)) is is_json
