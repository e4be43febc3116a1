"""Which files of a model's folder are its tokenizer's own code: what is loaded, and its helpers."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

_USUAL = "tokenization*.py"
_CONFIGS = ("tokenizer_config.json", "config.json")
"""Files that say in `auto_map` which class of which file the tokenizer is."""


def code(folder: Path) -> set[Path]:
    """Return the files of the tokenizer's code, with all that they import from the folder.

    Args:
        folder: The model.
    """
    found: set[Path] = set()
    left = [*folder.glob(_USUAL), *_named(folder)]
    while left:
        file = left.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        left += _imported(file, folder)
    return found


def _named(folder: Path) -> Iterator[Path]:
    for name in _CONFIGS:
        try:
            config = json.loads((folder / name).read_text(encoding="utf-8"))
            classes = config.get("auto_map", {}).get("AutoTokenizer")
        except (OSError, ValueError, AttributeError):
            continue  # whoever loads it says so
        for one in classes if isinstance(classes, list) else [classes]:
            if isinstance(one, str):  # `owner/name--file.Class` is of another repository
                yield folder / f"{one.rpartition('--')[2].partition('.')[0]}.py"


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files that may be meant by what a file imports relatively, wherever in it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        yield from folder.rglob("*.py")  # nobody knows what it imports
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from _modules(file, node)


def _modules(file: Path, node: ast.ImportFrom) -> Iterator[Path]:
    place = file.parents[node.level - 1] if node.level <= len(file.parents) else file.parent
    below = place.joinpath(*(node.module or "").split("."))
    for module in (below, *(below / name.name for name in node.names)):
        yield module.with_name(f"{module.name}.py")
        yield module / "__init__.py"
