"""All checks of a receipt, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from infra.contracts.errors import ReceiptError
from infra.contracts.records import EndpointReport, Report
from infra.contracts.specs import BASELINE
from infra.judging.endpoint import is_of_endpoint
from infra.report.receipt.checks import Checked, checked
from infra.report.receipt.contents import check_files, check_rows, check_seal, check_values
from infra.report.receipt.sealing import NAME, Document, load


def verify(path: Path, *, seal: str | None = None, weights: bool = False) -> tuple[Checked, ...]:
    """Return what every check of a report says; it holds if none has found anything wrong.

    Args:
        path: A run's `report.json`, or the run's folder.
        seal: The seal as it was kept elsewhere, or its beginning; none if it was not.
        weights: Read the checkpoints' files too, instead of comparing their sizes.

    Raises:
        ReceiptError: There is nothing to check: no report, or none with a receipt.
    """
    path = path / NAME if path.is_dir() else path
    document, folder = load(path), path.parent
    kept = (
        check_seal(document, seal),
        check_values(document),
        check_files(document, folder),
        check_rows(document, folder),
    )
    return (*kept, *_remade(document, folder, weights=weights))


def require_as_sealed(folder: Path) -> None:
    """Refuse a finished run of which a score or a row is not what was sealed.

    Raises:
        ReceiptError: It names the first that is not, or there is no receipt.
    """
    document = load(folder / NAME)
    checks = (check_seal(document, None), check_rows(document, folder))
    if wrong := [text for check in checks for text in check.wrong]:
        raise ReceiptError(
            f"The run in {folder} is not what it was: {wrong[0]}.",
            cause="Its report, or one of its files, was changed after it was sealed.",
            remedy="Evaluate it again, or name another run.",
        )


def require_untouched(path: Path) -> Document:
    """Return a written report of which every value, row and file is as it was sealed.

    It is only held against its own receipt, which takes no time; `verify` computes it again.

    Args:
        path: A run's `report.json`.

    Raises:
        ReceiptError: Something was changed since, and it says what; or there is no receipt.
    """
    document, folder = load(path), path.parent
    checks = (
        check_seal(document, None),
        check_values(document),
        check_files(document, folder),
        check_rows(document, folder),
    )
    if wrong := [text for check in checks for text in check.wrong]:
        raise ReceiptError(
            f"{path} does not hold what its receipt says: {wrong[0]}.",
            cause="The report, or one of its files, was changed after it was sealed.",
            remedy="`make verify` names all that was changed. Run the recipe again; what has not "
            "changed is not paid for again.",
        )
    return document


def problems(error: ValidationError) -> list[str]:
    """Return what is wrong with a document, each with its place."""
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]


def _unaccounted(report: Report) -> Iterator[str]:
    """Return which arms and candidates do not go with the spec.

    Without this, who leaves out a candidate that fails makes a run of several pass.
    """
    if BASELINE not in report.arms:
        yield f"arms.{BASELINE} is missing"
    names = [one.name for one in report.spec.candidates]
    for name in names:
        if name in report.judged and name in report.failed:
            yield f"judged.{name} and failed.{name} are about the same candidate"
        elif name not in report.judged and name not in report.failed:
            yield f"judged.{name} is missing, which spec.candidates asks for"
        elif name in report.judged and name not in report.arms:
            yield f"arms.{name} is missing, of which there is a verdict"
    for place, found in (
        ("arms", report.arms),
        ("judged", report.judged),
        ("failed", report.failed),
    ):
        for name in found:
            if name not in names and not (place == "arms" and name == BASELINE):
                yield f"{place}.{name} is of no candidate that spec.candidates asks for"


def _remade(document: Document, folder: Path, *, weights: bool) -> tuple[Checked, ...]:
    try:
        if is_of_endpoint(document):
            # lm-eval's marks and scipy are needed only from here on.
            from infra.report.receipt import endpoint

            return endpoint.remade(EndpointReport.model_validate(document), folder)
        report = Report.model_validate(document)
    except ValidationError as error:
        wrong = problems(error)
        note = "either it was changed, or another version of Assay wrote it"
        return (checked("report", "does not read as a report of this version", wrong, [note]),)
    if report.rules == 1 and document.get("schema_version") != 1:  # of which least is made again
        wrong = ["rules is 1, which no report of another version than 1 was judged by"]
        return (checked("report", f"judged by the rules of version {report.rules}", wrong),)
    if wrong := list(_unaccounted(report)):
        return (checked("report", "its arms and candidates", wrong),)
    from infra.report.receipt.remaking import check_comparison, check_verdict
    from infra.report.receipt.scores import check_scores, tasks_of
    from infra.report.receipt.weights import check_weights

    scores = check_scores(tasks_of(report), folder)
    comparison, again = check_comparison(report, folder)
    return (
        scores,
        comparison,
        check_verdict(report, again, folder),
        check_weights(report, folder, read=weights),
    )
