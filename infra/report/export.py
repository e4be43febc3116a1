"""A finished run in the forms that other people's pipelines read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from infra.contracts.errors import ReceiptError
from infra.contracts.records import EndpointReport, Report
from infra.contracts.records.verdict_file import VerdictFile
from infra.judging.endpoint import is_of_endpoint
from infra.report import endpoint, receipt, verdict_file
from infra.report.job_summary import job_summary
from infra.report.junit import junit

Format = Literal["verdict", "junit", "summary"]

FORMATS: dict[Format, Callable[[VerdictFile], str]] = {
    "verdict": lambda document: document.model_dump_json(indent=2) + "\n",
    "junit": junit,
    "summary": job_summary,
}


def document_of(path: Path) -> VerdictFile:
    """Return what came out of a finished run.

    Args:
        path: The run's `report.json`, or its folder.

    Raises:
        ReceiptError: There is no report with a receipt; or it, or one of its files, is not what was
            sealed: a pipeline must not act on that.
    """
    path = path / "report.json" if path.is_dir() else path
    found = receipt.require_untouched(path)
    page = path.with_name("report.html")
    shown = page if page.is_file() else None
    try:
        if is_of_endpoint(found):
            report = EndpointReport.model_validate(found)
            return verdict_file.of_endpoint(report, endpoint.headline(report), shown)
        return verdict_file.of_run(Report.model_validate(found), shown)
    except ValidationError as error:
        raise ReceiptError(
            f"{path} does not read as a report of this version.",
            cause=f"{receipt.problems(error)[0]}.",
            remedy="Use the version of Assay that wrote it, or run the recipe again.",
        ) from error
