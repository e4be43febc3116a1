"""Checks of what is elsewhere: hubs, and how far the clock is from theirs."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from functools import partial

import httpx

from infra.contracts.errors import AssayError
from infra.housekeeping.doctor.looking import Check
from infra.models.hubs.hub import Source, connect, site
from infra.preflight.findings import Finding

SECONDS = 5.0
"""Patience with each of them."""

_CLOCK_SECONDS = 60.0
"""What a clock may be off: certificates and schedules bear that."""


def checks() -> list[Check]:
    """Return all of them."""
    sources: tuple[Source, ...] = ("huggingface", "modelscope")
    return [Check(source, partial(hub, source)) for source in sources]


def hub(source: Source) -> Finding | str:
    """Say whether a hub answers; who works with folders alone needs none.

    Raises:
        AssayError: The clock is far from the hub's.
    """
    there = connect(source)
    shown = site(there)
    try:
        started = time.time()
        answer = httpx.head(there.endpoint, timeout=SECONDS, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        variable = "HF_ENDPOINT" if source == "huggingface" else "MODELSCOPE_ENDPOINT"
        return Finding(
            name=source, status="note", found=f"{shown} does not answer ({type(error).__name__})",
            remedy=f"Needed only for models and rows that are not here: look at the network, or "
            f"set {variable} to a mirror.",
        )  # fmt: skip
    text = f"{shown} answers HTTP {answer.status_code} in {time.time() - started:.1f} s"
    return text + clock_beside(answer, started)


def clock_beside(answer: httpx.Response, asked: float) -> str:
    """Return how far this machine's clock is from that of who answered; empty if nobody can tell.

    Args:
        answer: Whose `Date` is looked at.
        asked: When it was asked for, in seconds since the epoch.

    Raises:
        AssayError: It is so far off that schedules and certificates suffer.
    """
    try:
        there = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return ""
    # A Date has whole seconds, and was written between question and answer.
    off = (asked + time.time()) / 2 - (there + 0.5)
    if abs(off) > _CLOCK_SECONDS:
        raise AssayError(
            f"This machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} that "
            f"of {answer.url.host}.",
            cause="Nobody sets it, or that machine's.",
            remedy="Let the clock be set by the network (`timedatectl set-ntp true`).",
        )
    return f", clocks {abs(off):.0f} s apart"
