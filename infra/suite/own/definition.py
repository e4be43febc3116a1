"""Writes what lm-eval takes for a task: a definition, the rows, and how answers are marked.

Settings of the user's own lie beside the rows, as lm-eval's YAML: `house.yaml` beside
`house.jsonl`. What it says counts before what the kind says.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.contracts.errors import DatasetError, EvaluationError
from infra.store.content import build_once, code_digest, digest_file, digest_of
from infra.store.settings import Settings
from infra.suite.own import marks
from infra.suite.own.kind import Kind, Unfit, text_of
from infra.suite.own.kinds import QUESTIONS, kind_of_columns
from infra.suite.own.table import Cells, read

_KEPT_LISTS = ("choices", "letters")
_KEPT_NUMBERS = ("gold",)
_OURS = ("task", "dataset_path", "dataset_kwargs", "dataset_name", "test_split", "include")


@dataclass(frozen=True)
class OwnTask:
    """A file of rows that was read whole."""

    kind: Kind
    rows: Sequence[Mapping[str, Any]]
    """Every question that is asked."""

    settings: Mapping[str, Any]
    """What the YAML beside it says."""


def written(name: str, path: str, settings: Settings) -> Path:
    """Return the folder with the definition of a file's task; write it unless it is there.

    Args:
        name: What the task is called.
        path: The file, with `~` or relative to the current folder.
        settings: Its cache receives the folder.

    Raises:
        DatasetError: The file cannot be read, or a row of it cannot be asked or marked.
        EvaluationError: The YAML beside it is none, or says what the file itself decides.
    """
    file = Path(path).expanduser().absolute()
    beside = file.with_suffix(".yaml")
    contents = [digest_file(one).sha256 if one.is_file() else None for one in (file, beside)]
    key = digest_of([name, file.suffix, contents, code_digest("suite/own")])
    folder = settings.cache.absolute() / "own-tasks" / key[:32]
    if contents[0] is None or not folder.is_dir():
        own = load(file)
        build_once(folder, lambda partial: _write(partial, folder, name, own))
    return folder


def load(file: Path) -> OwnTask:
    """Read a file of rows and the YAML beside it.

    Raises:
        DatasetError: The file cannot be read, or a row of it cannot be asked or marked.
        EvaluationError: The YAML beside it is none, or says what the file itself decides.
    """
    rows = read(file)
    kind = kind_of_columns({name for _, cells in rows for name in cells}, file)
    settings = _settings(file.with_suffix(".yaml"))
    options = _options(kind, settings.pop(kind.name, {}), file.with_suffix(".yaml"))
    found: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for place, cells in rows:
        try:
            asked = list(_questions(kind, cells, options))
        except Unfit as error:
            raise DatasetError(
                f"{place.capitalize()} of {file.name} {error}.", remedy=error.remedy
            ) from None
        for row in asked:
            if (first := seen.setdefault(row["prompt"], place)) != place:
                raise DatasetError(
                    f"{place.capitalize()} of {file.name} asks the same as {first}.",
                    cause="A question that counts twice makes intervals narrower than they are.",
                    remedy="Remove one of them.",
                )
        found += asked
    return OwnTask(kind, _alike(found), settings)


def _questions(kind: Kind, cells: Cells, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    question = next((text for name in QUESTIONS if (text := text_of(cells.get(name, "")))), "")
    if not question.strip():
        raise Unfit("has no question", "Give it one, or remove the row.")
    whole = {**cells, "question": question}
    for one in kind.read(whole, **options):
        yield {**whole, "prompt": question, **one}


def _options(kind: Kind, given: Any, beside: Path) -> dict[str, Any]:
    if not isinstance(given, dict) or not given.keys() <= kind.options.keys():
        raise EvaluationError(
            f"{beside.name} sets {kind.name} to {given!r:.120}.",
            cause=f"Rows of the kind {kind.name} have "
            + (f"the options {', '.join(kind.options)}." if kind.options else "no options."),
            remedy=f"Correct what stands under {kind.name}:, or take it out.",
        )
    for name, value in given.items():
        if type(value) is not type(kind.options[name]):
            raise EvaluationError(
                f"{beside.name} sets {kind.name}.{name} to {value!r:.120}.",
                remedy=f"Give one like {kind.options[name]!r:.60}.",
            )
    return {**kind.options, **given}


def _alike(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows that all have the same columns, with values of one type in each.

    Whoever reads JSON lines takes the type of a column from the first rows, and fails on others.
    """
    columns = sorted({name for row in rows for name in row})
    plain = (*_KEPT_LISTS, *_KEPT_NUMBERS)
    return [
        {name: row.get(name) if name in plain else text_of(row.get(name, "")) for name in columns}
        for row in rows
    ]


def _settings(beside: Path) -> dict[str, Any]:
    if not beside.is_file():
        return {}
    try:
        found = yaml.safe_load(beside.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{beside.name} is no YAML: {' '.join(str(error).split())}.",
            cause="Code with !function belongs into definitions of your own, in "
            "evaluation.include_path."
            if "!function" in str(error)
            else "",
            remedy=f"Mend the file, or remove it: {beside}.",
        ) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise EvaluationError(
            f"{beside.name} holds a {type(found).__name__}, not keys with values.",
            remedy="Write lm-eval's keys: `num_fewshot: 0`, `generation_kwargs: {…}`, ….",
        )
    if ours := sorted(found.keys() & set(_OURS)):
        raise EvaluationError(
            f"{beside.name} sets {', '.join(ours)}.",
            cause="The file beside it and the spec say which task it is and where its rows are.",
            remedy="Take it out; for a definition that says all, use evaluation.include_path.",
        )
    return found


def _write(partial: Path, folder: Path, name: str, own: OwnTask) -> None:
    file = name.replace("/", "-")
    rows = f"{file}.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in own.rows]
    (partial / rows).write_text("".join(lines), encoding="utf-8")
    definition: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / rows)}},
        **own.kind.definition,
        **own.settings,
    }
    text = yaml.safe_dump(definition, allow_unicode=True, sort_keys=False)
    if own.kind.marks:
        shutil.copy(marks.__file__, partial / "marks.py")
        if "process_results" not in own.settings:
            text += f"process_results: !function marks.{own.kind.marks}\n"
    (partial / f"{file}.yaml").write_text(text, encoding="utf-8")
