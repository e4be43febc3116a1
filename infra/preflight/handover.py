"""What the command line found is not looked for again by the flow that it starts.

Both run in one process, moments apart: before Prefect is started, so that bad input costs seconds,
and as the first task of the flow, which is all that a deployment has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from infra.preflight.findings import Finding

VALID_SECONDS = 120.0
"""Prefect starts its server in less; a disk fills and a port is lost in more."""


@dataclass(frozen=True)
class _Found:
    findings: tuple[Finding, ...]
    content: object
    at: float


_found: ContextVar[_Found | None] = ContextVar("found", default=None)


@contextmanager
def handed_over(findings: list[Finding], content: object) -> Iterator[None]:
    """Hand what a survey found to what is called in the block, and to nobody else.

    Args:
        findings: What was found.
        content: What the survey was made of: it counts for nothing else.
    """
    token = _found.set(_Found(tuple(findings), content, time.monotonic()))
    try:
        yield
    finally:
        _found.reset(token)


def found_before(content: Callable[[], object]) -> list[Finding] | None:
    """Return what was handed over of the same content; none if nothing was, or it is old.

    Args:
        content: Tells what would be surveyed now; not called where nothing was handed over.
    """
    found = _found.get()
    if found is None or time.monotonic() - found.at > VALID_SECONDS:
        return None
    return list(found.findings) if found.content == content() else None
