"""With what the command line ends: the one place where that is written down.

0   PASS; any verdict that gates nothing; whatever else was asked for is done
1   it failed on its way, or a report does not hold what it says
2   it cannot work, and nothing was spent
3   FAIL
4   INCONCLUSIVE
"""

from __future__ import annotations

from typing import Literal

DONE, FAILED, BAD_INPUT = 0, 1, 2

Status = Literal["PASS", "FAIL", "INCONCLUSIVE"]

OF_VERDICT: dict[Status, int] = {"PASS": DONE, "FAIL": 3, "INCONCLUSIVE": 4}
"""Of verdicts that gate."""


def of_verdict(status: Status | None, gate: str) -> int:
    """Return with what a judged run ends.

    Args:
        status: Its verdict; none if there was nothing to judge.
        gate: `VerdictSpec.gate`.
    """
    return DONE if status is None or gate == "none" else OF_VERDICT[status]
