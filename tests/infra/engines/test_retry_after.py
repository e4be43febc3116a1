"""How long a server asks to wait, in both forms that the header has."""

from __future__ import annotations

import pytest

from infra.engines.retry_after import seconds

NOW = 1_792_567_680.0  # Wed, 21 Oct 2026 07:28:00 GMT


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, 0), ("", 0), ("0", 0), ("7", 7), ("0.5", 0.5), ("-3", 0), ("nan", 0), ("inf", 0),
        ("9000", 9000), ("Wed, 21 Oct 2026 07:28:30 GMT", 30), ("soon", 0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0), ("Wed, 99 Oct 2026 07:27:00 GMT", 0),
    ],
)  # fmt: skip
def test_seconds_and_dates(header: str | None, expected: float) -> None:
    assert seconds(header, now=NOW) == expected
