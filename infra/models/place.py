"""Where the files of a model are: for what is said about them, and what can be done there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from infra.contracts.errors import CorruptWeights
from infra.contracts.specs import ModelSpec
from infra.models import lfs

Read = Callable[[str], bytes | None]
"""Returns the content of a small file by its name, or nothing if that cannot be had (yet)."""


@dataclass(frozen=True)
class Place:
    """A folder of the user's, or a repository on a hub."""

    what: str
    """For messages."""

    read: Read
    folder: Path | None = None
    """None for a hub, also where what came from there is read in a folder of ours."""

    download: str = ""
    """Command that brings the hub's repository into a folder, and goes there."""

    afterwards: str = "."
    """Ends a sentence with such a command; says what has to be set then."""

    @property
    def again(self) -> str:
        """Return what helps where a file is not what it should be."""
        if self.folder is None:
            return "Set model.id or model.revision to another state of it, or tell its owner."
        return "Copy or download the file again."

    def command(self, text: str) -> str:
        """Return a command of the shell that does something to the model's files, in backticks."""
        go = self.download if self.folder is None else f"cd {shlex.quote(str(self.folder))}"
        return f"`{go} && {text}`"

    def of(self, name: str) -> str:
        """Return a file's name for messages."""
        return f"{name} of {self.what}" if self.folder is None else str(self.folder / name)

    def read_object(self, name: str) -> dict[str, Any] | None:
        """Return a JSON object of the model, or nothing if it cannot be had yet.

        Raises:
            CorruptWeights: It is a pointer, no JSON or no object.
        """
        content = self.read(name)
        if content is None:
            return None
        self.check_content(name, content)
        try:
            found = json.loads(content.decode("utf-8"))
        except ValueError as error:
            self.broken(name, f"is not JSON: {error}", begins(content))
        if not isinstance(found, dict):
            self.broken(name, "is no JSON object")
        return found

    def check_content(self, name: str, content: bytes) -> None:
        """Refuse a file that only stands for another.

        Raises:
            CorruptWeights: It does.
        """
        if self.folder is not None:
            lfs.check(self.folder / name, CorruptWeights)
        elif program := lfs.program_of(content):
            self.broken(name, f"is a pointer of {program} there, and not the file itself")

    def lacks(self, name: str) -> NoReturn:
        """Refuse a model without a file that every model has."""
        raise CorruptWeights(
            f"{self.what} has no {name}.",
            cause="It is no model in the Transformers layout, or not a whole one.",
            remedy=f"Set model.id to another repository, or to a folder that holds {name}, the "
            "tokenizer and the weights, with model.source=local."
            if self.folder is None
            else "Name the folder that holds config.json, the tokenizer and the weights.",
        )

    def broken(self, name: str, fact: str, cause: str = "") -> NoReturn:
        """Refuse a file that is not what its name says."""
        raise CorruptWeights(
            f"{self.of(name)} {fact}.",
            cause=cause,
            remedy=self.again,
        )


def in_folder(folder: Path, what: str | None = None) -> Place:
    """Return the place of a model in a folder of the user's."""
    return Place(what or str(folder), _reader(folder), folder)


def on_hub(spec: ModelSpec, read: Read | Path | None) -> Place:
    """Return the place of a model on a hub.

    Args:
        spec: Which model.
        read: Reads its small files, or the folder where they are; none if they cannot be read yet.
    """
    name = spec.id.rpartition("/")[2]
    program = "hf" if spec.source == "huggingface" else "modelscope"
    revision = f" --revision {shlex.quote(spec.revision)}" if spec.revision else ""
    unset = " and model.revision=null" if spec.revision else ""
    return Place(
        f"model {spec.id}",
        _reader(read) if isinstance(read, Path) else read or (lambda name: None),
        download=f"{program} download {shlex.quote(spec.id)}{revision} --local-dir {name} "
        f"&& cd {name}",
        afterwards=f". Then set model.source=local, model.id={name}{unset}.",
    )


def begins(content: bytes) -> str:
    """Say what stands at the beginning of a file: that is how a page in its place is seen."""
    text = content[:40].decode("utf-8", "replace").strip().partition("\n")[0]
    return f"It begins with {text!r}." if text else "It is empty."


def beginning(path: Path, count: int = -1) -> bytes:
    """Return the first bytes of a file of a model, or all of them.

    Raises:
        CorruptWeights: It is a link that leads nowhere.
    """
    if path.is_symlink() and not path.exists():
        lfs.check(path, CorruptWeights)
        raise CorruptWeights(
            f"{path} is a link to {path.readlink()}, which is not there.",
            remedy="Restore what it links to, or put the file itself in its place.",
        )
    with path.open("rb") as stream:
        return stream.read(count)


def _reader(folder: Path) -> Read:
    def read(name: str) -> bytes | None:
        path = folder / name
        return beginning(path) if path.is_file() or path.is_symlink() else None

    return read
