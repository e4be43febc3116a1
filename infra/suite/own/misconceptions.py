"""The list of misconceptions beside a file of questions: ids and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError
from infra.suite.own.kind import text_of
from infra.suite.own.table import read

ID, NAME = "MisconceptionId", "MisconceptionName"


def read_list(file: Path) -> dict[str, str]:
    """Return each misconception's name by its id, in the order of the file.

    Raises:
        DatasetError: It cannot be read, or an id or a name is missing or stands there twice.
    """
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for place, cells in read(file):
        number, name = id_of(cells.get(ID)), " ".join(text_of(cells.get(NAME, "")).split())
        if not number or not name:
            raise DatasetError(
                f"{place.capitalize()} of {file.name} has no {ID if not number else NAME}.",
                remedy=f"Give every misconception its {ID} and its {NAME}.",
            )
        if number in found:
            raise DatasetError(
                f"{place.capitalize()} of {file.name} has the {ID} {number}, as another row has.",
                remedy="Remove one of them.",
            )
        if (other := names.setdefault(name.casefold(), number)) != number:
            raise DatasetError(
                f"{file.name} has one name under two ids, {other} and {number}: {name:.120}",
                cause="An answer that names one of them names both.",
                remedy="Keep one of them, and give its id to the questions of the other.",
            )
        found[number] = name
    if len(found) == 1:
        raise DatasetError(
            f"{file.name} holds one misconception alone.",
            remedy="Give the whole list, of which one is right for each wrong answer.",
        )
    return found


def id_of(value: Any) -> str:
    """Return an id as it stands in the list: 17 of `17`, `"17"` and `17.0`; empty if none."""
    text = "" if value is None else text_of(value).strip()
    whole, dot, rest = text.partition(".")
    return whole if dot and whole.isdigit() and not rest.strip("0") else text
