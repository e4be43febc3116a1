"""Carries out the Dockerfile without Docker: each step in a bare root folder, then looks at it.

    python -m tests.dockerfile_in_a_folder FOLDER [--arg ENVIRONMENTS=vllm-cpu]

In place of the base image stands a minimal Debian 12 with its own Python 3.11, which debootstrap
makes. FOLDER/image is the image; `python -m tests.composed_server --image FOLDER/image` starts what
Compose starts from it. For root, with debootstrap installed.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests import bare_container
from tests.dockerfile import FILE, Instruction, Stage, expanded, stages

ROOT = Path(__file__).parent.parent
_BASE = "python3,python3-pip,python3-venv,ca-certificates"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Build:
    """The stages as they are made, one folder each."""

    def __init__(self, folder: Path, arguments: dict[str, str]) -> None:
        self.folder = folder
        self.arguments = arguments
        self.user, self.place = "0", "/"
        self.variables: dict[str, str] = {}
        self.made: dict[str, Path] = {}

    def stage(self, stage: Stage, root: Path) -> None:
        """Carry out a stage."""
        subprocess.run(["cp", "-a", self.folder / "base", root], check=True)
        self.made[stage.name] = root
        self.user, self.place, self.variables = "0", "/", {"PATH": _PATH, "HOME": "/root"}
        for one in stage.instructions:
            started = time.monotonic()
            self.carry_out(one, root)
            seconds = time.monotonic() - started
            if one.name in ("RUN", "COPY"):
                print(f"{seconds:5.0f} s  {_megabytes(root):5.0f} MB  {one.name} {one.rest[:70]}")

    def carry_out(self, one: Instruction, root: Path) -> None:
        """Carry out one instruction."""
        if one.name == "ARG":
            name, _, value = one.rest.partition("=")
            self.variables[name] = self.arguments.get(name, value.strip('"'))
        elif one.name == "ENV":
            for name, value in Stage("", "", [one]).environment().items():
                self.variables[name] = expanded(value, self.variables)
        elif one.name == "WORKDIR":
            self.place = one.rest
            (root / one.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif one.name == "USER":
            self.user = one.rest
        elif one.name == "COPY":
            self._copy(one, root)
        elif one.name == "RUN":
            self.run(root, ["sh", "-c", one.rest])
        else:
            assert one.name in ("ENTRYPOINT", "CMD"), one

    def run(self, root: Path, words: list[str], *, read_only: bool = False) -> str:
        """Run a command in there, as the image's user, with its variables; return what it says."""
        done = subprocess.run(
            bare_container.command(
                root, words, user=self.user, folder=self.place,
                variables=self.variables | ({} if read_only else _of_the_machine()),
                binds={} if read_only else _files_of_the_machine(),
                tmpfs=["/tmp"] if read_only else [], read_only=read_only,
            ),
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def _copy(self, one: Instruction, root: Path) -> None:
        *sources, target = one.rest.split()
        place = root / self.place.lstrip("/") / target
        for option in one.options:
            (source,) = sources
            stage = self.made[option.removeprefix("--from=")]
            shutil.copytree(stage / source.lstrip("/"), place, symlinks=True)
        if one.options:
            return
        for name in _context():
            for source in sources:
                if source == ".":
                    there = place / name
                elif name == source:  # a file, into a folder
                    there = place / Path(name).name
                elif name.startswith(f"{source}/"):
                    there = place / Path(name).relative_to(source)
                else:
                    continue
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, there)


def _context() -> list[str]:
    """Return the files that Docker would be given: those of the project that are not ignored."""
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines()
    ignored = [
        line.removeprefix("**/")
        for line in FILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return [
        name
        for name in listed
        if (ROOT / name).is_file()
        and not any(fnmatch.fnmatch(part, one) for part in Path(name).parts for one in ignored)
    ]


def _of_the_machine() -> dict[str, str]:
    """How this machine reaches its package index: what `docker build` is told in its own ways."""
    kept = ("PIP_*", "UV_*", "SSL_*", "*_proxy", "*_PROXY")
    return {
        name: value
        for name, value in os.environ.items()
        if any(fnmatch.fnmatch(name, one) for one in kept) and name != "UV_CACHE_DIR"
    }


def _files_of_the_machine() -> dict[str, Path]:
    found = [Path("/etc/resolv.conf"), Path("/etc/ssl/certs"), Path("/etc/pip.conf")]
    found += [Path(value) for value in _of_the_machine().values() if value.startswith("/opt/")]
    return {str(path): path for path in found if path.exists()}


def _megabytes(folder: Path) -> float:
    return int(subprocess.check_output(["du", "-sm", folder], text=True).split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "base"
    if not base.exists():
        started = time.monotonic()
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_BASE}", "bookworm", base],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        print(f"{time.monotonic() - started:5.0f} s  {_megabytes(base):5.0f} MB  base")
    build = Build(folder, dict(one.split("=", 1) for one in given.arg))
    *_, last = found = stages()
    for stage in found:
        root = folder / (stage.name or "image")
        shutil.rmtree(root, ignore_errors=True)
        build.stage(stage, root)
    image = folder / "image"
    entry = last.words("ENTRYPOINT")
    build.variables["HF_HUB_OFFLINE"] = "1"
    for words in (
        last.words("CMD"),
        ["id"],
        ["python", "-m", "deployments", "show", "sample"],
        ["gcc", "--version"],
    ):
        said = build.run(image, [*entry, *words], read_only=True)
        print(f"$ {' '.join(words)}\n{said[:200].strip()}")
    inside = [*entry, "sh", "-c", "! touch /assay/x && ! touch /var/lib/assay/cache/x"]
    build.run(image, inside, read_only=True)
    print("nothing can be written")


if __name__ == "__main__":
    main()
