"""Inspect: its logs, `.eval` (a ZIP archive) or `.json`.

An archive may be compressed by Zstandard, which this Python's `zipfile` does not know: its parts
are then taken out by hand.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from infra.store.content import digest_file
from infra.suite.foreign.files import document, messages_text, prompt_text, refuse
from infra.suite.foreign.result import Result, one_row, require_asked, require_once
from infra.suite.rows import BY_CHANCE, Row

PROGRAM = "Inspect"
_ZSTANDARD = 93
_GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""What Inspect makes of a grade, see `value_to_float`: correct, incorrect, partial, no answer."""

_SPREADS = ("stderr", "std", "var", "bootstrap_stderr")
"""Metrics of Inspect that say how marks scatter."""


def is_one(value: Any) -> bool:
    """Return whether a JSON document is such a log."""
    return isinstance(value, dict) and isinstance(value.get("eval"), dict) and "status" in value


def read(path: Path) -> Result:
    """Return the task of a log.

    Raises:
        ComparisonError: Its rows cannot be taken.
    """
    header, samples = _archive(path) if path.suffix == ".eval" else _plain(path)
    if (status := header.get("status")) != "success":
        refuse(path, f"is the log of an evaluation whose status is {status!r}",
               "It did not come to its end.", "Evaluate it again.")  # fmt: skip
    spec = header["eval"]
    task = str(spec.get("task") or path.stem)
    marked = list(_scorers(header))
    if not marked:
        refuse(path, "holds no scores", remedy="Score the log with Inspect, then compare it.")
    numbers: dict[Any, int] = {}
    seen: Counter[Any] = Counter()
    found = list(samples)
    epochs = max((int(sample.get("epoch", 1)) for sample in found), default=0)
    rows = []
    for sample in found:
        number = numbers.setdefault(sample.get("id"), len(numbers))
        seen[sample.get("id"), sample.get("epoch", 1)] += 1
        rows.append(_row(path, task, number, sample, marked, epochs > 1))
    if not rows:
        refuse(path, "holds no samples", remedy="Evaluate it again without --no-log-samples.")
    require_once(path, seen, "sample and epoch")
    return Result(
        program=PROGRAM,
        task=task,
        rows=rows,
        source=digest_file(path),
        reported={one.name: one.reported for one in marked if one.reported is not None},
        version=str(spec.get("task_version", "")),
        conditions={
            "task_args": spec.get("task_args") or {},
            **({"sampling": {"repeats": epochs}} if epochs > 1 else {}),
        },
    )


class _Scorer:
    """One score that the log has of every sample."""

    def __init__(self, entry: Mapping[str, Any], metric: str, reported: Any) -> None:
        self.key = str(entry.get("scorer") or entry.get("name"))
        self.part = str(entry.get("name"))
        self.name = f"{metric},{self.part}"
        self.reported = reported if isinstance(reported, float | int) else None

    def mark(self, path: Path, sample: Mapping[str, Any]) -> float:
        """Return what a sample is marked with."""
        scores = sample.get("scores") or {}
        score = scores.get(self.key) or scores.get(self.part)
        value = score.get("value") if isinstance(score, dict) else None
        if isinstance(value, dict):
            value = value.get(self.part)
        mark = _GRADES.get(value) if isinstance(value, str) else value
        if isinstance(value, str) and mark is None:
            mark = _of_text(value)
        if isinstance(mark, bool | int | float):
            return float(mark)
        why = "its evaluation failed" if sample.get("error") else f"its value is {value!r:.60}"
        return refuse(
            path,
            f"has no mark by {self.key} for the sample {sample.get('id')!r}: {why}",
            remedy="Evaluate it again: a row without a mark has nothing to be compared with.",
        )


def _of_text(value: str) -> float | None:
    if value.lower() in ("yes", "true"):
        return 1.0
    if value.lower() in ("no", "false"):
        return 0.0
    try:
        return float(value)
    except ValueError:
        return None


def _scorers(header: Mapping[str, Any]) -> Iterator[_Scorer]:
    """Yield the first metric of each scorer, over epochs by their mean."""
    for entry in (header.get("results") or {}).get("scores") or ():
        if entry.get("reducer") not in (None, "mean"):
            continue
        metrics = entry.get("metrics") or {}
        named = [name for name in metrics if name.rpartition("/")[2] not in _SPREADS]
        if named:
            yield _Scorer(entry, named[0].rpartition("/")[2], metrics[named[0]].get("value"))


def _row(
    path: Path,
    task: str,
    number: int,
    sample: Mapping[str, Any],
    marked: list[_Scorer],
    again: bool,
) -> Row:
    asked = messages_text(sample.get("input"))
    prompt = prompt_text(sample.get("messages")) or asked
    require_asked(path, prompt, f"in the sample {sample.get('id')!r}")
    choices = sample.get("choices") or []
    target = sample.get("target")
    metadata = {
        key: value
        for key, value in (sample.get("metadata") or {}).items()
        if isinstance(value, str | int | float)
    }
    lettered = len(choices) > 1 and isinstance(target, str) and len(target) == 1
    return one_row(
        task,
        number,
        question=[asked, choices],
        prompt=prompt,
        target=target,
        answer=(sample.get("output") or {}).get("completion")
        or next((one.get("answer") for one in (sample.get("scores") or {}).values()), None),
        marks={one.name: one.mark(path, sample) for one in marked},
        doc={
            **metadata,
            "question": asked,
            **({"choices": choices} if choices else {}),
            **({BY_CHANCE: 1 / len(choices)} if lettered else {}),
        },
        repeat=int(sample.get("epoch", 1)) - 1 if again else None,
    )


def _plain(path: Path) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    log = document(path)
    return log, iter(log.get("samples") or [])


def _archive(path: Path) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if "header.json" not in entries:
                refuse(path, "is the log of an evaluation that has not ended",
                       "It has no header.json.", "Let it end, or evaluate it again.")  # fmt: skip
            wanted = ["header.json", *(name for name in entries if name.startswith("samples/"))]
            header, *samples = [
                json.loads(_content(archive, file, entries[name])) for name in wanted
            ]
    except (OSError, ValueError, struct.error, zlib.error, zipfile.BadZipFile) as error:
        refuse(path, f"cannot be read as a log of Inspect: {error}")
    return header, iter(samples)


def _content(archive: zipfile.ZipFile, file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type != _ZSTANDARD:
        return archive.read(entry)
    import pyarrow

    file.seek(entry.header_offset)
    header = file.read(30)  # of the entry itself, whose extra field may be another than listed
    file.seek(sum(struct.unpack("<HH", header[26:30])), 1)
    packed = file.read(entry.compress_size)
    unpacked = pyarrow.decompress(packed, decompressed_size=entry.file_size, codec="zstd")
    return bytes(unpacked.to_pybytes())
