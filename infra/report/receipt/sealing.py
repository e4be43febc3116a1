"""Digests of single values, rows and files of a report, and the seal over all of them.

A value is a leaf of the JSON document: a text, a number, `true`, `false`, `null`, or an empty list
or object. Its digest is short: it only has to name what was changed. That something was changed is
seen by the seal, which is a whole SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from infra.contracts.errors import ReceiptError
from infra.contracts.records import EndpointReport, Receipt, Report
from infra.store.content import digest_folder, digest_of

Document: TypeAlias = dict[str, Any]
"""A report as its JSON says it."""

_Reported = TypeVar("_Reported", Report, EndpointReport)

NAME = "report.json"
ROW_DIGITS = 6
_VALUE_DIGITS = 12
_PLAIN_KEY = re.compile(r"[^.\[\]\"]+")


def sealed(report: _Reported, folder: Path) -> _Reported:
    """Return a report with its receipt.

    Args:
        report: The run. A receipt it has already is replaced.
        folder: Its folder. Every file there counts, but `report.json` and hidden ones; none of
            them may change afterwards.
    """
    files = digest_folder(folder, skip=[NAME])
    rows = {
        file.name: "".join(row_digests(folder / file.name))
        for file in files
        if file.name.startswith("samples/")
    }
    receipt = Receipt(files=files, rows=rows, values={}, seal="")
    document = document_of(report.model_copy(update={"receipt": receipt}))
    document["receipt"]["values"] = value_digests(document)
    complete = {"values": document["receipt"]["values"], "seal": seal_over(document)}
    return report.model_copy(update={"receipt": receipt.model_copy(update=complete)})


def document_of(report: Report | EndpointReport) -> Document:
    """Return a report as its JSON says it."""
    document: Document = json.loads(report.model_dump_json())
    return document


def load(path: Path) -> Document:
    """Return a written report that has a receipt.

    Raises:
        ReceiptError: There is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError) as error:
        raise ReceiptError(
            f"{path} cannot be read: {error}.",
            remedy="Name the report.json of a run, or its folder.",
        ) from error
    receipt = document.get("receipt") if isinstance(document, dict) else None
    if not isinstance(receipt, dict) or not receipt.keys() >= Receipt.model_fields.keys():
        raise ReceiptError(
            f"{path} holds no receipt.",
            cause="It is no report of Assay, it was written before there were receipts, or the "
            "receipt was removed.",
            remedy="Run the recipe again; what has not changed is not paid for again.",
        )
    found: Document = document
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: people may read the one, and we would check the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def seal_of(folder: Path) -> str:
    """Return the seal of a finished run, to be kept where the report is not.

    Raises:
        ReceiptError: The folder holds no sealed report.
    """
    return str(load(folder / NAME)["receipt"]["seal"])


def seal_over(document: Document) -> str:
    """Return the seal that belongs to a report, whatever seal it has."""
    receipt = {key: value for key, value in document["receipt"].items() if key != "seal"}
    return digest_of({**document, "receipt": receipt})


def value_digests(document: Document) -> dict[str, str]:
    """Return path → short digest of every value, but of the digests themselves and the seal."""
    receipt = {key: document["receipt"][key] for key in ("files", "rows")}
    return {
        path: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:_VALUE_DIGITS]
        for path, value in leaves({**document, "receipt": receipt})
    }


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return path and content of every leaf: `comparison.metrics[0].low`.

    A key that holds a dot or a bracket is quoted: `provenance["a.b"]`.
    """
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            plain = _PLAIN_KEY.fullmatch(key)
            step = f".{key}" if plain and path else key if plain else f"[{json.dumps(key)}]"
            yield from leaves(inner, path + step)
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def row_digests(path: Path) -> Iterator[str]:
    """Return the short digest of each line of a file."""
    with path.open("rb") as lines:
        for line in lines:
            yield hashlib.sha256(line).hexdigest()[:ROW_DIGITS]
