"""Checks side by side, none of which keeps the others waiting."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.contracts.errors import AssayError
from infra.contracts.progress import Progress
from infra.preflight.findings import Finding, named, note, problem

SECONDS = 12.0
"""All checks together."""

_NEWS_SECONDS = 3.0


@dataclass(frozen=True)
class Check:
    """One thing to look at."""

    name: str
    look: Callable[[], Finding | str | list[Finding]]
    """Returns findings, or a good fact; or raises what is wrong."""

    may_be_slow: bool = False
    """Whether it is no problem when it does not end in time."""


def looked_at(
    checks: Sequence[Check], progress: Progress, *, seconds: float = SECONDS
) -> list[Finding]:
    """Return what all checks find, in their order.

    Args:
        checks: What to look at.
        progress: Hears for what is still waited.
        seconds: How long to wait. What has not answered by then is a problem, and is left behind.
    """
    found: queue.Queue[tuple[str, list[Finding]]] = queue.Queue()
    for check in checks:
        # Not a pool: its threads would have to end before this process may.
        threading.Thread(target=_look, args=(check, found), daemon=True).start()
    results: dict[str, list[Finding]] = {}
    started = told = time.monotonic()
    while len(results) < len(checks):
        left = started + seconds - time.monotonic()
        if left <= 0:
            break
        try:
            name, findings = found.get(timeout=min(left, _NEWS_SECONDS))
            results[name] = findings
        except queue.Empty:
            pass
        if time.monotonic() - told >= _NEWS_SECONDS:
            told = time.monotonic()
            waiting = ", ".join(check.name for check in checks if check.name not in results)
            progress.say(f"{len(results)} of {len(checks)} looked at; waiting for {waiting}")
    return [
        finding
        for check in checks
        for finding in results.get(check.name, [_too_late(check, seconds)])
    ]


def _look(check: Check, found: queue.Queue[tuple[str, list[Finding]]]) -> None:
    try:
        said = check.look()
        findings = said if isinstance(said, list) else [named(check.name, "", said)]
    except AssayError as error:
        findings = [problem(check.name, error)]
    except Exception as error:  # one check that fails must not cost the others
        findings = [problem(check.name, _failed(error))]
    found.put((check.name, findings))


def _failed(error: Exception) -> AssayError:
    return AssayError(
        f"It could not be looked at: {type(error).__name__}: {str(error)[:200]}",
        remedy="Look at it by hand; the other lines hold all the same.",
    )


def _too_late(check: Check, seconds: float) -> Finding:
    if check.may_be_slow:
        return note(check.name, f"it takes longer than {seconds:g} seconds to find out")
    return problem(
        check.name,
        AssayError(
            f"No answer within {seconds:g} seconds.",
            cause="Something hangs: a driver, a network disk, a server.",
            remedy="Look at it by hand; the other lines hold all the same.",
        ),
    )
