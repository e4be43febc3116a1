"""Where temporary folders lie that other users have to reach."""

from __future__ import annotations

import tempfile
from pathlib import Path


def of_everybody() -> Path:
    """Return a folder for temporary ones that every user may enter; one's own may be private."""
    own = Path(tempfile.gettempdir())
    for folder in (own, Path("/tmp"), Path("/var/tmp")):
        if all(
            each.stat().st_mode & 0o001 for each in (folder.resolve(), *folder.resolve().parents)
        ):
            return folder
    return own
