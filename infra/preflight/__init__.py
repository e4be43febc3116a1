"""What a run needs, looked at before anything is downloaded and before an accelerator is taken.

Every check adds what it finds to one list, so that the user sees all problems at once.
"""

from __future__ import annotations

from infra.contracts.errors import PreflightError
from infra.preflight.findings import Finding, problems, table
from infra.preflight.handover import found_before, handed_over
from infra.preflight.survey import survey

__all__ = ["Finding", "found_before", "handed_over", "problems", "refuse", "survey", "table"]


def refuse(findings: list[Finding]) -> None:
    """Do nothing if nothing is missing.

    Raises:
        PreflightError: Something is. The message numbers every problem with its remedy.
    """
    if missing := problems(findings):
        downloaded = any(finding.downloaded for finding in findings)
        raise PreflightError.of(missing, downloaded=downloaded)
