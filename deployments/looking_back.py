"""Commands about runs that are over: `verify`, `history`, `table` and `export-baseline`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from infra.contracts import exit_codes
from infra.contracts.specs import ResultsSpec
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings

COMMANDS = ("verify", "history", "table", "export-baseline")


def add_commands(commands: Any) -> None:
    """Add them to the parsers of the command line."""
    text = "check a report against its receipt: digests, sums, scores, comparison, verdict"
    verify = commands.add_parser(
        "verify", help=text, description=text,
        epilog="Exit codes: 0 if the report holds; 1 if anything in it does not, each named; 2 if "
        "there is no report with a receipt.",
    )  # fmt: skip
    verify.add_argument("report", type=Path, help="a run's report.json, or the run's folder")
    verify.add_argument(
        "--seal", help="the seal as the run's log has it: a report that was sealed again differs"
    )
    verify.add_argument(
        "--weights", action="store_true", help="read the checkpoints too, not just their sizes"
    )
    text = "print how runs went over time, and write history.html and history.csv anew"
    history = commands.add_parser("history", help=text, description=text)
    history.add_argument(
        "folder", type=Path, nargs="?", help="folder of the runs (ASSAY_RUNS, or ./runs)"
    )
    text = "print a run's scores and speed in the form in which the Qwen documentation has them"
    table = commands.add_parser(
        "table", help=text, description=f"{text}, as Markdown: a row an arm, and a row a length of "
        "the prompt and arm, of what was timed one request at a time",
    )  # fmt: skip
    table.add_argument("report", type=Path, help="a run's report.json, or the run's folder")
    table.add_argument("--csv", action="store_true", help="as CSV")
    text = "write a run's baseline to one file, so that candidates are judged against it elsewhere"
    export = commands.add_parser("export-baseline", help=text, description=text)
    export.add_argument("report", type=Path, help="a run's report.json, or the run's folder")
    export.add_argument("file", type=Path, help="file to write; runs name it as baseline_pack")


def look_back(given: argparse.Namespace) -> int:
    """Carry out one of them and return the exit code."""
    if given.command == "verify":
        return _verify(given.report, seal=given.seal, weights=given.weights)
    if given.command == "table":
        return _table(given.report, csv=given.csv)
    if given.command == "export-baseline":
        return _export(given.report, given.file)
    return _history(given.folder or runs_folder(ResultsSpec(), Settings()))


def _verify(path: Path, *, seal: str | None, weights: bool) -> int:
    from infra.report import receipt

    checks = receipt.verify(path, seal=seal, weights=weights)
    print(receipt.table(checks))
    return exit_codes.FAILED if any(check.wrong for check in checks) else 0


def _history(folder: Path) -> int:
    from infra.report import trend
    from infra.store import history

    if not history.exists(folder):
        print(f"assay: there are no runs in {folder}", file=sys.stderr)
        return 0
    frame = history.read(folder, trend.COLUMNS)
    blocks = (trend.text(trend.trends(frame)), trend.text_alone(trend.alone(frame)))
    print("\n\n".join(block for block in blocks if block))
    if not_exported := history.take_over(folder):
        print(f"assay: {not_exported}", file=sys.stderr)
    print(f"history: {trend.write(folder)}")
    return 0


def _table(report: Path, *, csv: bool) -> int:
    from infra.report import published

    print(published.text(published.read(report), csv=csv))
    return 0


def _export(report: Path, target: Path) -> int:
    from infra.stages.export_baseline import export

    pack = export(report, target)
    rows = sum(task.n for task in pack.result.tasks.values())
    print(f"{rows:,} rows of {', '.join(pack.result.tasks)} by {pack.result.checkpoint.model}")
    print(f"seal of its report: {pack.seal}")
    print(f"pack: {target.absolute()}")
    return 0
