"""Which model a checkpoint was made from and by whom, as far as its own files say.

It is a claim and proves nothing: people copy cards and rename folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.records import Origin
from infra.models.adapters import CONFIG as ADAPTER
from infra.models.hubs.snapshots import CARD as KEPT_CARD
from infra.models.place import Read, in_folder

_CARD, _CONFIG = "README.md", "config.json"
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def of(folder: Path) -> Origin | None:
    """Return what the checkpoint in a folder says of its origin; none if it says nothing."""
    return in_files(in_folder(folder).read)


def in_files(read: Read) -> Origin | None:
    """Return what a checkpoint says of its origin: its card, else an adapter's or the model's
    configuration; none if it says nothing.

    Args:
        read: Reads a file of the checkpoint by its name, wherever it lies.
    """
    card = front_matter(read(_CARD) or read(KEPT_CARD) or b"")
    made_by = _texts(card.get("quantized_by"))
    relation = _texts(card.get("base_model_relation"))
    bases, said_by = _texts(card.get("base_model")), _CARD
    if not bases:
        bases, said_by = _texts(_object(read, ADAPTER).get("base_model_name_or_path")), ADAPTER
        relation = relation or (("adapter",) if bases else ())
    if not bases:
        bases, said_by = _texts(_object(read, _CONFIG).get("_name_or_path")), _CONFIG
    if not (bases or made_by):
        return None
    return Origin(
        base_models=bases,
        relation=relation[0] if relation else None,
        said_by=said_by if bases else None,
        made_by=", ".join(made_by) or None,
    )


def front_matter(card: bytes) -> Mapping[str, Any]:
    """Return the metadata at the beginning of a model card; empty if there is none to read."""
    import yaml

    found = _FRONT.match(card.decode("utf-8-sig", "replace"))
    try:
        values = yaml.safe_load(found.group(1)) if found else None
    except (yaml.YAMLError, ValueError):  # of dates that are none
        return {}
    return values if isinstance(values, Mapping) else {}


def another_base(origin: Origin | None, baseline: str) -> str | None:
    """Return why a checkpoint was probably made from another model; none if nothing says so.

    Names are compared without their owners, for the same model has others on other hubs; what is
    no repository id on either side says nothing.

    Args:
        origin: What the checkpoint says.
        baseline: Id or folder of the model it is compared with.
    """
    if origin is None:
        return None
    named = [base for base in origin.base_models if _ID.fullmatch(base)]
    if not named or not _ID.fullmatch(baseline) or _name(baseline) in map(_name, named):
        return None
    return f"{origin.said_by} names {', '.join(named)} as its base model, not {baseline}"


def _name(id: str) -> str:
    return id.rpartition("/")[2].lower()


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(one.strip() for one in values if isinstance(one, str) and one.strip())


def _object(read: Read, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads((read(name) or b"{}").decode("utf-8-sig"))
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}
