"""Writes what lm-eval takes for a task: a definition, the rows, and how answers are marked."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.contracts.errors import DatasetError, EvaluationError
from infra.scoring.ways import ASKS
from infra.store.content import (
    build_once,
    code_digest,
    digest_file,
    digest_files,
    digest_folder,
    digest_of,
)
from infra.store.settings import Settings
from infra.store.usage import used
from infra.suite.own.beside import beside_of, named_beside, read_beside
from infra.suite.own.kind import NOT_ASKED, QUESTIONS, Defined, Kind, Unfit, text_of
from infra.suite.own.kinds import KINDS, kind_of_columns, question_of
from infra.suite.own.submission import ID, NAMED_BY_ID, NUMBER, SUBMITTED
from infra.suite.own.table import Cells, read
from infra.suite.rows import BY_CHANCE

_LETTERED = ("choices", "letters", "gold")
"""Columns that lm-eval reads as lists, and as a number."""
_DRAW = {"do_sample", "temperature", "top_p", "top_k", "min_p", "seed"}


@dataclass(frozen=True)
class OwnTask:
    """A file of rows that was read whole."""

    kind: Kind
    rows: Sequence[Mapping[str, Any]]
    """Every question that is asked."""

    settings: Mapping[str, Any]
    """What the YAML beside it says."""

    defined: Defined
    """What its kind says of this file."""

    needs: tuple[str, ...] = ()
    """What a server has to be able to do, where that is another thing than usual."""

    embeds: bool = False
    """Whether vectors of texts are needed before it can be asked or marked."""


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
    contents = _contents(file)
    key = digest_of([name, file.suffix, contents, code_digest("suite/own")])
    folder = settings.cache.absolute() / "own-tasks" / key[:32]
    used(folder)
    if contents[0] is None or not folder.is_dir():
        own = load(file)
        if _contents(file) != contents:
            raise DatasetError(
                f"{file.name} was written while it was read.",
                cause="What was read may be half of one file and half of another.",
                remedy="Try again when nobody writes it.",
            )
        build_once(folder, lambda partial: _write(partial, name, own))
    return folder / f"{_file(name)}.yaml"


def _contents(file: Path) -> list[str | None]:
    """Return the digest of a file, of its settings, and of what these name; none of what is not."""
    return [_digest(one) for one in (file, beside_of(file), *named_beside(file, KINDS))]


def _digest(path: Path) -> str | None:
    if path.is_dir():
        return digest_files(digest_folder(path))
    return digest_file(path).sha256 if path.is_file() else None


def load(file: Path) -> OwnTask:
    """Read a file of rows and the YAML beside it.

    Raises:
        DatasetError: The file cannot be read, or a row of it cannot be asked or marked.
        EvaluationError: The YAML beside it is none, or says what the file itself decides.
    """
    rows = read(file)
    _require_own_names({name for _, cells in rows for name in cells}, file)
    kind = kind_of_columns({name for _, cells in rows for name in cells}, file)
    settings, options = read_beside(file, kind)
    embeds = kind.embeds is not None and kind.embeds(options)
    if kind.opens:
        options = {**options, "opened": kind.opens(file, options)}
    needs = tuple(one.value for one in kind.needs(options))
    if kind.gathers:
        options = {**options, "others": kind.gathers([cells for _, cells in rows])}
    if kind.submits == NAMED_BY_ID:
        _require_ids(rows, file)
    found: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for number, (place, cells) in enumerate(rows):
        try:
            asked = list(_questions(kind, cells, options))
        except Unfit as error:
            raise DatasetError(
                f"{place.capitalize()} of {file.name} {error}.", remedy=error.remedy
            ) from None
        if kind.submits:
            found += [{**row, SUBMITTED: kind.submits, NUMBER: number} for row in asked]
            continue
        for row in asked:
            if (first := seen.setdefault(row["prompt"], place)) != place:
                raise DatasetError(
                    f"{place.capitalize()} of {file.name} asks the same as {first}.",
                    cause="A question that counts twice makes intervals narrower than they are.",
                    remedy="Remove one of them.",
                )
        found += asked
    if found and all(row.get(NOT_ASKED) for row in found):
        raise DatasetError(
            f"No row of {file.name} can be asked: the first one {found[0][NOT_ASKED]}.",
            remedy="Look at the names of its columns.",
        )
    defined = Defined({}, {}, {})
    if kind.defines:
        defined = kind.defines(options["opened"], options)
        settings = _drawn_once(settings, defined, kind, beside_of(file))
    return OwnTask(kind, _alike(found, kind), settings, defined, needs, embeds)


def _require_own_names(columns: Collection[str], file: Path) -> None:
    """Refuse columns that say how a row is asked and marked, in rows as they are written here."""
    if taken := sorted({ASKS, BY_CHANCE, NOT_ASKED, NUMBER, SUBMITTED}.intersection(columns)):
        raise DatasetError(
            f"{file.name} has a column called {taken[0]}.",
            cause="By that name Assay says how rows are asked and marked.",
            remedy="Rename the column.",
        )


def _require_ids(rows: Sequence[tuple[str, Cells]], file: Path) -> None:
    """Refuse rows whose lines in the file to hand in could be taken for each other's."""
    places: dict[str, str] = {}
    for number, (place, cells) in enumerate(rows):
        name = text_of(cells.get(ID, "")).strip() or str(number)
        if (first := places.setdefault(name, place)) != place:
            raise DatasetError(
                f"{place.capitalize()} of {file.name} has the {ID} {name:.40}, as {first} has.",
                cause="What is handed in has one line for each; without an id, a row has its "
                "number there, from 0.",
                remedy=f"Give every row an {ID} of its own, or take the column out.",
            )


def _drawn_once(
    settings: dict[str, Any], defined: Defined, kind: Kind, beside: Path
) -> dict[str, Any]:
    """Return settings whose `generation_kwargs` are beside what a kind says of them.

    Raises:
        EvaluationError: They say how answers are drawn, which the kind's own options say.
    """
    given, own = settings.get("generation_kwargs"), defined.keys.get("generation_kwargs")
    if own is None or given is None:
        return settings
    twice = sorted(given.keys() & _DRAW) if isinstance(given, dict) else [repr(given)]
    if twice:
        raise EvaluationError(
            f"{beside.name} sets {', '.join(twice):.120} in generation_kwargs.",
            cause=f"How answers are drawn stands under {kind.name}:.",
            remedy=f"Set {kind.name}.temperature and {kind.name}.top_p; generation_kwargs may "
            "hold until and max_gen_toks.",
        )
    return {**settings, "generation_kwargs": {**own, **given}}


def _questions(kind: Kind, cells: Cells, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    question = question_of(cells, kind.asked_in) if _asks(kind, cells) else ""
    whole = {**cells, "question": question}
    for one in kind.read(whole, **options):
        yield {**whole, "prompt": question, **one}


def _asks(kind: Kind, cells: Cells) -> bool:
    """Return whether a row has to have a question; see `NOT_ASKED`."""
    columns = (*QUESTIONS, *kind.asked_in)
    return not kind.may_ask_nothing or any(text_of(cells.get(n, "")).strip() for n in columns)


def _alike(rows: Sequence[Mapping[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Return rows that all have the same columns, with values of one type in each."""
    columns = sorted({name for row in rows for name in row})
    # A column that is only called so is a text like all others.
    plain = _LETTERED if "doc_to_choice" in kind.definition else ()
    return [
        {name: row.get(name) if name in plain else text_of(row.get(name, "")) for name in columns}
        for row in rows
    ]


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
        **own.defined.keys,
        **own.settings,
    }
    if own.needs:
        definition["metadata"] = {**definition["metadata"], "needs": [*own.needs]}
    if own.embeds:
        definition["metadata"] = {**definition["metadata"], "embeds": True}
    definition["metadata"] = {**definition["metadata"], **own.defined.metadata}
    for file, content in own.defined.files.items():
        (folder / file).write_text(content, encoding="utf-8")
    text = yaml.safe_dump(definition, allow_unicode=True, sort_keys=False)
    if own.kind.marks:
        beside = Path(str(own.kind.marked_by.__file__))
        shutil.copy(beside, folder / beside.name)
        text += f"process_results: !function {beside.stem}.{own.kind.marks}\n"
    (folder / f"{_file(name)}.yaml").write_text(text, encoding="utf-8")


def _file(name: str) -> str:
    return name.replace("/", "-")
