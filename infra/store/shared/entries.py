"""What is kept under the digest of all that decides it, in the shared store.

    entries/<name>/<upload>/…     the files, under a name that only this upload has
    entries/<name>/whole.json     written last: which upload counts, and what is in it

Without `whole.json` nothing of it is ever read. Of two that upload the same the first counts (of
what is `replace`d, the last), and the files of two are never mixed. What is brought is held against
the digests.
"""

from __future__ import annotations

import uuid
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from infra.contracts.records import FileDigest, Record
from infra.store.shared.place import Place

WHOLE = "whole.json"


class Whole(Record):
    """What an entry is made of."""

    upload: str
    """Folder of its files."""

    is_file: bool
    """Whether it is one file, and no folder."""

    files: tuple[FileDigest, ...]


class Damaged(Exception):
    """What came is not what was put there."""


def find(place: Place, name: str) -> Whole | None:
    """Return what an entry is made of; None if it is not there, or not whole."""
    text = place.read(_path(name, WHOLE))
    if text is None:
        return None
    try:
        return Whole.model_validate_json(text)
    except ValidationError:
        return None


def keep(place: Place, name: str, final: Path) -> bool:
    """Put a folder or a file there; return False if somebody else did meanwhile."""
    whole = _upload(place, name, final)
    counts = place.create(_path(name, WHOLE), _written(whole))
    _tidy(place, name)
    return counts


def replace(place: Place, name: str, final: Path) -> None:
    """Put a folder or a file there in place of what is there, unless that is the same."""
    before, whole = find(place, name), _upload(place, name, final)
    if before is None or before.files != whole.files:
        place.put(_path(name, WHOLE), _written(whole))
    _tidy(place, name)


def _upload(place: Place, name: str, final: Path) -> Whole:
    upload = uuid.uuid4().hex
    is_file = final.is_file()
    files = [final] if is_file else sorted(path for path in final.rglob("*") if path.is_file())
    top = final.parent if is_file else final
    kept = []
    for file in files:
        inside = file.relative_to(top).as_posix()
        digest = place.upload(file, _path(name, upload, inside))
        kept.append(digest.model_copy(update={"name": inside}))
    return Whole(upload=upload, is_file=is_file, files=tuple(kept))


def _written(whole: Whole) -> bytes:
    return whole.model_dump_json(indent=2).encode()


def _tidy(place: Place, name: str) -> None:
    """Remove uploads that were cut off, that came second, or that were replaced."""
    done = find(place, name)
    for other in place.names(_path(name)):
        if done is not None and other not in (WHOLE, done.upload):
            place.remove(_path(name, other))


def bring(place: Place, name: str, whole: Whole, into: Path) -> None:
    """Fill a folder with the files of an entry.

    Raises:
        Damaged: They are not what was put there. What came is left.
    """
    for file in whole.files:
        inside = PurePosixPath(file.name)
        if inside.is_absolute() or ".." in inside.parts:
            raise Damaged(f"{name} holds a file called {file.name!r}")
        try:
            sha256 = place.download(_path(name, whole.upload, file.name), into / file.name)
        except FileNotFoundError as error:
            raise Damaged(f"{name} lacks {file.name}") from error
        if sha256 != file.sha256:
            raise Damaged(f"{file.name} of {name} is not what was put there")


def discard(place: Place, name: str, whole: Whole) -> bool:
    """Remove an entry that is damaged: the next one that has it puts it there anew.

    Returns:
        Whether it was still there: where it was replaced while it came it is not damaged.
    """
    if find(place, name) != whole:
        return False
    place.remove(_path(name, WHOLE))
    return True


def _path(*parts: str) -> str:
    return "/".join(["entries", *parts])
