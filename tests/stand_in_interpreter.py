"""An interpreter with an engine that answers at once, for runs that are about all the rest."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

_ENGINE = Path(__file__).parent / "stand_in_engine.py"
_BENCH = Path(__file__).parent / "stand_in_bench.py"


def write(folder: Path, name: str = "python", *, burnt: bool = False) -> Path:
    """Write an interpreter into a folder and return its path.

    Args:
        folder: Where it goes.
        name: Its name there; another one is another engine.
        burnt: Its engine ends as soon as it is started.

    As long as there is a file with its name and `.held` beside it, its engine waits to start.
    """
    python, fuse = folder / name, folder / f"{name}.fuse"
    if burnt:
        fuse.write_text("burnt")
    engine = shlex.join([sys.executable, str(_ENGINE), "--fuse", str(fuse)])
    bench = shlex.join([sys.executable, str(_BENCH), "good", str(folder)])
    # Asked for its packages it says that it has the engine; else it times, or is the engine.
    installed = {"version": 1, "found": True, "python": "", "packages": [[name]], "unknown": []}
    line, held = shlex.quote(json.dumps(installed)), shlex.quote(f"{python}.held")
    python.write_text(
        f"""#!/bin/sh
case "$*" in
*/installed.py*) echo {line} ;;
*/bench_serve.py*) exec {bench} "$@" ;;
*) while [ -e {held} ]; do sleep 0.2; done; exec {engine} "$@" ;;
esac
"""
    )
    python.chmod(0o755)
    return python
