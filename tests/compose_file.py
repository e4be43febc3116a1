"""The Compose file, with its variables filled in as `docker compose config` does it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent.parent / "infra" / "compose" / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def composed(**variables: str) -> dict[str, Any]:
    """Return what Compose sees.

    Args:
        variables: What stands in its environment.
    """
    text = _VARIABLE.sub(
        lambda found: variables.get(found[1]) or found[2], FILE.read_text(encoding="utf-8")
    )
    whole: dict[str, Any] = yaml.safe_load(text)
    return whole
