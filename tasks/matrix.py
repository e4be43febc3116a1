"""A whole matrix, cell by cell: one that fails costs the others nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from prefect.artifacts import create_table_artifact
from prefect.futures import as_completed
from prefect.logging import get_run_logger

from infra.contracts.errors import CellFailed
from infra.contracts.specs import CellSpec, MatrixSpec
from infra.report.matrix import cells as plain_cells
from infra.stages import matrix
from infra.store.settings import Settings
from tasks.evaluate_cell import evaluate_cell, workers_wait
from tasks.outcomes import value_of
from tasks.run_names import name_run

Where = Literal["auto", "here", "workers"]


def evaluate(spec: MatrixSpec, where: Where) -> Path:
    """Carry out a matrix inside a flow; return the path of its page.

    A second start does only what is missing: cells that are finished are taken as they are, and of
    the others whatever is stored.

    Args:
        spec: The matrix.
        where: Whether workers carry out the cells, side by side, or this process, one after the
            other; `auto` takes workers where the deployment for it is registered.
    """
    name_run(spec)
    settings, logger = Settings(), get_run_logger()
    folder = matrix.folder_of(spec, settings)
    deployed = where == "workers" or (where == "auto" and workers_wait())
    finished: dict[str, Path] = {}
    failed: dict[str, str] = {}

    def show() -> Path:
        return matrix.write(matrix.collect(spec, finished, failed, settings), folder)

    page = show()
    if deployed:
        futures = {
            evaluate_cell.submit(cell, folder, deployed=True, turn=turn): cell.name
            for cell, turn in zip(spec.cells, turns(spec.cells), strict=True)
        }
        for future in as_completed(list(futures)):
            name = futures[future]
            try:
                finished[name] = future.result()
            except Exception as error:
                failed[name] = str(error)
            page = show()
    else:
        for cell in spec.cells:
            try:
                finished[cell.name] = value_of(evaluate_cell(cell, folder, deployed=False))
            except Exception as error:
                logger.error(f"{cell.name} has no result; the others go on. {error}")
                failed[cell.name] = str(error)
            page = show()
    report = matrix.collect(spec, finished, failed, settings)
    create_table_artifact(
        plain_cells(report),
        key=f"matrix-{spec.results.label}",
        description=f"{len(finished)} of {len(spec.cells)} cells have a result",
    )
    if not finished:
        raise CellFailed("No cell has a result.", cause=next(iter(failed.values())))
    logger.info(f"report: {page}")
    return page


def turns(cells: Sequence[CellSpec]) -> list[int]:
    """Return the order in which workers take cells: first one of each model.

    Two cells of a model share its baseline, and the second would wait for the first.
    """
    earlier: Counter[str] = Counter()
    order = []
    for cell in cells:
        order.append(earlier[cell.model])
        earlier[cell.model] += 1
    return order
