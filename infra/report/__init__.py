"""What a run leaves behind for people: a page, a page in brief, and the same in numbers.

summary     the first lines: verdict, margin, what is slower, what it bought
tables      plain cells, the same on the page, in Markdown and on the model card
prose       how to read them
rows        the rows to browse
figures     what all figures share; plots and speed_plot draw them
html, markdown, model_card
verdict_file   for programs; junit and job_summary are the same for CI systems
public      what of a run may stand on a model card
"""

from __future__ import annotations

from pathlib import Path

from infra.contracts.records import Report
from infra.report import receipt, verdict_file
from infra.report.cards import card_names
from infra.report.markdown import artifact_description, artifact_markdown, artifact_table
from infra.report.model_card import model_card
from infra.store.content import write_atomically

__all__ = ["artifact_description", "artifact_markdown", "artifact_table", "model_card", "write"]


def write(report: Report, *, folder: Path) -> Path:
    """Write page, brief, model cards, `verdict.json`, `report.json`; return the path of the page.

    `report.json` comes last and is sealed: where it is, the run is complete, and none of its files
    may change any more.

    Args:
        report: The run.
        folder: Its folder, which holds the sample rows.

    Raises:
        ComparisonError: The sample rows are not those the report was made from.
    """
    from infra.report.html import render

    page = folder / "report.html"
    write_atomically(page, render(report, folder))
    write_atomically(folder / "report.md", artifact_markdown(report))
    for pair, name in zip(report.pairs, card_names(report), strict=True):
        write_atomically(folder / name, model_card(pair))
    verdict_file.write(verdict_file.of_run(report, page), folder)
    report = receipt.sealed(report, folder)
    write_atomically(folder / "report.json", report.model_dump_json(indent=2) + "\n")
    return page.absolute()
