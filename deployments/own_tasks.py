"""Commands about tasks of the user's own: `init-task` and `look-at-task`."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

from infra.contracts.commands import PYTHON
from infra.contracts.progress import Progress
from infra.contracts.specs import EvaluationSpec, TaskSpec, VerdictSpec
from infra.judging import power
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.own import example
from infra.suite.own.definition import load
from infra.suite.own.documents import DOCUMENTS
from infra.suite.own.kinds import KINDS
from infra.suite.rows import question_of

COMMANDS = ("init-task", "look-at-task")
_SHOWN = 3


def add_commands(commands: Any) -> None:
    """Add them to the parsers of the command line."""
    text = "write an example of a kind of rows, to make a task of your own from"
    init = commands.add_parser("init-task", help=text, description=text)
    init.add_argument("kind", help=", ".join(kind.name for kind in KINDS))
    init.add_argument("file", type=Path, help="*.jsonl file to write; its settings go beside it")
    text = "say what a file of rows is, show what is asked, check its marking; nothing is served"
    look = commands.add_parser("look-at-task", help=text, description=text)
    look.add_argument("file", type=Path, help="a .jsonl, .csv or .parquet file of your own rows")


def carry_out(given: argparse.Namespace, progress: Progress) -> int:
    """Carry out one of them and return the exit code."""
    if given.command == "init-task":
        return _init(given.kind, given.file)
    return _look(given.file, progress)


def _init(kind: str, file: Path) -> int:
    rows, settings = example.write(kind, file)
    print(f"rows: {rows}\nsettings: {settings}")
    print(f"see how they are asked and marked: {PYTHON} -m deployments look-at-task {rows}")
    return 0


def _look(file: Path, progress: Progress) -> int:
    own = load(file)
    if own.kind is DOCUMENTS and own.embeds:
        print("\nWhat is found is not known before a run: until then a row is shown with its own "
              "passages, and as many others as will be found.")  # fmt: skip
    # What a file may be called and a task may not.
    name = re.sub(r"[^\w.+@-]+", "-", file.stem).strip("-._") or "rows"
    # A question may be asked in both orders, or with several numbers of functions.
    questions = len({question_of(row, row["prompt"]) for row in own.rows})
    more = f" in {len(own.rows)} rows" if len(own.rows) > questions else ""
    print(f"{file.name}: {questions} questions{more} of the kind {own.kind.name} "
          f"({own.kind.column}: {own.kind.meaning}), judged by {own.kind.metrics[0]}")  # fmt: skip
    for number, row in enumerate(own.rows[:_SHOWN], 1):
        asked = "\n".join(f"  │ {line}" for line in str(row["prompt"]).splitlines())
        print(f"\nrow {number} is asked\n{asked}\n  expected: {row['answer'] or 'not given'}")
    # Its own name may be that of another task; what it is called in a run, the run says.
    line = TaskSpec(name=f"own-{name}", file=str(file))
    suite = kind_of(spec := EvaluationSpec(tasks=(line,)))
    prepared = suite.prepare(spec, settings=Settings(), progress=progress)
    notes = [note for note in getattr(prepared, "notes", ()) if "marking" in note]
    print("\n" + (notes[0] if notes else "marking: an oracle's answers are all marked right"))
    if own.kind.metrics[0] not in own.kind.losses:
        _plan(questions)
    place = f'evaluation.tasks["{name}"].file' if "." in name else f"evaluation.tasks.{name}.file"
    given = [f"evaluation.tasks[+].name={name}", f"{place}={file}"]
    if own.embeds:
        print("what turns texts into vectors is named in the run: a model, or an endpoint")
        given.append("evaluation.embedding.model.id=MODEL")
    changes = shlex.join([word for change in given for word in ("--set", change)])
    print(f"in a run: {changes}")
    return 0


def _plan(questions: int) -> None:
    plan = power.plan({"own": questions}, VerdictSpec())
    print(
        f"power: {plan.rows} questions hold a margin of {plan.smallest_margin_points:.1f} points "
        f"or more, if {plan.flip_rate:.0%} of them change sides; {plan.rows_for_margin} hold one "
        f"of {VerdictSpec().margin_points:g}"
    )
