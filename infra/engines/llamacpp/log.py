"""What the log of llama.cpp's server tells: its version, why it failed."""

from __future__ import annotations

import re
from pathlib import Path

from infra.machine.log_lines import strip_ansi

_HEAD = re.compile(r"^(?:[\d.]+ )?(?:([EWID]) )?")
"""What stands before a line: the time since the start, and its level."""

_VERSION = re.compile(r"^version: (.+)$", re.MULTILINE)
_CONSEQUENCE = re.compile(
    r"common_fit_params|failed to load model$|common_init_|load_model: failed|srv +init: exiting"
    r"|Failed to init server"
)


def version(text: str) -> str | None:
    """Return the version that our script prints first; none of another program."""
    found = _VERSION.search(text)
    return found[1] if found else None


def failure(text: str) -> str:
    """Return what the engine says of its failure: errors and lines without a level."""
    kept = []
    for line in strip_ansi(text).splitlines():
        head = _HEAD.match(line)
        level = head[1] if head else None
        if level in ("E", None):
            kept.append(line[head.end() :] if head else line)
    return "\n".join(kept)


def first_error(log: Path) -> str:
    """Return the error that is not a consequence of others."""
    text = failure(log.read_text(encoding="utf-8", errors="replace"))
    errors = [line for line in text.splitlines() if re.search(r"(?i)error|failed|abort", line)]
    causes = [line for line in errors if not _CONSEQUENCE.search(line)]
    return " ".join([*causes, *errors, ""][0].split())
