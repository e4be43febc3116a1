"""What a kind of rows says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from infra.contracts.capability import Capability
from infra.suite.own import marks as common
from infra.suite.own.table import Cells, whole

Text: TypeAlias = dict[str, str]
"""A row as it is written for lm-eval: every column a text, so that all rows are of one shape."""


NOT_ASKED = "nothing_to_ask"
"""Column of rows that hold nothing to ask: why. Something is put in its place, since every row is
sent; what comes back counts for nothing, and the row has the uniform answer."""


class Unfit(Exception):
    """A row cannot be asked or marked: what is wrong, and what to do about it."""

    def __init__(self, wrong: str, remedy: str) -> None:
        super().__init__(wrong)
        self.remedy = remedy


Reads: TypeAlias = Callable[..., Iterable[Mapping[str, Any]]]
"""Turns a row, and the kind's own options by name, into the questions that it becomes, one but for
few: of each, the columns that are added or rewritten. Raises `Unfit`."""

Opens: TypeAlias = Callable[[Path, Mapping[str, Any]], Any]
"""Takes a file of rows and the kind's options. Raises `EvaluationError`."""


@dataclass(frozen=True)
class Defined:
    """What a definition says besides, of one file and its options."""

    keys: Mapping[str, Any]
    metadata: Mapping[str, Any]
    """Added to the definition's own."""

    files: Mapping[str, str]
    """Names of files that lie beside the definition → what is in them. The metadata names them by
    their content: so it is in the key of the task."""


Defines: TypeAlias = Callable[[Any, Mapping[str, Any]], Defined]
"""Takes what `opens` returned and the kind's options."""

QUESTIONS = ("question", "prompt")
"""Columns in which a question stands."""


@dataclass(frozen=True)
class Kind:
    """One kind of rows: what tells it, how a row is read, how lm-eval asks and marks it."""

    name: str
    column: str
    """A file is of this kind if it has it."""

    meaning: str
    """What stands in that column, for people."""

    read: Reads
    metrics: tuple[str, ...]
    """The first one is judged. All score a row from 0 to 1, but for losses."""

    losses: tuple[str, ...] = ()
    """Those among them that are losses in nats: less is better."""

    values: tuple[str, ...] = ()
    """Those among them that have no unit, such as tokens of an answer: less is better."""

    marks: str = ""
    """Function that scores an answer; empty for choices, which lm-eval marks."""

    marked_by: ModuleType = common
    """Where that function is: a module that needs no other of ours, since it goes beside the
    definition."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Further columns that it reads → what stands there, for people."""

    asked_in: tuple[str, ...] = ()
    """Columns that may hold what is asked, beside those of all kinds."""

    takes: tuple[str, ...] = ()
    """Columns that tell another kind elsewhere, and are part of this one."""

    gathers: Callable[[Sequence[Cells]], Any] | None = None
    """What reading a row takes of all rows together, which `read` gets as `others`."""

    needs: Callable[[Mapping[str, Any]], tuple[Capability, ...]] = lambda options: ()
    """From the options to what a server has to be able to do; nothing if it has to write or to
    score as for other tasks."""

    example: Sequence[Cells] = ()
    """Rows to begin with."""

    beside: Mapping[str, str] = field(default_factory=dict)
    """Files that the example needs beside it → what is in them."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the definition."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """What the settings beside a file may set under the kind's name → what counts if they do not.
    """

    decides_by_presence: tuple[str, ...] = ()
    """Options that count for more where they are set, even to what counts if they are not."""

    paths: tuple[str, ...] = ()
    """Options that name a file or a folder, from where the file of rows lies: what is in there
    belongs to the task as its rows do."""

    embeds: Callable[[Mapping[str, Any]], bool] | None = None
    """Takes the kind's options and says whether a task needs vectors of texts."""

    labels: tuple[str, ...] = ()
    """Columns of which one has to say what is right; see `unlabelled`."""

    unlabelled: Kind | None = None
    """What a file is if it has none of these: its rows are asked, and handed in somewhere."""

    may_ask_nothing: bool = False
    """Whether a row without a question has the uniform answer; see `NOT_ASKED`."""

    submits: str = ""
    """Whoever makes a file to hand in of its rows, in `infra.suite.own.submission`: they have no
    label, and decide nothing."""

    opens: Opens | None = None
    """Reads once what all rows of a file share; `read` gets it as `opened`."""

    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Options that take some values alone → these."""
    defines: Defines | None = None
    """Says what the definition has besides, by the options and what was opened."""

    decides: tuple[str, ...] = ()
    """Keys of a definition that it decides by its options, so that nobody may set them."""

    @property
    def units(self) -> dict[str, str]:
        """Return the unit of each metric."""
        special = dict.fromkeys(self.losses, "nats") | dict.fromkeys(self.values, "value")
        return {name: special.get(name, "points") for name in self.metrics}

    @property
    def definition(self) -> dict[str, Any]:
        """Return the definition, without its name and its rows."""
        less = {*self.losses, *self.values}
        listed = [
            {"metric": name, "aggregation": "mean", "higher_is_better": name not in less}
            for name in self.metrics
        ]
        return {
            "output_type": "generate_until",
            "test_split": "test",
            # Columns, not templates: of what a template writes, lm-eval takes "[2, 3]" for a list.
            "doc_to_text": "prompt",
            "doc_to_target": "answer",
            "generation_kwargs": {"until": [], "do_sample": False},
            "metric_list": listed,
            "metadata": {"version": 1.0, "units": self.units},
            **self.settings,
        }


def text_of(value: Any) -> str:
    """Return a value as a text: a text as it is, whatever else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def required(cells: Cells, column: str) -> str:
    """Return a column as a text.

    Raises:
        Unfit: It is missing or empty.
    """
    text = text_of(cells.get(column, ""))
    if not text.strip():
        raise Unfit(f"has no {column}", "Give it one, or remove the row.")
    return text


def parsed(cells: Cells, column: str) -> Any:
    """Return a column that is JSON, as an object or as a text.

    Raises:
        Unfit: It is missing, or a text that is no JSON.
    """
    if column not in cells:
        raise Unfit(f"has no {column}", "Give it one, or remove the row.")
    value = cells[column]
    if not isinstance(value, str):
        return value
    try:
        return whole(json.loads(value))
    except (ValueError, RecursionError):
        raise Unfit(f"has a {column} that is no JSON: {value:.60}", "Write it as JSON.") from None
