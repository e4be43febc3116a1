"""Puts the cells of a matrix into one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.contracts.records import ArmResult, Pair, Report
from infra.contracts.records.matrix import MatrixReport, MatrixRow, MatrixScore
from infra.contracts.specs import BASELINE, CellSpec, MatrixSpec
from infra.report import matrix as page
from infra.report.changed import changed
from infra.report.ranking import written_tokens_per_second
from infra.store.content import write_atomically
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings


def folder_of(spec: MatrixSpec, settings: Settings) -> Path:
    """Return the folder that receives the table, the cells' specs and their logs."""
    return runs_folder(spec.results, settings) / f"{spec.results.label}-matrix"


def collect(
    spec: MatrixSpec, finished: Mapping[str, Path], failed: Mapping[str, str], settings: Settings
) -> MatrixReport:
    """Return the table of what is finished.

    Args:
        spec: The matrix.
        finished: Cell → its `report.json`.
        failed: Cell → why it has no result.
        settings: Where runs are kept.
    """
    runs = runs_folder(spec.results, settings)
    rows: dict[tuple[str, str], MatrixRow] = {}
    for cell in spec.cells:
        if (path := finished.get(cell.name)) is not None:
            report = Report.model_validate_json(path.read_text(encoding="utf-8"))
            for row in _rows(cell, report, path.with_name("report.html"), runs):
                # A model's baseline is the same in each of its cells.
                rows.setdefault((row.model, row.arm), row)
    names = [cell.name for cell in spec.cells]
    return MatrixReport(
        label=spec.results.label,
        created=datetime.now(UTC),
        rows=tuple(sorted(rows.values(), key=lambda row: _place(row, spec.cells))),
        failed=dict(failed),
        waiting=tuple(name for name in names if name not in finished and name not in failed),
    )


def write(report: MatrixReport, folder: Path) -> Path:
    """Write the table as `matrix.json`, `matrix.csv` and a page; return the path of the page."""
    write_atomically(folder / "matrix.json", report.model_dump_json(indent=2) + "\n")
    write_atomically(folder / "matrix.csv", page.csv_text(report))
    write_atomically(folder / "matrix.html", page.render(report))
    return (folder / "matrix.html").absolute()


def _place(row: MatrixRow, cells: Sequence[CellSpec]) -> tuple[int, bool]:
    models = list(dict.fromkeys(cell.model for cell in cells))
    return models.index(row.model), row.arm != BASELINE


def _rows(cell: CellSpec, report: Report, path: Path, runs: Path) -> Iterator[MatrixRow]:
    place = path.relative_to(runs).as_posix() if path.is_relative_to(runs) else str(path)
    yield _row(cell.model, BASELINE, report.spec.baseline.model.id, report.baseline, None, place)
    for pair in report.pairs:
        yield _row(cell.model, pair.name, changed(pair), pair.candidate, pair, place)


def _row(
    model: str, arm: str, what: str, result: ArmResult, pair: Pair | None, place: str
) -> MatrixRow:
    pooled = pair.comparison.pooled if pair else None
    loss, low, high = pooled.loss_points if pooled else (None, None, None)
    return MatrixRow(
        model=model,
        arm=arm,
        what=what,
        parameters=result.checkpoint.parameters,
        scores={
            name: MatrixScore(metric=task.primary_metric, value=task.metrics[task.primary_metric])
            for name, task in result.tasks.items()
        },
        status=pair.verdict.status if pair else None,
        loss_points=loss,
        low_points=low,
        high_points=high,
        size_bytes=result.checkpoint.size_bytes,
        tokens_per_second=written_tokens_per_second(result.bench),
        report=place,
    )
