"""The command `build`: environments ahead of their first use, for an image or a shared volume."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from infra.contracts.errors import SpecError
from infra.contracts.progress import Progress
from infra.machine import environments
from infra.store.settings import Settings

COMMANDS = ("build",)
_DEVICES: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")


def add_commands(commands: Any) -> None:
    """Add it to the parsers of the command line."""
    text = "build environments of engines and quantizers ahead of their first use"
    build = commands.add_parser("build", help=text, description=text)
    build.add_argument("environment", nargs="+", help=", ".join(_names()))


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Carry it out and return the exit code."""
    names = _names()
    for environment in given.environment:
        if environment not in names:
            raise SpecError(
                f"No environment {environment!r}.",
                cause=f"There are {', '.join(names)}.",
                remedy="Name some of them.",
            )
    for environment in given.environment:
        program, device = names[environment]
        with TemporaryDirectory() as logs:
            log = Path(logs) / f"{environment}.log"
            built = environments.ensure(
                program, device, settings=Settings(), progress=progress, log=log
            )
        print(f"{environment}: {built.python}")
    return 0


def _names() -> dict[str, tuple[str, Literal["cpu", "cuda"]]]:
    return {
        lock.stem: (lock.stem.removesuffix(f"-{device}"), device)
        for device in _DEVICES
        for lock in sorted(environments.LOCKS.glob(f"*-{device}.txt"))
    }
