"""Everything below flows, tasks and commands."""

import os
import time
from collections.abc import Iterator

BEGAN_NS = time.time_ns()
"""When this process began to load this package, before any module of it."""

ENVIRONMENT = dict(os.environ)
"""Its variables at that time. Libraries that are imported later, and tasks' own code, set some for
themselves: what is started here must not get those, since one arm would and the other would not."""


def _looked_at() -> Iterator[tuple[str, os.stat_result]]:
    here = os.path.dirname(__file__)  # noqa: PTH120 -- pathlib takes three times as long
    for folder, _, names in os.walk(here):
        for name in names:
            if name.endswith(".py"):
                path = f"{folder}/{name}"
                yield path.removeprefix(f"{here}/"), os.stat(path)  # noqa: PTH116


CODE = dict(_looked_at())
"""How the code lay there at that time, by its place below this folder: `infra.store.content` tells
by it whether what is there now is what was loaded."""
