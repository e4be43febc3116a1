"""Writes a file of each kind to begin with, and the settings beside it, explained."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path

import yaml

from infra.contracts.errors import SpecError
from infra.suite.own.kind import QUESTIONS, Kind
from infra.suite.own.kinds import KINDS
from infra.suite.own.table import Cells

_BESIDE = """\
# Settings of {file}, in the words of lm-eval's task definitions. All of it may go; what stands
# here counts before what the kind ({kind}) says.
#
# Columns: {question}, what the model is asked{how};
#          {column}: {meaning}.
{answer}# Further columns are kept, and stand beside each answer in the report.
#
# Judged by {metric}; {scale}.
{options}{generation}{shots}
metadata:
  # Raise it when rows mean something else than before; the report shows it.
  version: 1.0
  units: {{{units}}}
"""
_SHOTS = """
# Worked examples before each question are other rows of this file: set num_fewshot in the run.
"""
_UNTIL = """\
  # Texts at which an answer ends, besides the model's own end; for a base model, "\\n\\n".
"""
_ANSWER = "#          answer: an example of a right one, by which the marking is checked.\n"


def write(name: str, path: Path) -> tuple[Path, Path]:
    """Write an example of a kind, and return the file of rows and the one of settings.

    Args:
        name: Of the kind.
        path: A *.jsonl file that is not there yet.

    Raises:
        SpecError: There is no such kind, or something is there already.
    """
    kind = next((one for one in KINDS if one.name == name), None)
    if kind is None:
        raise SpecError(
            f"There is no kind of rows called {name!r}.",
            remedy=f"Take one of: {'; '.join(f'{one.name} ({one.meaning})' for one in KINDS)}.",
        )
    if path.suffix != ".jsonl":
        raise SpecError(
            f"The example is written as JSON lines, and {path.name} is not called so.",
            remedy=f"Call it {path.with_suffix('.jsonl')}.",
        )
    beside = path.with_suffix(".yaml")
    more = {path.parent / name: content for name, content in kind.beside.items()}
    if there := [str(one) for one in (path, beside, *more) if one.exists()]:
        raise SpecError(
            f"{' and '.join(there)} exist already.",
            remedy="Choose another name; nothing is overwritten.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_lines(kind.example), encoding="utf-8")
    beside.write_text(_settings(kind, path.name), encoding="utf-8")
    for file, content in more.items():
        file.write_text(content, encoding="utf-8")
    return path, beside


def _generation(kind: Kind) -> str:
    given = yaml.safe_dump(dict(kind.definition["generation_kwargs"]), sort_keys=False)
    return f"\ngeneration_kwargs:\n{_UNTIL}" + textwrap.indent(given, "  ")


def _writes(kind: Kind) -> bool:
    """Return whether it lets the model write, as its definition says alone."""
    return kind.definition["output_type"] == "generate_until" and not kind.defines


def _options(kind: Kind) -> str:
    if not kind.options:
        return ""
    given = {name: x for name, x in kind.options.items() if name not in kind.decides_by_presence}
    apart = {name: x for name, x in kind.options.items() if name in kind.decides_by_presence}
    text = "\n" + yaml.safe_dump({kind.name: given}, sort_keys=False, width=95)
    return text + textwrap.indent(yaml.safe_dump(apart), "  # ") if apart else text


def _lines(rows: Iterable[Cells]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _settings(kind: Kind, file: str) -> str:
    first, *others = kind.asked_in if kind.defines else QUESTIONS
    checked = any("answer" in row for row in kind.example) and kind.column != "answer"
    return _BESIDE.format(
        file=file,
        kind=kind.name,
        question=f"{first} (or {', '.join(others)})" if others else first,
        how="" if kind.defines else ", word for word",
        column=kind.column,
        meaning=kind.meaning,
        metric=kind.metrics[0],
        scale="a loss in nats, from 0: less is better"
        if kind.metrics[0] in kind.losses
        else "every row scores from 0 to 1",
        units=", ".join(f"{metric}: {unit}" for metric, unit in kind.units.items()),
        options=_options(kind),
        answer="".join(f"#          {name}: {what}.\n" for name, what in kind.columns.items())
        or (_ANSWER if checked and kind.marks else ""),
        generation=_generation(kind) if _writes(kind) else "",
        shots="" if kind.defines or kind.definition.get("num_fewshot") == 0 else _SHOTS,
    )
