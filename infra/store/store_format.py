"""In which form the store is kept: one number, in `.assay-store.json` at its top.

0  no such file: what a run used was written down nowhere
1  every process writes down in `uses/` what it uses; see `infra.store.usage`

A store of an earlier form is brought to this one when a run begins; of a later one nobody here
knows what its files mean.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from infra.contracts.errors import StoreError
from infra.store.content import write_atomically
from infra.store.usage import MARKER

FORMAT = 1


def require_known(cache: Path) -> int:
    """Return the form of a store, 0 if nothing says.

    Raises:
        StoreError: It is of a later version, or its file is damaged.
    """
    file = cache / MARKER
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["format"]
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{file} does not say in which form the store is kept.",
            cause=f"It cannot be read: {type(error).__name__}.",
            remedy=f'Write {{"format": {FORMAT}}} into it if no later version of Assay used it, '
            "or point ASSAY_CACHE to another folder.",
        ) from error
    if not isinstance(found, int) or found > FORMAT:
        raise StoreError(
            f"The store in {cache} is kept in form {found}; this version knows up to {FORMAT}.",
            cause="A later version of Assay has used it.",
            remedy="Update this checkout, or point ASSAY_CACHE to another folder.",
        )
    return found


def begin(cache: Path) -> None:
    """Bring a store to this version's form, and begin one where there is none.

    Where it cannot be written it stays as it is: whoever needs to write says so.

    Raises:
        StoreError: It is of a later version.
    """
    if require_known(cache) < FORMAT:
        # From 0: what is there stays where it is, and is found as before.
        with suppress(OSError):
            write_atomically(cache / MARKER, json.dumps({"format": FORMAT}) + "\n")
