"""The Python environments that quantizers and engines run in, built on first use.

Each is called after the program in it and the digest of its lock file, and lives in the user's
cache, so checkouts share it and an edited lock makes a new one. It appears by one rename: half an
environment is never used.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psutil

from infra.contracts.errors import EnvironmentBuildError
from infra.contracts.progress import Progress
from infra.contracts.records import PythonEnvironment, Record
from infra.machine import programs
from infra.machine.processes import run, tail
from infra.machine.ticker import Ticker
from infra.store.content import build_once, digest_of
from infra.store.settings import Settings, interpreter_variable
from infra.store.usage import used

_INSTALLED = Path(__file__).with_name("installed.py")
_LOOK_SECONDS = 120.0
LOCKS = Path(__file__).parents[1] / "environments"


_LOST = re.compile(
    r"error sending request|HTTP status server error|429 Too Many Requests|connection reset"
    r"|timed out",
    re.IGNORECASE,
)
"""What the installer says when the network fails it, and not the lock, the disk or the index."""

_BUILD_TIMEOUT_SECONDS = 3600.0
_HEARTBEAT_SECONDS = 5.0


class _Installed(Record):
    """What `installed.py` says."""

    version: Literal[1]
    found: bool
    python: str
    packages: list[list[str | list[str]]]
    unknown: tuple[str, ...]


class _Program(Record):
    """What `programs.json` says of an environment's program."""

    imports: str
    """Module that an interpreter of the user's must have to serve instead."""

    executable: str = ""
    """Beginning of the name of a program that may serve instead, without any Python."""

    built_with_torch: tuple[str, ...]
    """Source distributions whose set-up imports torch: installed second, without build
    isolation."""


def _program(name: str) -> _Program:
    return _Program.model_validate(_programs()[name])


def _programs() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((LOCKS / "programs.json").read_text(encoding="utf-8"))
    return found


def lock_file(name: str, device: Literal["cpu", "cuda"]) -> Path:
    """Return the locked requirements of an environment for a kind of device."""
    return LOCKS / f"{name}-{device}.txt"


def locate(
    name: str,
    device: Literal["cpu", "cuda"],
    settings: Settings,
    python: Path | None = None,
) -> tuple[PythonEnvironment, bool]:
    """Say which environment would be used, and whether it is there already.

    Args:
        name: The program in it: `vllm`.
        device: The kind of device it is for.
        settings: Where environments are kept, and interpreters the user provides.
        python: The interpreter that the run names, if it does.

    Raises:
        EnvironmentBuildError: The user's own interpreter does not exist or lacks the package, or
            there is none for this kind of device.
    """
    named = python.expanduser().absolute() if python else None
    if own := named or settings.interpreters.get(name):
        variable = "serving.python" if named else interpreter_variable(name)
        other = _program(name).executable
        if other and own.name.startswith(other):
            return programs.provided(name, own, variable), True
        return _provided(name, own, variable), True
    lock = lock_file(name, device)
    if not lock.exists():
        raise EnvironmentBuildError(
            f"Assay builds no {name} environment for {device}.",
            cause="What it would install computes on other devices alone.",
            remedy="Set serving.device to 'cpu', or point "
            f"{interpreter_variable(name)} at one of your own.",
        )
    digest = digest_of(lock.read_text(encoding="utf-8"))
    folder = settings.environments.absolute() / _folder(name, device, digest)
    environment = PythonEnvironment(
        name=f"{name}-{device}", python=folder / "bin" / "python", digest=digest, provided=False
    )
    return environment, folder.is_dir()


def ensure(
    name: str,
    device: Literal["cpu", "cuda"],
    *,
    settings: Settings,
    progress: Progress,
    log: Path,
    python: Path | None = None,
) -> PythonEnvironment:
    """Return an environment, building it if it is not there yet.

    Args:
        name: The program in it: `vllm`.
        device: The kind of device it is for.
        settings: Where environments are kept, and interpreters the user provides.
        progress: Hears what happens.
        log: File for the installer's output.
        python: The interpreter that the run names, if it does.

    Raises:
        EnvironmentBuildError: It could not be built; nothing half-built remains.
    """
    environment, _ = locate(name, device, settings, python)
    folder = environment.python.parent.parent
    used(folder)
    if environment.provided or folder.is_dir():
        return environment

    def build(partial: Path) -> None:
        started = time.monotonic()
        progress.say(f"building the {environment.name} environment (once per machine)")
        _install(name, device, partial, log, progress)
        progress.say(f"built {environment.name} in {time.monotonic() - started:.0f} s")

    build_once(
        folder,
        build,
        on_wait=lambda: progress.say(f"another run is building {environment.name}; waiting for it"),
    )
    return environment


def programs_built() -> tuple[str, ...]:
    """Return the names of all programs that have an environment of their own."""
    return tuple(_programs())


def current() -> frozenset[str]:
    """Return the names of the folders of all environments that the locks of today make."""
    devices: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")
    return frozenset(
        _folder(name, device, digest_of(lock.read_text(encoding="utf-8")))
        for name in _programs()
        for device in devices
        if (lock := lock_file(name, device)).is_file()
    )


def _folder(name: str, device: str, digest: str) -> str:
    return f"{name}-{device}-{digest[:16]}"


def _provided(name: str, python: Path, variable: str) -> PythonEnvironment:
    """Return an interpreter of the user's own, which a variable or a field names.

    Raises:
        EnvironmentBuildError: It does not run, or lacks the package.
    """
    module = _program(name).imports
    try:
        answer = subprocess.run(
            [str(python), "-I", str(_INSTALLED), module],
            capture_output=True, text=True, timeout=_LOOK_SECONDS, check=True,
        )  # fmt: skip
        installed = _Installed.model_validate_json(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EnvironmentBuildError(
            f"{variable}={python} does not run as a Python interpreter.",
            cause=type(error).__name__,
            remedy=f"Point {variable} at a Python that has {module}, or unset it.",
        ) from error
    if not installed.found:
        raise EnvironmentBuildError(
            f"{variable}={python} has no package {module!r}.",
            remedy=f"Install {module} there, or unset {variable} to let Assay build its own.",
        )
    # What may be edited at any time is what it is now and never again.
    once = [secrets.token_hex()] if installed.unknown else []
    return PythonEnvironment(
        name=name,
        python=python.absolute(),
        digest=digest_of([str(python.absolute()), installed.python, installed.packages, *once]),
        provided=True,
        unknown=installed.unknown,
    )


def _install(
    program: str, device: Literal["cpu", "cuda"], folder: Path, log: Path, progress: Progress
) -> None:
    lock, name = lock_file(program, device), f"{program}-{device}"
    built = _program(program).built_with_torch
    uv = _find_uv()
    env = {**os.environ, **_pip_settings(), "VIRTUAL_ENV": str(folder), "UV_NO_PROGRESS": "1"}
    env.pop("PYTHONPATH", None)

    def call(*arguments: str) -> bool:
        with _heartbeat(name, progress):
            return run([uv, *arguments], log=log, env=env, on_line=lambda line: None,
                       timeout_seconds=_BUILD_TIMEOUT_SECONDS) == 0  # fmt: skip

    ok = call("venv", "--quiet", "--relocatable", "--allow-existing", "--python", _interpreter(),
              str(folder))  # fmt: skip
    text = lock.read_text(encoding="utf-8")
    first = folder / "requirements.txt"
    first.write_text(_without(text, built), encoding="utf-8")
    sync = ("pip", "sync", "--require-hashes")
    if ok and not call(*sync, str(first)):
        # The torch CPU build is in neither index nor find-links: take PyTorch's own wheel index.
        ok = "+cpu" in text and call(*sync, "--torch-backend", "cpu", str(first))
    if ok and built:
        second = folder / "requirements-built.txt"
        second.write_text(_only(text, built), encoding="utf-8")
        ok = call("pip", "install", "--require-hashes", "--no-deps", "--no-build-isolation",
                  "-r", str(second))  # fmt: skip
    if not ok:
        said = tail(log, 8)
        raise EnvironmentBuildError(
            f"The {name} environment could not be built.",
            cause=f"The installer said:\n{said}",
            may_heal=_LOST.search(said) is not None,
            remedy=(
                "Check network, disk and package index, or point "
                f"{interpreter_variable(program)} at an interpreter of your own. Whole log: {log}"
            ),
        )


def _heartbeat(name: str, progress: Progress) -> Ticker:
    """Tell every few seconds how long it has taken and what came over the network."""
    started, received = time.monotonic(), psutil.net_io_counters().bytes_recv

    def beat() -> None:
        megabytes = (psutil.net_io_counters().bytes_recv - received) // 10**6
        seconds = time.monotonic() - started
        progress.say(f"{name}: installing, {seconds:.0f} s, {megabytes} MB received")

    return Ticker(_HEARTBEAT_SECONDS, beat)


def _blocks(lock: str) -> list[str]:
    """Split a lock into one block a requirement, comments dropped."""
    lines = [line for line in lock.splitlines() if line and not line.lstrip().startswith("#")]
    return re.split(r"\n(?=[A-Za-z0-9])", "\n".join(lines))


def _filtered(lock: str, keep: Callable[[str], bool]) -> str:
    return "\n".join(b for b in _blocks(lock) if keep(b.split("==", maxsplit=1)[0])) + "\n"


def _without(lock: str, packages: tuple[str, ...]) -> str:
    return _filtered(lock, lambda name: name not in packages)


def _only(lock: str, packages: tuple[str, ...]) -> str:
    return _filtered(lock, lambda name: name in packages)


def _interpreter() -> str:
    """The Python that this environment was made from, not the environment's own link to it."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _find_uv() -> str:
    from uv import find_uv_bin

    return find_uv_bin()


def _pip_settings() -> dict[str, str]:
    """Translate pip's configuration, which uv does not read, unless uv has its own.

    Find-links, the index and the certificate bundle count: a company's mirror or a folder of
    wheels that serves pip must serve here too.
    """
    listed = subprocess.run(
        [_interpreter(), "-m", "pip", "config", "list"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    pip = {
        key.split(".", 1)[1]: value.strip("'\"")
        for key, _, value in (line.partition("=") for line in listed.splitlines())
        if "." in key
    }
    wanted = {
        "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS") or pip.get("find-links"),
        "UV_DEFAULT_INDEX": os.environ.get("PIP_INDEX_URL") or pip.get("index-url"),
        "SSL_CERT_FILE": os.environ.get("PIP_CERT") or pip.get("cert"),
    }
    return {key: value for key, value in wanted.items() if value and not os.environ.get(key)}
