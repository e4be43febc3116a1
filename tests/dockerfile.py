"""A Dockerfile, read: enough of the language for ours, and no more."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).parent.parent / "infra" / "image" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, its options, the rest."""

    name: str
    options: tuple[str, ...]
    rest: str


@dataclass
class Stage:
    """One FROM with what follows, up to the next."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """Return its ENV as written: `$PATH` stays."""
        pairs = [
            word.partition("=")
            for one in self.instructions
            if one.name == "ENV"
            for word in shlex.split(one.rest)
        ]
        return {name: value for name, _, value in pairs}

    def words(self, name: str) -> list[str]:
        """Return the words of its only ENTRYPOINT or CMD, which is a JSON array."""
        (one,) = [one for one in self.instructions if one.name == name]
        words: list[str] = json.loads(one.rest)
        return words


def stages(path: Path = FILE) -> list[Stage]:
    found: list[Stage] = []
    defaults: dict[str, str] = {}
    for one in _instructions(path.read_text(encoding="utf-8")):
        if one.name == "FROM":
            base, _, name = one.rest.partition(" AS ")
            found.append(Stage(expanded(base, defaults), name))
        elif found:
            found[-1].instructions.append(one)
        else:
            assert one.name == "ARG", one
            name, _, value = one.rest.partition("=")
            defaults[name] = value
    return found


def expanded(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], text)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        words = rest.strip()
        options = []
        while words.startswith("--"):
            option, _, words = words.partition(" ")
            options.append(option)
            words = words.lstrip()
        yield Instruction(name, tuple(options), words)
