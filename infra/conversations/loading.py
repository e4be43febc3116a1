"""Conversations of a file or of a dataset on a hub; which row is none."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from infra.contracts.errors import CalibrationError
from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import CalibrationSpec
from infra.conversations.forms import (
    COLUMNS,
    DEFAULT_FIELD,
    EXAMPLE,
    LISTS,
    SHAPE,
    Conversation,
    Message,
    is_message,
    read_row,
)
from infra.conversations.reading.rows import Wanted, read_rows, without_nulls
from infra.store.content import digest_file, digest_of
from infra.store.settings import Settings
from infra.store.usage import used

__all__ = ["Conversation", "Conversations", "Message", "read"]

_WANTED = Wanted(
    field="quantization.calibration.path",
    called="The calibration file",
    error=CalibrationError,
    example=EXAMPLE,
    columns=COLUMNS,
    is_part=is_message,
)


_MOST_HELD, _MOST_CHARACTERS = 4096, 32_000_000
"""Conversations, and characters in them, that are remembered of a file."""

_last: dict[tuple[str, ...], tuple[int, tuple[Conversation, ...]]] = {}
"""Of the file that was read last: how many conversations it holds, and those it begins with."""


@dataclass(frozen=True)
class Conversations:
    """What the source holds, in its order."""

    total: int
    rows: Iterable[Conversation]
    """May be gone through more than once; no more than the first are held in memory."""


def read(
    spec: CalibrationSpec, *, settings: Settings, progress: Progress | None = None
) -> Conversations:
    """Read the conversations. Of a file every row is checked; rows of a dataset as they are used.

    A run asks for them half a dozen times. A file of the same content is gone through once: what it
    begins with is remembered, and more than that is seldom wanted.

    Args:
        spec: Where they are.
        settings: Where datasets of a hub are kept.
        progress: Hears of a download.

    Raises:
        CalibrationError: There is no such file or dataset, it holds too few conversations, or a
            row is none; the message names the row.
        WeightsError: The hub did not give the dataset.
    """
    total, rows = _source(spec, settings, progress or Silent())
    first: tuple[Conversation, ...] = ()
    if total is None:
        total, first = _checked(spec, rows)
    if total < spec.min_samples:
        raise CalibrationError(
            f"{spec.path} holds {total or 'no'} conversations; "
            f"quantization.calibration.min_samples asks for {spec.min_samples}.",
            remedy=f"Give more, or lower quantization.calibration.min_samples. {SHAPE}",
        )
    return Conversations(total, _Rows(rows if len(first) < total else (), spec, first))


def raw_rows(
    spec: CalibrationSpec, *, settings: Settings, progress: Progress | None = None
) -> Iterable[tuple[str, Any]]:
    """Return the rows as they are, whether conversations or not, each with its place.

    Raises:
        CalibrationError, WeightsError: As for `read`.
    """
    return _source(spec, settings, progress or Silent())[1]


class _Again:
    """Rows that are read anew each time they are gone through."""

    def __init__(self, start: Callable[[], Iterator[tuple[str, Any]]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._start()


class _Rows:
    def __init__(
        self,
        rows: Iterable[tuple[str, Any]],
        spec: CalibrationSpec,
        first: tuple[Conversation, ...] = (),
    ) -> None:
        self._rows = rows
        self._spec = spec
        self._first = first

    def __iter__(self) -> Iterator[Conversation]:
        yield from self._first
        for place, row in islice(self._rows, len(self._first), None):
            yield read_row(row, self._spec.messages_field, place, self._convert)

    def _convert(self, arguments: str) -> str:
        return conversion(self._spec, arguments)


def _checked(
    spec: CalibrationSpec, rows: Iterable[tuple[str, Any]]
) -> tuple[int, tuple[Conversation, ...]]:
    """Go through a file, unless it is the last one; return how many it holds, and the first."""
    key = _key(spec)
    if key is not None and (held := _last.get(key)) is not None:
        return held
    total = size = 0
    first: list[Conversation] = []
    for total, talk in enumerate(_Rows(rows, spec), 1):
        size += sum(map(len, talk.texts))
        if total <= _MOST_HELD and size <= _MOST_CHARACTERS:
            first.append(talk)
    found = total, tuple(first)
    if key is not None and _key(spec) == key:
        _last.clear()
        _last[key] = found
    return found


def _key(spec: CalibrationSpec) -> tuple[str, ...] | None:
    """Return what makes the conversations of a file these; none if it cannot be read."""
    path = Path(spec.path).expanduser()
    try:
        return digest_file(path).sha256, str(path), spec.messages_field
    except OSError:
        return None  # reading it says why


def conversion(spec: CalibrationSpec, arguments: str) -> str:
    """Return the sentence with the command that converts a dataset; see `conversions.py`."""
    name = re.sub(r"[^\w-]+", "-", Path(spec.path).name.partition(".")[0]).strip("-")
    target = f"{name or 'calibration'}.messages.jsonl"
    given = spec.model_dump_json(
        include={"path", "source", "config", "split", "revision"}, exclude_defaults=True
    )
    words = (sys.executable, "-m", "infra.conversations.conversions", given, target)
    command = " ".join([*map(shlex.quote, words), arguments])
    source = " and quantization.calibration.source=file" if spec.source != "file" else ""
    return f"Convert it: `{command}`, then set quantization.calibration.path={target}{source}."


def _source(
    spec: CalibrationSpec, settings: Settings, progress: Progress
) -> tuple[int | None, Iterable[tuple[str, Any]]]:
    """Return how many rows there are, if that is known beforehand, and the rows."""
    if spec.source == "file":
        path = Path(spec.path).expanduser()
        return None, _Again(lambda: _unwrapped(read_rows(path, _WANTED)))
    return _dataset(spec, spec.source, settings, progress)


def _unwrapped(rows: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield rows; those that stand together in a single field of an object one by one."""
    for place, row in rows:
        inside = _inside(row)
        if inside is None:
            yield place, row
        else:
            for number, one in enumerate(inside, 1):
                yield f"Row {number} in {place[0].lower()}{place[1:]}", one


def _inside(row: Any) -> list[Any] | None:
    """Return the rows in an object such as `{"data": [{"messages": …}, …]}`."""
    if not isinstance(row, dict) or DEFAULT_FIELD in row:
        return None
    lists = [value for value in row.values() if isinstance(value, list) and value]
    if len(lists) != 1 or set(row) & (COLUMNS - LISTS):
        return None
    first = lists[0][0]
    if isinstance(first, list):
        holds = bool(first) and is_message(first[0])
    else:
        holds = isinstance(first, dict) and bool(set(first) & (COLUMNS - {"content"}))
        holds = holds and not is_message(first)
    return lists[0] if holds else None


def _dataset(
    spec: CalibrationSpec,
    source: Literal["modelscope", "huggingface"],
    settings: Settings,
    progress: Progress,
) -> tuple[int, Iterable[tuple[str, Any]]]:
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError

    from infra.models.weights import fetch_dataset

    folder = fetch_dataset(source, spec.path, spec.revision, settings=settings, progress=progress)
    # A cache for this folder alone: the library's own has confused folders of the same name.
    cache = settings.datasets / ".arrow" / digest_of(str(folder))[:16]
    used(cache)
    disable_progress_bars()  # they would run through the table of the preflight
    try:
        rows = load_dataset(str(folder), name=spec.config, split=spec.split, cache_dir=str(cache))
    except (ValueError, OSError, RuntimeError, DatasetsError) as error:
        raise CalibrationError(
            f"Split {spec.split!r} of {spec.path} cannot be loaded.",
            cause=str(error).partition("\n")[0],
            remedy="Correct quantization.calibration.config and .split.",
        ) from error
    return rows.num_rows, _Again(
        lambda: (
            (f"Row {number} of {spec.path}", without_nulls(row)) for number, row in enumerate(rows)
        )
    )
