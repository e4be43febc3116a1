from __future__ import annotations

from pathlib import Path

import pytest

from infra.machine.log_lines import LineReader, tail


def read(*pieces: bytes, bar_seconds: float = 3600) -> list[str]:
    reader = LineReader(bar_seconds)
    lines = [line for piece in pieces for line in reader.feed(piece)]
    return [*lines, *reader.feed(b"", final=True)]


def test_lines_come_whole_however_they_were_cut() -> None:
    text = "erste Zeile\r\nzweite: ü\n\n\x1b[1mdritte\x1b[0m".encode()
    expected = ["erste Zeile", "zweite: ü", "dritte"]
    assert read(text) == expected
    assert read(*(bytes([byte]) for byte in text)) == expected


def test_a_line_is_said_once_it_is_complete_and_not_before() -> None:
    reader = LineReader()
    assert list(reader.feed(b'{"half": ')) == []
    assert list(reader.feed(b"1}\n")) == ['{"half": 1}']


@pytest.mark.parametrize("pieces", [1, 7, 200])
def test_a_progress_bar_is_throttled_and_its_end_is_said(pieces: int) -> None:
    bar = b"".join(b"\r%3d%%" % percent for percent in range(1, 101)) + b"\ndone\n"
    size = -(-len(bar) // pieces)
    lines = read(*(bar[at : at + size] for at in range(0, len(bar), size)))
    assert len(lines) == 3
    assert lines[1:] == ["100%", "done"]


def test_a_bar_that_stands_still_is_said_before_it_moves_on() -> None:
    reader = LineReader(bar_seconds=0)
    assert list(reader.feed(b"\rlayer 1 of 28")) == ["layer 1 of 28"]
    assert list(reader.feed(b"")) == []
    assert list(reader.feed(b"\rlayer 2 of 28")) == ["layer 2 of 28"]


def test_tail_shows_what_a_terminal_would(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"one\r\n\x1b[31mtwo\x1b[0m\n\n 1%\r 50%\r100%\nlast\xff")
    assert tail(log) == "one\ntwo\n100%\nlast\N{REPLACEMENT CHARACTER}"
    assert tail(log, 2) == "100%\nlast\N{REPLACEMENT CHARACTER}"


def test_tail_of_a_huge_log_and_of_none(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert tail(log, 2) == "line 99998\nline 99999"
    assert tail(tmp_path / "absent.log") == ""
