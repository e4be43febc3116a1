"""Data of NLTK that the code of a task fetches while it is loaded.

Where that fails, NLTK prints a line and goes on; what lacks the data fails when answers are marked,
after all of them were paid for. What code says it fetches can be read in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def absent(code: Iterable[Path]) -> list[str]:
    """Return the names of what code fetches and this machine lacks.

    Args:
        code: Files of Python code.
    """
    named = {name for file in code for name in _fetched(file)}
    return sorted(name for name in named if not _is_here(name))


def _fetched(file: Path) -> Iterator[str]:
    """Yield the names in `nltk.download("a")`."""
    content = file.read_bytes()
    if b"nltk" not in content:
        return
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return  # loading it will say so
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    for call in calls:
        name = call.args[0]
        if ast.unparse(call.func) == "nltk.download" and isinstance(name, ast.Constant):
            yield str(name.value)


def _is_here(name: str) -> bool:
    import nltk.data

    # Each kind of data has a folder of its own, and each of them a folder or an archive in it.
    return any(
        any(Path(place).glob(f"*/{name}{end}")) for place in nltk.data.path for end in ("", ".zip")
    )
