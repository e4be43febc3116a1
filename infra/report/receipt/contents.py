"""Is the report as it was written? Looks at the bare JSON, so that any version can be checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.report.receipt.checks import Checked, checked, counted
from infra.report.receipt.sealing import (
    NAME,
    ROW_DIGITS,
    Document,
    leaves,
    row_digests,
    seal_over,
    value_digests,
)
from infra.store.content import digest_folder

LATER = "chat/"
"""What is kept there came after the report, and is no part of it."""

_LONGEST_VALUE = 60
_SEAL_DIGITS = 12
"""Of a seal that is given: fewer could fit another report by chance."""


def check_seal(document: Document, given: str | None) -> Checked:
    """Return whether the seal is that of the report, and the one that was kept elsewhere.

    Args:
        document: The report.
        given: The seal as somebody else kept it, or its beginning; none if nobody did.
    """
    reported, found = str(document["receipt"]["seal"]), seal_over(document)
    wrong, notes = [], []
    if reported != found:
        wrong.append("receipt.seal is not the seal of this report: one of the two was changed")
    if given is None:
        notes.append("no seal from elsewhere was given (--seal), so a report that was sealed again "
                     "would not be noticed")  # fmt: skip
    elif len(given) < _SEAL_DIGITS:
        wrong.append(f"the given seal, {given!r}, is too short: at least {_SEAL_DIGITS} digits")
    elif not found.startswith(given.lower()):
        wrong.append(f"the report's seal is {found}, not {given}: it was sealed again")
    return checked("seal", reported, wrong, notes)


def check_values(document: Document) -> Checked:
    """Return which values of the report are not those it was sealed with."""
    sealed = _texts(document["receipt"]["values"])
    found = value_digests(document)
    receipt = {key: document["receipt"][key] for key in ("files", "rows")}
    values = dict(leaves({**document, "receipt": receipt}))
    wrong = [
        f"{path} was changed: it reads {_brief(values[path])}"
        if path in sealed
        else f"{path} was added: it reads {_brief(values[path])}"
        for path, digest in found.items()
        if sealed.get(path) != digest
    ]
    wrong += [f"{path} was removed" for path in sealed if path not in found]
    return checked("values", counted(len(found), "value"), wrong)


def check_files(document: Document, folder: Path) -> Checked:
    """Return which files of the run's folder are not those the report was sealed with."""
    wrong = []
    listed = document["receipt"]["files"]
    files = [file for file in listed if isinstance(file, dict)] if isinstance(listed, list) else []
    there = {
        file.name: file
        for file in digest_folder(folder, skip=[NAME])
        if not file.name.startswith(LATER)
    }
    for file in files:
        name = str(file.get("name", ""))
        real = there.pop(name, None)
        if real is None:
            wrong.append(f"{name} is missing")
        elif real.sha256 != file.get("sha256"):
            wrong.append(f"{name} was changed: {_sizes(file.get('size'), real.size)}")
    wrong += [f"{name} was added" for name in there]
    return checked("files", counted(len(files), "file"), wrong)


def check_rows(document: Document, folder: Path) -> Checked:
    """Return which rows of the samples files are not those the report was sealed with."""
    wrong: list[str] = []
    total = 0
    for name, joined in _texts(document["receipt"]["rows"]).items():
        sealed = [joined[at : at + ROW_DIGITS] for at in range(0, len(joined), ROW_DIGITS)]
        total += len(sealed)
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing, with all its rows")
            continue
        found = list(row_digests(path))
        other = [n for n, pair in enumerate(zip(sealed, found, strict=False), 1)
                 if pair[0] != pair[1]]  # fmt: skip
        if len(sealed) != len(found):
            first = other[0] if other else min(len(sealed), len(found)) + 1
            wrong.append(f"{name} has {len(found)} rows instead of {len(sealed)}; they differ from "
                         f"line {first} on")  # fmt: skip
        else:
            documents = _documents(path, set(other))
            wrong += [f"{name} line {number} was changed ({documents[number]})" for number in other]
    return checked("rows", counted(total, "row"), wrong)


def _documents(path: Path, numbers: set[int]) -> dict[int, str]:
    """Return for some lines which document of which task they are."""
    with path.open("rb") as lines:
        return {number: _who(line) for number, line in enumerate(lines, 1) if number in numbers}


def _who(line: bytes) -> str:
    try:
        row = json.loads(line)
        return f"{row['task']}, document {row['doc_id']}"
    except (ValueError, KeyError, TypeError):
        return "no longer a row"


def _texts(value: Any) -> Mapping[str, str]:
    """Return a part of the receipt as it should be, whatever somebody made of it."""
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _sizes(before: Any, now: int) -> str:
    return f"{now:,} bytes as before" if before == now else f"{now:,} bytes instead of {before:,}"
