"""How long a server asks to wait before it is asked again."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime


def seconds(header: str | None, *, now: float | None = None) -> float:
    """Return the seconds that a `Retry-After` header asks for; 0 where it asks for none.

    Args:
        header: A number of seconds, or a date (RFC 9110, 10.2.3).
        now: Seconds since 1970; by default this moment.
    """
    if not header:
        return 0.0
    try:
        value = float(header)
        return value if math.isfinite(value) and value > 0 else 0.0
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, until - (time.time() if now is None else now))
