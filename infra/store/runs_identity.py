"""Which folder of runs one is, by whatever path it is reached.

Machines and containers that share a store may each have runs of their own at the same path, or the
same runs at several. So a folder of runs holds a file with a random identity, written when the
first run begins in it.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

FILE = ".assay-runs.json"


def identify(folder: Path) -> None:
    """Give a folder of runs an identity, unless it has one; it is made if it is not there.

    Raises:
        OSError: It cannot be written.
    """
    file = folder / FILE
    if file.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    written = file.with_name(f"{FILE}.{secrets.token_hex(8)}.partial")
    try:
        written.write_text(json.dumps({"id": secrets.token_hex(16)}) + "\n", encoding="utf-8")
        try:
            # Never over another's: of two runs that begin together, both are of the first one's.
            os.link(written, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without such links
            written.replace(file)
    finally:
        written.unlink(missing_ok=True)


def identity_of(folder: Path) -> str:
    """Return the identity of a folder of runs; empty if it has none, or cannot be seen."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / FILE).read_text(encoding="utf-8"))["id"])
    return ""
