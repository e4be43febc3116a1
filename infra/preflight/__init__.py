"""What a run needs, looked at before anything is downloaded and before an accelerator is taken.

Every check adds what it finds to one list, so that the user sees all problems at once.
"""

from __future__ import annotations

from infra.contracts.errors import PreflightError
from infra.contracts.progress import Progress
from infra.contracts.specs import RunSpec
from infra.preflight.findings import Finding, problems, table
from infra.preflight.survey import survey
from infra.store.settings import Settings

__all__ = ["Finding", "check", "problems", "refuse", "survey", "table"]


def check(spec: RunSpec, *, settings: Settings, progress: Progress) -> None:
    """Check everything the run needs.

    Raises:
        PreflightError: Something is missing. The message numbers every problem with its remedy.
    """
    refuse(survey(spec, settings=settings, progress=progress, fetch_rows=True))


def refuse(findings: list[Finding]) -> None:
    """Do nothing if nothing is missing.

    Raises:
        PreflightError: Something is. The message numbers every problem with its remedy.
    """
    if missing := problems(findings):
        downloaded = any(finding.downloaded for finding in findings)
        raise PreflightError.of(missing, downloaded=downloaded)
