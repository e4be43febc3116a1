"""The tokenizer in a model folder, as transformers has it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

_IMPORTING = threading.Lock()
"""transformers fails if two threads import a name of it for the first time at once."""


def load(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return what `AutoTokenizer` makes of a model folder.

    Args:
        folder: The model.
        trust_remote_code: Allow a tokenizer that is code of the repository.

    Raises:
        Exception: It cannot be loaded; the tokenizers library raises that and nothing better.
    """
    with _IMPORTING:
        from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=trust_remote_code
    )
