"""A program of the user's own that runs in place of an environment: what it is."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from infra.contracts.errors import EnvironmentBuildError
from infra.contracts.records import PythonEnvironment
from infra.store.content import digest_file, digest_of

_LOOK_SECONDS = 60.0
_ELF = b"\x7fELF"
_LIBRARIES = ("lib", "lib64", "lib/*-linux-gnu")
"""Where a program's own libraries lie besides its folder, from the one above it."""


def provided(name: str, program: Path, variable: str) -> PythonEnvironment:
    """Return a program by its content, which a variable or a field names.

    Its digest is of the file, of the libraries that lie with it, and of the version that it tells;
    libraries of the machine are not looked at.

    Args:
        name: The environment that it stands for.
        program: The file.
        variable: What names it.

    Raises:
        EnvironmentBuildError: It does not run.
    """
    try:
        told = subprocess.run(
            [str(program), "--version"],
            capture_output=True, text=True, timeout=_LOOK_SECONDS, check=True,
        )  # fmt: skip
        files = [program, *_libraries(program.resolve().parent)]
        binary = program.read_bytes()[:4] == _ELF
        contents = [[file.name, digest_file(file).sha256] for file in files]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or "").strip()[-300:]
        raise EnvironmentBuildError(
            f"{variable}={program} does not run.",
            cause=said or type(error).__name__,
            remedy=f"Point {variable} at a {program.name} that answers to `--version`, or leave "
            "it out to let Assay build its own.",
        ) from error
    return PythonEnvironment(
        name=name,
        python=program.absolute(),
        # What a script starts is not looked at: it is what it is now and never again.
        digest=digest_of([contents, told.stdout, told.stderr, *([] if binary else [_nonce()])]),
        provided=True,
    )


def _nonce() -> str:
    return secrets.token_hex()


def _libraries(folder: Path) -> list[Path]:
    beside = (place for name in _LIBRARIES for place in sorted(folder.parent.glob(name)))
    places = dict.fromkeys(place.resolve() for place in (folder, *beside))
    found = (file for place in places for file in sorted(place.glob("*.so*")))
    return [file for file in found if file.is_file()]
