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

_LETTERED = ("choices", "letters", "gold")
"""Columns that lm-eval reads as lists, and as a number."""

_SETTINGS = (
    "description", "doc_to_choice", "doc_to_target", "doc_to_text", "fewshot_config",
    "fewshot_delimiter", "filter_list", "gen_prefix", "generation_kwargs", "metadata",
    "metric_list", "num_fewshot", "repeats", "target_delimiter",
)  # fmt: skip
"""What may be set beside a file. Other keys of lm-eval's definitions say which task it is and where
its rows are, or name code."""

_OF_CHOICES = ("acc_norm", "acc_mutual_info", "brier_score", "f1", "mcc")
"""What lm-eval scores choices by, besides."""


@dataclass(frozen=True)
class OwnTask:
    """A file of rows that was read whole."""

    kind: Kind
    rows: Sequence[Mapping[str, Any]]
    """Every question that is asked."""

    settings: Mapping[str, Any]
    """What the YAML beside it says."""


def written(name: str, path: str, settings: Settings) -> Path:
    """Return the definition of a file's task; write it unless it is there.

    Args:
        name: What the task is called.
        path: The file, with `~` or relative to the current folder.
        settings: Its cache receives a folder with it.

    Raises:
        DatasetError: The file cannot be read, or a row of it cannot be asked or marked.
        EvaluationError: The YAML beside it is none, or says what the file itself decides.
    """
    file = Path(path).expanduser().absolute()
    beside = file.with_suffix(".yaml")
    contents = _contents(file, beside)
    key = digest_of([name, file.suffix, contents, code_digest("suite/own")])
    folder = settings.cache.absolute() / "own-tasks" / key[:32]
    if contents[0] is None or not folder.is_dir():
        own = load(file)
        if _contents(file, beside) != contents:
            raise DatasetError(
                f"{file.name} was written while it was read.",
                cause="What was read may be half of one file and half of another.",
                remedy="Try again when nobody writes it.",
            )
        build_once(folder, lambda partial: _write(partial, name, own))
    return folder / f"{_file(name)}.yaml"


def _contents(*files: Path) -> list[str | None]:
    return [digest_file(one).sha256 if one.is_file() else None for one in files]


def load(file: Path) -> OwnTask:
    """Read a file of rows and the YAML beside it.

    Raises:
        DatasetError: The file cannot be read, or a row of it cannot be asked or marked.
        EvaluationError: The YAML beside it is none, or says what the file itself decides.
    """
    rows = read(file)
    kind = kind_of_columns({name for _, cells in rows for name in cells}, file)
    settings = _settings(file.with_suffix(".yaml"), kind)
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
    return OwnTask(kind, _alike(found, kind), settings)


def _questions(kind: Kind, cells: Cells, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    given = [text for name in QUESTIONS if (text := text_of(cells.get(name, ""))).strip()]
    if not given:
        raise Unfit("has no question", "Give it one, or remove the row.")
    if len({*given}) > 1:
        raise Unfit(
            f"has {len(given)} questions, in {' and in '.join(QUESTIONS)}",
            "Leave the one that is asked, and rename the other column.",
        )
    question = given[0]
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


def _alike(rows: Sequence[Mapping[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Return rows that all have the same columns, with values of one type in each."""
    columns = sorted({name for row in rows for name in row})
    # A column that is only called so is a text like all others.
    plain = _LETTERED if "doc_to_choice" in kind.definition else ()
    return [
        {name: row.get(name) if name in plain else text_of(row.get(name, "")) for name in columns}
        for row in rows
    ]


def _settings(beside: Path, kind: Kind) -> dict[str, Any]:
    if not beside.is_file():
        return {}
    try:
        found = yaml.safe_load(beside.read_text(encoding="utf-8"))
        json.dumps(found, default=str)  # whatever is in itself has no end
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise EvaluationError(
            f"{beside.name} is no YAML that can be read: {' '.join(str(error).split())}.",
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
    if others := [str(key) for key in found if key not in (*_SETTINGS, kind.name)]:
        raise EvaluationError(
            f"{beside.name} sets {', '.join(sorted(others))}.",
            cause=f"Beside a file may stand {', '.join(_SETTINGS)}"
            + (f", {kind.name}." if kind.options else "."),
            remedy="Take it out; for a definition that says all, use evaluation.include_path.",
        )
    _require_metrics(found.get("metric_list", [{"metric": kind.metrics[0]}]), kind, beside)
    if "metadata" in found:
        if not isinstance(found["metadata"], dict):
            raise EvaluationError(
                f"{beside.name} sets metadata to {found['metadata']!r:.120}.",
                remedy="Write keys with values: `metadata: {version: 1.0}`.",
            )
        found["metadata"] = {**kind.definition["metadata"], **found["metadata"]}
    return found


def _require_metrics(listed: Any, kind: Kind, beside: Path) -> None:
    """Refuse metrics that answers of a kind do not have; lm-eval would seek them as code, afar."""
    given = listed if isinstance(listed, list) else [listed]
    names = [one.get("metric") if isinstance(one, dict) else one for one in given]
    allowed = kind.metrics if kind.marks else (*kind.metrics, *_OF_CHOICES)
    wrong = [str(name) for name in names if name not in allowed]
    coded = any(isinstance(one, dict) and one.get("hf_evaluate") for one in given)
    if not given or wrong or coded or not all(isinstance(one, dict) for one in given):
        raise EvaluationError(
            f"{beside.name} sets metric_list to {listed!r:.120}.",
            cause=f"Rows of the kind {kind.name} are scored by {', '.join(allowed)}.",
            remedy="Write one or more of these, each as `metric: NAME` with `aggregation: mean`.",
        )


def _write(folder: Path, name: str, own: OwnTask) -> None:
    import pyarrow
    import pyarrow.parquet

    # Of JSON lines, datasets would take a column of texts that are all dates for one of dates.
    # Sought beside the definition, for where the cache lies decides no key; its content is in its
    # name, since it would be sought in the current folder as well. People read whose rows it holds.
    rows = f"{_file(name)}-{digest_of([*own.rows])[:16]}.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*own.rows]), folder / rows)
    definition: dict[str, Any] = {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": rows}},
        **own.kind.definition,
        **own.settings,
    }
    text = yaml.safe_dump(definition, allow_unicode=True, sort_keys=False)
    if own.kind.marks:
        shutil.copy(marks.__file__, folder / "marks.py")
        text += f"process_results: !function marks.{own.kind.marks}\n"
    (folder / f"{_file(name)}.yaml").write_text(text, encoding="utf-8")


def _file(name: str) -> str:
    return name.replace("/", "-")
