"""What code of the user's own reads besides what stands beside it: files, and variables.

Nobody can tell all of it without running the code. What the code spells out can be found.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_LONGEST = 512


def of(code: Iterable[Path], folders: Sequence[Path]) -> tuple[list[Path], list[list[str | None]]]:
    """Return the files that are there of those that code names, and the variables with values.

    A relative name is sought in the current folder, in the code's own, and in those above it that
    are the user's.

    Args:
        code: Files of Python code.
        folders: The user's folders of definitions.
    """
    files: dict[Path, None] = {}
    variables: set[str] = set()
    for file in code:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # loading it will say so
        above = [one for one in file.parents if any(one.is_relative_to(own) for own in folders)]
        places = [Path.cwd(), file.parent, *above]
        for text in _texts(tree):
            files |= dict.fromkeys(_named(text, places))
        variables |= set(_variables(tree))
    return sorted(files), [[name, os.environ.get(name)] for name in sorted(variables)]


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if 0 < len(text) <= _LONGEST and text.isprintable():
                yield text


def _named(text: str, places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        try:
            path = place / Path(text).expanduser()
            if path.is_file() and path.suffix != ".log" and not path.is_relative_to("/proc"):
                yield path.resolve()
        except (OSError, ValueError, RuntimeError):
            continue


def _variables(tree: ast.AST) -> Iterator[str]:
    """Yield the names in `os.environ["A"]`, `os.environ.get("A")`, `os.getenv("A")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_environ(node.value):
            name: ast.expr | None = node.slice
        elif isinstance(node, ast.Call) and node.args and _reads_variable(node.func):
            name = node.args[0]
        else:
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def _reads_variable(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "getenv"
    if not isinstance(function, ast.Attribute):
        return False
    return function.attr == "getenv" or _is_environ(function.value)


def _is_environ(value: ast.expr) -> bool:
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return name == "environ"
