"""The checkpoints of a cache, looked at without the code that made them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoints:
    """Folders that a run takes for whole, and those that are being written."""

    folder: Path

    def made(self) -> dict[str, int]:
        """Name → when it was made."""
        return {path.name: (path / _MANIFEST).stat().st_ctime_ns for path in self._whole()}

    def digests(self) -> dict[str, str]:
        """Name → digest of its files."""
        return {path.name: str(_manifest(path)["digest"]) for path in self._whole()}

    def half(self) -> list[Path]:
        """What is being written, or was when its writer died."""
        return list(self.folder.glob(".*.partial"))

    def answered(self) -> list[Path]:
        """What is half-written though its quantizer came to its end."""
        return [path for path in self.half() if (path / ".response.json").exists()]

    def flaws(self) -> list[str]:
        """Return in what a folder that a run would take is not what its manifest says."""
        wrong = []
        for path in self._taken():
            try:
                said = {file["name"]: file["sha256"] for file in _manifest(path)["files"]}
            except (OSError, ValueError, KeyError) as error:
                wrong.append(f"{path.name}: {error}")
                continue
            there = {
                file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
                for file in path.rglob("*")
                if file.is_file() and file.name != _MANIFEST
            }
            if differ := sorted(name for name, _ in said.items() ^ there.items()):
                wrong.append(f"{path.name}: {', '.join(differ)} are not as its manifest says")
        return wrong

    def forget(self, methods: Set[str]) -> None:
        """Remove those that were made by some methods."""
        for path in self._whole():
            if _manifest(path)["made"]["recipe"]["method"] in methods:
                shutil.rmtree(path)

    def _taken(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*"))

    def _whole(self) -> list[Path]:
        return [path for path in self._taken() if (path / _MANIFEST).exists()]


def _manifest(path: Path) -> Any:
    return json.loads((path / _MANIFEST).read_text())
