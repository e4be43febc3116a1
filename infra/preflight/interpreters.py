"""The Python environments: built, buildable, or the user's own and fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from infra.contracts.errors import EnvironmentBuildError
from infra.contracts.wording import listed
from infra.machine.environments import locate, lock_file
from infra.models.memory_need import GIB
from infra.preflight.findings import Finding, note
from infra.store.settings import Settings, interpreter_variable

BYTES = {"cpu": 3 * GIB, "cuda": 10 * GIB}
"""Room that one environment takes, with the installer's copies, measured."""

_WITHOUT_TORCH = GIB // 5


def environment(
    name: str,
    device: Literal["cpu", "cuda"],
    settings: Settings,
    python: Path | None = None,
) -> tuple[Finding | str, int]:
    """Check one environment; also return the bytes that building it will take.

    Raises:
        EnvironmentBuildError: An interpreter or a lock is missing or will not do.
    """
    lock = lock_file(name, device)
    try:
        found, present = locate(name, device, settings, python)
        text = "" if found.provided else lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentBuildError(
            f"The locked requirements {lock} cannot be read.",
            cause=getattr(error, "strerror", None) or str(error),
            remedy="Restore the file from the repository.",
        ) from error
    if found.unknown:
        return note(
            f"{name} environment",
            f"yours, {found.python}; {listed(list(found.unknown))} may be edited at any time: what "
            "is computed with it is never taken for another run's",
        ), 0
    if found.provided:
        return f"yours, {found.python}", 0
    _check_build(lock.name, text, name, device)
    if not present:
        size = BYTES[device] if re.search(r"^torch==", text, re.MULTILINE) else _WITHOUT_TORCH
        return note(
            f"{name} environment", f"will be built on first use, about {size / GIB:.2g} GiB"
        ), size
    if not found.python.exists():  # a link to an interpreter that is gone
        raise EnvironmentBuildError(
            f"The interpreter {found.python} is gone.",
            cause="The Python that the environment was made from was removed or moved.",
            remedy=f"Remove {found.python.parent.parent}; the next run builds it anew.",
        )
    return f"built, {found.python.parent.parent}", 0


def _check_build(file: str, lock: str, name: str, device: Literal["cpu", "cuda"]) -> None:
    pinned = re.search(r"^torch==(\S+)", lock, re.MULTILINE)
    if device == "cuda" and pinned and pinned[1].endswith("+cpu"):
        raise EnvironmentBuildError(
            f"{file} locks torch {pinned[1]}, a build without CUDA.",
            cause="It was locked where the package index offered no other build.",
            remedy="Run `make lock` with an index that has torch for CUDA, or point "
            f"{interpreter_variable(name)} at an interpreter of your own.",
        )
