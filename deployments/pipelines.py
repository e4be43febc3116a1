"""Commands for other people's pipelines: `export`, `compare` and `push`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infra.contracts import exit_codes
from infra.contracts.errors import SpecError
from infra.contracts.progress import Progress
from infra.contracts.specs import VerdictSpec

COMMANDS = ("export", "compare", "push")

_SUMMARY_FILE = "GITHUB_STEP_SUMMARY"
"""Variable that names the file to which a job of GitHub Actions adds its summary."""


def add_commands(commands: Any) -> None:
    """Add them to the parsers of the command line."""
    text = "write a run's verdict as JSON, JUnit XML or the summary of a CI job"
    export = commands.add_parser(
        "export", help=text, description=text,
        epilog="Exit codes: 0 if it is written, with --gate that of the verdict: 0, 3 or 4; 2 if "
        "there is no report with a receipt, or it is not what was sealed.",
    )  # fmt: skip
    export.add_argument("report", type=Path, help="a run's report.json, or the run's folder")
    export.add_argument("--format", choices=("verdict", "junit", "summary"), default="verdict")
    export.add_argument(
        "--out", type=Path, metavar="FILE",
        help=f"file to write, - for stdout; without it stdout, but for a summary the file that "
        f"{_SUMMARY_FILE} names, where that is set",
    )  # fmt: skip
    export.add_argument(
        "--gate", action="store_true", help="end with the exit code of the verdict: 0, 3 or 4"
    )
    _add_compare(commands)
    _add_push(commands)


def _add_compare(commands: Any) -> None:
    text = "judge results that lm-eval, Inspect, EvalScope or NeMo Evaluator left, row by row"
    compare = commands.add_parser(
        "compare", help=text, description=text,
        epilog="Exit codes: 0 for a PASS, 3 for a FAIL, 4 for an INCONCLUSIVE verdict; 2 if the "
        "two cannot be compared, or their rows are too few.",
    )  # fmt: skip
    for arm in ("baseline", "candidate"):
        compare.add_argument(arm, type=Path, help="file of rows with their marks, or a folder")
    compare.add_argument("--name", default="candidate", help="what the candidate is called")
    compare.add_argument("--label", default="comparison", help="what the comparison is called")
    compare.add_argument(
        "--margin", type=float, default=1.0, metavar="POINTS",
        help="loss over all rows that is acceptable (default: %(default)g)",
    )  # fmt: skip
    compare.add_argument(
        "--task-margin", type=float, metavar="POINTS",
        help="loss that a single task may have (default: three times the margin)",
    )  # fmt: skip
    compare.add_argument(
        "--own-margin", action="append", default=[], metavar="METRIC=LOSS",
        help="loss that a metric may have, in its own unit: word_perplexity=0.3 (may be repeated)",
    )  # fmt: skip
    compare.add_argument("--confidence", type=float, default=0.95)
    compare.add_argument("--metric", default="", help="metric to judge by; the first of each task")
    compare.add_argument(
        "--points", action="append", default=[], metavar="METRIC",
        help="a metric of your own whose every row lies between 0 and 1 (may be repeated)",
    )  # fmt: skip
    compare.add_argument(
        "--lower-is-better", action="append", default=[], metavar="METRIC",
        help="a metric of which less is better, where its name does not say (may be repeated)",
    )  # fmt: skip
    compare.add_argument(
        "--prompts-may-differ", action="store_true",
        help="pair rows by question where the prompts differ, as with another chat template",
    )  # fmt: skip
    compare.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="folder for verdict.json, junit.xml and summary.md",
    )  # fmt: skip


def _add_push(commands: Any) -> None:
    text = "put a checkpoint that passed on a hub, with its model card and its receipt"
    push = commands.add_parser(
        "push", help=text, description=f"{text}; the token is that of the environment, HF_TOKEN or "
        "MODELSCOPE_API_TOKEN",
        epilog="Exit codes: 0 if it is there, or would be; 2 if it is refused: no PASS, a report "
        "that does not hold, a checkpoint that was changed since, or what the hub does not let in.",
    )  # fmt: skip
    push.add_argument("report", type=Path, help="a run's report.json, or the run's folder")
    push.add_argument("--to", required=True, metavar="HUB:OWNER/NAME",
                      help="hf:owner/name or modelscope:owner/name")  # fmt: skip
    push.add_argument("--candidate", help="which one, if the run has several")
    push.add_argument(
        "--dry-run", action="store_true",
        help="print the files, their sizes and the model card; send nothing",
    )  # fmt: skip
    push.add_argument(
        "--public", action="store_true",
        help="a repository that is made for it is public; without it, private",
    )  # fmt: skip


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Carry out one of them and return the exit code."""
    return _DO[given.command](given, progress)


def _export(given: argparse.Namespace, progress: Progress) -> int:
    from infra.report.export import FORMATS, document_of

    document = document_of(given.report)
    put(FORMATS[given.format](document), given.out, progress, summary=given.format == "summary")
    return document.exit_code if given.gate else exit_codes.DONE


def _compare(given: argparse.Namespace, progress: Progress) -> int:
    from infra.report import verdict_file
    from infra.report.export import FORMATS
    from infra.stages.comparing_results import compare_results
    from infra.store.content import write_atomically
    from infra.suite.foreign import Declared

    compared = compare_results(
        given.baseline,
        given.candidate,
        _verdict(given),
        declared=Declared(given.points, given.lower_is_better, given.metric),
        name=given.name,
        label=given.label,
        prompts_may_differ=given.prompts_may_differ,
    )
    document, summary = compared.document, FORMATS["summary"](compared.document)
    summary += "".join(f"\n- {note}" for note in compared.notes) + "\n" * bool(compared.notes)
    if given.out:
        verdict_file.write(document, given.out)
        write_atomically(given.out / "junit.xml", FORMATS["junit"](document))
        write_atomically(given.out / "summary.md", summary)
        progress.say(f"written: {given.out}/verdict.json, junit.xml, summary.md")
    put(summary, None, progress, summary=True)
    if os.environ.get(_SUMMARY_FILE):
        print(document.headline)
    return document.exit_code


def _push(given: argparse.Namespace, progress: Progress) -> int:
    from infra.stages.pushing import plan, push

    planned = plan(given.report, given.to, given.candidate)
    if given.dry_run:
        print(f"{planned.table()}\n\n{planned.card}", end="")
        progress.say("a dry run: nothing was sent")
        return exit_codes.DONE
    print(push(planned, progress, private=not given.public))
    return exit_codes.DONE


_DO = {"export": _export, "compare": _compare, "push": _push}


def _verdict(given: argparse.Namespace) -> VerdictSpec:
    """Return which loss is acceptable, as the command line says it.

    Raises:
        SpecError: It says it wrongly.
    """
    margins: dict[str, float] = {}
    try:
        for one in given.own_margin:
            metric, _, loss = one.rpartition("=")
            margins[metric] = float(loss)
        return VerdictSpec(
            margin_points=given.margin,
            task_margin_points=min(100.0, 3 * given.margin)
            if given.task_margin is None
            else given.task_margin,
            margins=margins,
            confidence=given.confidence,
        )
    except ValueError as error:
        problems = error.errors() if isinstance(error, ValidationError) else []
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)
        raise SpecError(
            "The margins cannot be used.",
            cause=said or str(error),
            remedy="Write them like --margin 1 --task-margin 3 --own-margin word_perplexity=0.3.",
        ) from error


def put(text: str, out: Path | None, progress: Progress, *, summary: bool) -> None:
    """Write a text where it was asked for.

    Args:
        text: The text.
        out: The file, `-` for stdout; none if nobody said.
        progress: Says where it went.
        summary: Whether it belongs to the summary of a CI job, which others add to as well.
    """
    from infra.store.content import write_atomically

    job = os.environ.get(_SUMMARY_FILE) if summary else None
    if str(out) == "-" or (out is None and not job):
        print(text, end="")
    elif out is not None:
        write_atomically(out, text)
        progress.say(f"written: {out}")
    else:
        with Path(str(job)).open("a", encoding="utf-8") as file:
            file.write(text)
        progress.say(f"added to the job's summary: {job}")
