"""Retrieval of misconceptions: which of a long list is behind a pupil's wrong answer.

As in the Eedi competition on Kaggle: a question with four answers becomes a row for each wrong one
whose misconception is known. The model is shown worked examples, and writes a name several times;
every answer ranks the list by the nearness of vectors, and Borda's count makes one ranking of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.contracts.errors import DatasetError, EvaluationError
from infra.suite.own import ranking
from infra.suite.own.kind import Defined, Kind, Unfit, text_of
from infra.suite.own.misconceptions import id_of, read_list
from infra.suite.own.table import Cells, read
from infra.suite.own.worked_examples import Pool, Wrong, examples_for

LETTERS = ("A", "B", "C", "D")
ROW, RANKED = "QuestionId_Answer", "MisconceptionId"
"""Columns of a submission: which wrong answer, and the ids of the likeliest misconceptions."""

DRAWN = "drawn"
"""Column that says with which settings and seeds the answers were drawn."""

_BEGINNING = "A pupil gave a wrong answer. Name the misconception behind it in one sentence."
_STOP = "\n"
_TOKENS = 64
_MOST, _HOTTEST = 256, 5
"""Samples and temperature, as in the run's own settings of how answers are drawn."""
_LIST = "misconceptions.csv"


@dataclass(frozen=True)
class Opened:
    """What the rows of one file share."""

    names: Mapping[str, str]
    """Id of each misconception → its name."""

    examples: Pool
    """Wrong answers with a misconception, to show before a question."""

    labelled: bool
    """Whether the file itself says which misconceptions are right."""


def prompt(
    wrong: Wrong, examples: Iterable[tuple[Wrong, str]] = (), *, beginning: str = _BEGINNING
) -> str:
    """Return how a wrong answer is put.

    Args:
        wrong: The answer.
        examples: Others, each with the name of its misconception.
        beginning: What comes first.
    """
    shown = [f"{_block(one)} {name}" for one, name in examples]
    return "\n\n".join([beginning, *shown, _block(wrong)])


def _block(wrong: Wrong) -> str:
    lines = {
        "Subject": wrong.subject[1],
        "Construct": wrong.construct[1],
        "Question": wrong.text,
        "Right answer": wrong.right,
        "Wrong answer": wrong.answer,
    }
    said = "".join(f"{title}: {text}\n" for title, text in lines.items() if text)
    return f"{said}Misconception:"


def open_beside(file: Path, options: Mapping[str, Any]) -> Opened:
    """Read the list of misconceptions, and the wrong answers that may be shown as examples.

    Raises:
        DatasetError: A file cannot be read, or a row of it names what is not in the list.
        EvaluationError: The options say what cannot be.
    """
    _require_options(options)
    folder = file.parent
    listed = folder / Path(options["misconceptions"]).expanduser()
    if not listed.is_file():
        raise DatasetError(
            f"The list of misconceptions {listed} is not there.",
            cause=f"{file.name} is of the kind retrieval: every answer ranks such a list.",
            remedy="Put it there, with the columns MisconceptionId and MisconceptionName, or name "
            "it in the YAML beside the file: `retrieval: {misconceptions: …}`.",
        )
    names = read_list(listed)
    own = list(_wrong_answers(file, names))
    labelled = any(one.misconception for one in own)
    shown = own
    if options["examples"]:
        shown = list(_wrong_answers(folder / Path(options["examples"]).expanduser(), names))
    examples = Pool(one for one in shown if one.misconception)
    if options["shots"] and not examples:
        raise DatasetError(
            f"{options['examples'] or file.name} names no misconception, so there is no example "
            "to show.",
            remedy="Set retrieval.examples to a file of questions whose misconceptions are known, "
            "or retrieval.shots to 0.",
        )
    return Opened(names, examples, labelled)


def _require_options(options: Mapping[str, Any]) -> None:
    wrong = {
        "retrieval.shots is below 0": options["shots"] < 0,
        f"retrieval.samples is not from 1 to {_MOST}": not 1 <= options["samples"] <= _MOST,
        f"retrieval.temperature is not from 0 to {_HOTTEST}": not 0
        <= options["temperature"]
        <= _HOTTEST,
        "retrieval.top_p is not above 0 and at most 1": not 0 < options["top_p"] <= 1,
        "retrieval.samples is above 1, and retrieval.temperature is 0": options["samples"] > 1
        and not options["temperature"],
    }
    for fact, is_so in wrong.items():
        if is_so:
            raise EvaluationError(
                f"{fact}.",
                remedy=f"Set shots to 0 or more, samples to 1 to {_MOST} (above 1 with a "
                f"temperature above 0, up to {_HOTTEST}), and top_p up to 1.",
            )


def _wrong_answers(file: Path, names: Mapping[str, str]) -> Iterator[Wrong]:
    places: dict[str, str] = {}
    for place, cells in read(file):
        try:
            number = id_of(cells.get("QuestionId"))
            if (first := places.setdefault(number, place)) != place:
                raise Unfit(
                    f"has the QuestionId {number:.40}, as {first} has",
                    "Give every question an id of its own: examples are never of the same one, "
                    "and a submission has one line for each answer.",
                )
            yield from wrong_answers(cells, names)
        except Unfit as error:
            raise DatasetError(
                f"{place.capitalize()} of {file.name} {error}.", remedy=error.remedy
            ) from None


def wrong_answers(cells: Cells, names: Mapping[str, str]) -> Iterator[Wrong]:
    """Yield each wrong answer of a question, with its misconception where that is known.

    Args:
        cells: The question.
        names: The list of misconceptions.

    Raises:
        Unfit: It lacks something, or names what is not in the list.
    """
    question, text = id_of(cells.get("QuestionId")), _cell(cells, "QuestionText")
    right = _cell(cells, "CorrectAnswer").upper()
    if lacking := [
        name for name, value in (("QuestionId", question), ("QuestionText", text)) if not value
    ]:
        raise Unfit(f"has no {lacking[0]}", "Give it one, or remove the row.")
    if right not in LETTERS:
        raise Unfit(f"has the CorrectAnswer {right!r:.40}", f"Write one of {', '.join(LETTERS)}.")
    answers = {letter: _cell(cells, f"Answer{letter}Text") for letter in LETTERS}
    known = {letter: id_of(cells.get(f"Misconception{letter}Id")) for letter in LETTERS}
    if not answers[right]:
        raise Unfit(f"has no Answer{right}Text, which is the right one", "Write it.")
    if known[right]:
        raise Unfit(
            f"names a misconception behind {right}, which is its right answer",
            f"Take Misconception{right}Id out, or correct CorrectAnswer.",
        )
    for letter in LETTERS:
        if known[letter] and known[letter] not in names:
            raise Unfit(
                f"names the misconception {known[letter]:.40}, which is not in the list",
                "Add it to the list, or correct the id.",
            )
        if known[letter] and not answers[letter]:
            raise Unfit(f"has no Answer{letter}Text, but its misconception", "Write it.")
        if letter != right and answers[letter]:
            yield Wrong(
                question, letter,
                (id_of(cells.get("SubjectId")), _cell(cells, "SubjectName")),
                (id_of(cells.get("ConstructId")), _cell(cells, "ConstructName")),
                text, answers[right], answers[letter], known[letter],
            )  # fmt: skip


def _cell(cells: Cells, name: str) -> str:
    return " ".join(text_of(cells.get(name, "")).split())


def _read(
    cells: Cells, *, opened: Opened, shots: int, fallback: str, beginning: str, **_: Any
) -> Iterator[dict[str, Any]]:
    for wrong in wrong_answers(cells, opened.names):
        if opened.labelled and not wrong.misconception:
            continue
        found = list(examples_for(wrong, opened.examples, shots, fallback))
        shown = [(one, opened.names[one.misconception]) for one, _ in found]
        yield {
            ROW: wrong.name,
            "prompt": prompt(wrong, shown, beginning=beginning),
            "answer": opened.names.get(wrong.misconception, ""),
            "right_id": wrong.misconception,
            "listed": str(len(opened.names)),
            "examples": json.dumps([[one.name, by] for one, by in found]),
            # Filled in when it is ranked.
            RANKED: "",
            DRAWN: "",
        }


def _define(opened: Opened, options: Mapping[str, Any]) -> Defined:
    """Return what the definition says besides: how it is sampled, and what is ranked."""
    drawn = options["temperature"] > 0
    listed = json.dumps(
        {"ids": list(opened.names), "names": list(opened.names.values())}, ensure_ascii=False
    )
    file = f"ranked-{hashlib.sha256(listed.encode()).hexdigest()[:16]}.json"
    chance = ranking.chance(len(opened.names))
    return Defined(
        keys={
            "repeats": options["samples"],
            "filter_list": [
                {
                    "name": "none",
                    "filter": [{"function": "take_first_k", "k": options["samples"]}],
                }
            ],
            "generation_kwargs": {
                "until": [_STOP],
                "max_gen_toks": _TOKENS,
                "do_sample": drawn,
                **(
                    {"temperature": options["temperature"], "top_p": options["top_p"]}
                    if drawn
                    else {}
                ),
            },
        },
        metadata={"ranks": file, **({"chance": chance} if opened.labelled else {})},
        files={file: listed},
    )


_EXAMPLE: Mapping[str, Any] = {
    "ConstructId": 12, "ConstructName": "Use the order of operations",
    "SubjectId": 3, "SubjectName": "Arithmetic", "CorrectAnswer": "A",
}  # fmt: skip

_OPTIONS: Mapping[str, Any] = {
    "misconceptions": _LIST, "examples": "", "shots": 2, "fallback": "any", "samples": 5,
    "temperature": 0.7, "top_p": 0.95, "beginning": _BEGINNING,
}  # fmt: skip
_LIKE: Mapping[str, Any] = {
    "asked_in": ("QuestionText",),
    "read": _read,
    "options": _OPTIONS,
    "choices": {"fallback": ("any", "none")},
    "paths": ("misconceptions", "examples"),
    "embeds": lambda options: True,
    "opens": open_beside,
    "defines": _define,
    # Another answer to the same question would be shown as an example, with its misconception.
    "settings": {"num_fewshot": 0},
    "decides": ("repeats", "filter_list", "num_fewshot", "fewshot_config"),
}
"""What rows with and without labels share."""

_UNLABELLED = Kind(
    name="retrieval",
    column="AnswerAText",
    meaning="an answer (with AnswerBText to AnswerDText); CorrectAnswer is the right one's letter",
    metrics=("answered",),
    marks="retrieval_unlabelled",
    submits="retrieval",
    **_LIKE,
)

RETRIEVAL = Kind(
    name="retrieval",
    column="AnswerAText",
    meaning="an answer (with AnswerBText to AnswerDText); CorrectAnswer is the right one's letter, "
    "and MisconceptionAId to MisconceptionDId say what is behind a wrong one",
    metrics=("map_at_25", "recall_at_25", "rank"),
    values=("rank",),
    marks="retrieval",
    example=(
        {"QuestionId": 1, "QuestionText": "3 + 4 × 5 = ?", **_EXAMPLE, "AnswerAText": "23",
         "AnswerBText": "35", "AnswerCText": "60", "AnswerDText": "12", "MisconceptionBId": 0,
         "MisconceptionDId": 1},
        {"QuestionId": 2, "QuestionText": "2 + 6 × 2 = ?", **_EXAMPLE, "AnswerAText": "14",
         "AnswerBText": "16", "AnswerCText": "24", "AnswerDText": "10", "MisconceptionBId": 0,
         "MisconceptionDId": 1},
    ),
    beside={
        _LIST: "MisconceptionId,MisconceptionName\n"
        "0,Carries out operations from left to right\n"
        "1,Adds where it should multiply\n"
        "2,Leaves out a number\n",
    },
    labels=tuple(f"Misconception{letter}Id" for letter in LETTERS),
    unlabelled=_UNLABELLED,
    **_LIKE,
)  # fmt: skip
"""Judged by the mean average precision at 25 places."""
