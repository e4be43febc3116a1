from __future__ import annotations

import pytest

from infra.machine import processes


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill what does not end by itself as in life, but after an eighth of the time."""
    monkeypatch.setattr(processes, "GRACE_SECONDS", 1.0)
