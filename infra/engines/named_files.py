"""What lies in the files and folders that an engine's settings name: a path says nothing of it."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from infra.store.content import digest_file, digest_of

_MOST_FILES = 10_000
"""Of a folder that anybody may look through; what is larger is no adapter and no model."""

_NO_FILES = ("/proc", "/sys", "/dev")
_PLACES = ("PATH", "_HOME", "_ROOT", "_DIRS")
"""Ends of names of variables that say where libraries are: those belong to the machine."""

_STORES = ("-dir", "_dir")
"""Ends of flags and fields that say where an engine may keep things."""

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def named_files(
    arguments: Iterable[str], variables: Mapping[str, str], surroundings: Mapping[str, str]
) -> dict[str, str | None]:
    """Return what settings name that is there: the text that names it → digest of what it holds.

    A name may be an argument, stand behind an equals sign, in a list or in a JSON value. A folder
    counts with all below it; one that is too large, or cannot be read, has no digest. A repository
    of a hub counts as the commits that its revisions stand for in the cache here, since the engine
    asks no hub.

    Args:
        arguments: Of the command.
        variables: Of the engine's environment, as far as they decide anything.
        surroundings: All of its environment: where caches are.
    """
    texts = chain(
        *(_parts(text, ",:") for text in _values(arguments)),
        *(
            _parts(value, ",: ")
            for name, value in variables.items()
            if not name.endswith(_PLACES) or Path(value).is_file()
        ),
    )
    found = {text: _content(text, surroundings) for text in dict.fromkeys(texts)}
    return {text: content for text, content in found.items() if content != ""}


def with_nonces(found: Mapping[str, str | None]) -> dict[str, str]:
    """Return what was found, with what nobody can tell made unlike anything found before."""
    return {text: content or secrets.token_hex() for text, content in found.items()}


def _values(arguments: Iterable[str]) -> Iterator[str]:
    """Yield arguments without those that say where something is kept."""
    before = ""
    for text in arguments:
        flag, before = before, text
        if not flag.endswith(_STORES) and not text.partition("=")[0].endswith(_STORES):
            yield text


def _parts(text: str, between: str) -> Iterator[str]:
    """Yield a text, and whatever in it may be a name."""
    yield text
    value = text.partition("=")[2]
    if value:
        yield value
    for whole in filter(None, (text, value)):
        try:
            yield from _texts(json.loads(whole))
        except ValueError:
            yield from re.split(f"[{between}]", whole)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else (("", part) for part in value)
        for name, part in pairs:
            if not name.endswith(_STORES):
                yield from _texts(part)


def _content(text: str, surroundings: Mapping[str, str]) -> str | None:
    """Return the digest of what a text names; empty if it names nothing, none if it is unknown."""
    try:
        path = Path(text).expanduser().absolute()
        if not text.strip() or any(path.is_relative_to(one) for one in _NO_FILES):
            return ""
        if path.is_file():
            return digest_file(path).sha256
        return _folder(path) if path.is_dir() else _in_cache(text, surroundings)
    except PermissionError:
        return None
    except (OSError, ValueError, RuntimeError):
        return ""  # no file can have such a name


def _folder(folder: Path) -> str | None:
    files: list[Path] = []
    for place, below, names in os.walk(folder, followlinks=True):
        below[:] = [name for name in below if name not in {"__pycache__", ".git"}]
        files += [Path(place) / name for name in names]
        if len(files) > _MOST_FILES:
            return None
    return digest_of(
        [
            [file.relative_to(folder).as_posix(), digest_file(file).sha256]
            for file in sorted(files)
            if file.is_file()
        ]
    )


def _in_cache(repository: str, surroundings: Mapping[str, str]) -> str | None:
    if not _REPOSITORY.fullmatch(repository):
        return ""
    home = Path(surroundings.get("HOME") or Path.home())
    caches = Path(surroundings.get("XDG_CACHE_HOME") or home / ".cache")
    hub = Path(surroundings.get("HF_HOME") or caches / "huggingface") / "hub"
    name = f"models--{repository.replace('/', '--')}"
    refs = Path(surroundings.get("HF_HUB_CACHE") or hub) / name / "refs"
    return _folder(refs) if refs.is_dir() else ""
