"""Files that only stand for others: what Git LFS or git-annex leaves where a content was not had.

A clone without git-lfs holds, in place of each large file, a text that names it
(https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md). Readers take that for a broken file
of the kind that its name promises, and blame it; so whoever reads a user's file asks here first.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from infra.contracts.errors import AssayError

LONGEST = 1024
"""Bytes: the specification's own limit of a pointer."""

_LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
"""The second is what versions before the first release wrote, and still read."""

_ANNEX = b"/annex/objects/"


def is_pointer(path: Path) -> bool:
    """Return whether a file only stands for another; False if it cannot be read or is not there."""
    return _program(path) is not None


def remedy(path: Path) -> str:
    """Return how to have the file that a pointer stands for: a command where there is one."""
    program = _program(path) or "git-lfs"
    command = "git lfs pull" if program == "git-lfs" else "git annex get ."
    folder = path.expanduser().absolute().parent
    if any((above / ".git").exists() for above in (folder, *folder.resolve().parents)):
        return f"With {program} installed: `cd {shlex.quote(str(folder))} && {command}`."
    return (
        f"{folder} is no clone: run `{command}` in the clone that it is a copy of, with {program} "
        "installed, and copy it again; or download the file itself."
    )


def check(path: Path, error: type[AssayError]) -> None:
    """Raise an error of the caller's kind if a file only stands for another."""
    if program := _program(path):
        name = {"git-lfs": "a Git LFS pointer", "git-annex": "a git-annex pointer"}[program]
        raise error(
            f"{path} is {name} in place of the file itself.",
            cause=f"The repository was cloned without {program}, or not all of it was fetched.",
            remedy=remedy(path),
        )


def program_of(content: bytes) -> str | None:
    """Return which program fetches what a content stands for; none if it is no pointer."""
    if len(content) > LONGEST:
        return None
    if content.startswith(_LFS):
        return "git-lfs"
    return "git-annex" if content.startswith(_ANNEX) else None


def _program(path: Path) -> str | None:
    try:
        if path.is_symlink() and not path.exists() and "annex/objects" in str(path.readlink()):
            return "git-annex"
        if not path.is_file() or path.stat().st_size > LONGEST:
            return None
        return program_of(path.read_bytes())
    except OSError:
        return None
