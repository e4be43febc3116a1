"""Preference judging: which of two answers is better, or neither, as in the LMSYS Chatbot Arena.

The model is shown the conversation with both answers and is asked for one letter. The probabilities
of the three letters, normalised, are the judgement; nothing is generated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from infra.suite.own.kind import NOT_ASKED, Kind, Unfit, parsed, text_of
from infra.suite.own.table import Cells

LABELS = ("A", "B", "C")
"""What the model says: the first answer, the second one, neither."""

_WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
_NAMES = {
    "a": 0, "model_a": 0, "response_a": 0, "b": 1, "model_b": 1, "response_b": 1,
    "tie": 2, "c": 2,
}  # fmt: skip
_BEGINNING = (
    "Two assistants, A and B, answered the same user. Judge which of them helped the user better. "
    "Answer with one letter: A, B, or C if neither did."
)
_END = "The better assistant:"
GAP = "\n[…]\n"
"""What stands in place of words that were cut."""

CUT = "cut_to_window"
"""Column: how many texts of a row were cut before, to fit a window; see `infra.suite.cutting`."""

UNCUT = 10**9
"""Letters that no conversation has."""

COLUMNS = ("prompt", "question", "response_a", "response_b")
"""Where texts stand."""


def _read(
    cells: Cells, *, both_orders: bool, longest: int, beginning: str, end: str
) -> Iterator[dict[str, Any]]:
    for asked in _asked(cells, both_orders, longest, beginning, end):
        winner = _winner(cells)
        gold = winner if asked["order"] == "ab" or winner == 2 else 1 - winner
        yield {**asked, "gold": gold, "answer": LABELS[gold]}


def _read_unlabelled(
    cells: Cells, *, both_orders: bool, longest: int, beginning: str, end: str
) -> Iterator[dict[str, Any]]:
    # lm-eval wants a right choice of every row; nothing is marked by it.
    for asked in _asked(cells, both_orders, longest, beginning, end):
        yield {**asked, "gold": 2, "answer": LABELS[2]}


def _asked(
    cells: Cells, both_orders: bool, longest: int, beginning: str, end: str
) -> Iterator[dict[str, Any]]:
    if longest < 1:
        raise Unfit(f"cannot be cut to {longest} letters", "Set preference.longest above 0.")
    lacking = [name for name in ("response_a", "response_b") if name not in cells]
    asked = _turns(cells, "prompt" if "prompt" in cells else "question")
    answers = [_turns(cells, name) for name in ("response_a", "response_b")]
    if not any(text.strip() for text in asked):
        lacking = ["prompt", *lacking]
    before = str(cells.get(CUT, 0))
    for order in (0, 1) if both_orders else (0,):
        first, second = answers if order == 0 else answers[::-1]
        shown, cut = _shown(asked, first, second, longest)
        yield {
            "prompt": f"{beginning}\n\n{shown}\n\n{end}",
            "order": "ba" if order else "ab",
            "cut": str(cut + (int(before) if before.isdigit() else 0)),
            "letters": list(LABELS),
            NOT_ASKED: f"has no {lacking[0]}" if lacking else "",
        }


def prompts_of(cells: Cells, **options: Any) -> list[str]:
    """Return what is asked about a row, in each order.

    Raises:
        Unfit: It cannot be asked.
    """
    return [str(one["prompt"]) for one in _asked(cells, **options)]


def turns_of(cells: Cells) -> dict[str, list[str]]:
    """Return the turns of each column that a row has."""
    return {name: _turns(cells, name) for name in COLUMNS if name in cells}


def _turns(cells: Cells, column: str) -> list[str]:
    """Return the turns of a column: a list, a list that is written as JSON, or one text.

    A turn that is null is one to which nothing was said.
    """
    value = cells.get(column)
    if isinstance(value, str) and value[:1] == "[":
        with suppress(Unfit):  # a text may begin with a bracket
            value = parsed(cells, column)
    turns = value if isinstance(value, list) else [value]
    return ["" if turn is None else text_of(turn) for turn in turns]


def _winner(cells: Cells) -> int:
    if "winner" in cells and any(name in cells for name in _WINNERS):
        raise Unfit(
            f"says twice who won, in winner and in {', '.join(_WINNERS)}", "Leave one of the two."
        )
    if "winner" in cells:
        name = str(cells["winner"]).strip().casefold()
        if name.startswith("tie"):
            return 2
        if name not in _NAMES:
            raise Unfit(f"has the winner {name!r}", "Write model_a, model_b or tie.")
        return _NAMES[name]
    given = [str(cells.get(name, "")).strip().casefold() for name in _WINNERS]
    won = [number for number, one in enumerate(given) if one in ("1", "1.0", "true")]
    if len(won) != 1:
        raise Unfit(
            f"has {len(won)} winners",
            f"Set one of {', '.join(_WINNERS)} to 1, or write the winner as `winner`.",
        )
    return won[0]


def _shown(
    asked: Sequence[str], first: Sequence[str], second: Sequence[str], longest: int
) -> tuple[str, int]:
    """Return the conversation with both answers, and how many of its texts were cut.

    What is too long loses its middle, each text alike, so that the last turn stays: all arms are
    asked the same words, whatever their tokenizers make of them.
    """
    columns = (("User", asked), ("Assistant A", first), ("Assistant B", second))
    turns = range(max(len(texts) for _, texts in columns))
    texts = [
        (who, texts[turn].strip() or "(nothing)")
        for turn in turns
        for who, texts in columns
        if turn < len(texts)
    ]
    most = allowed([len(text) for _, text in texts], longest)
    cut = [_cut(text, most) for _, text in texts]
    shown = "\n\n".join(f"[{who}]\n{text}" for (who, _), text in zip(texts, cut, strict=True))
    return shown, sum(len(text) > most for _, text in texts)


def allowed(lengths: Sequence[int], longest: int) -> int:
    """Return how long a text may be, so that all of them together are no longer than allowed.

    Short texts stay whole, and leave the room to longer ones.
    """
    left = longest
    for number, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - number)
        if length > share:
            return max(share, 1)
        left -= length
    return max(lengths)


def _cut(text: str, allowed: int) -> str:
    if len(text) <= allowed:
        return text
    head = (allowed + 1) // 2
    return text[:head] + GAP + text[len(text) - (allowed - head) :]


_OPTIONS = {"both_orders": True, "longest": 12000, "beginning": _BEGINNING, "end": _END}
_SETTINGS = {
    "output_type": "multiple_choice",
    "doc_to_choice": "letters",
    "doc_to_target": "gold",
    # The other order of the same pair would be shown as an example, with the right letter.
    "num_fewshot": 0,
}
_DECIDES = ("num_fewshot", "fewshot_config")
_UNLABELLED = Kind(
    name="preference",
    column="response_a",
    meaning="an answer, with response_b the other one; which is better is what is asked",
    read=_read_unlabelled,
    metrics=("entropy",),
    losses=("entropy",),
    marks="preference_unlabelled",
    settings=_SETTINGS,
    decides=_DECIDES,
    options=_OPTIONS,
    # Letters decide then what is cut, and no tokenizer.
    decides_by_presence=("longest",),
    may_ask_nothing=True,
    submits="preference",
)
PREFERENCE = Kind(
    name="preference",
    column="response_a",
    meaning="an answer (with response_b the other one), a text or a list of turns; the better one "
    "is told by winner_model_a, winner_model_b, winner_tie (1 or 0), or by `winner`",
    read=_read,
    metrics=("log_loss", "acc"),
    losses=("log_loss",),
    marks="preference",
    example=(
        {"prompt": ["Name a prime above 10."], "response_a": ["11"], "response_b": ["12"],
         "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0},
        {"prompt": json.dumps(["Hello!", "Say it in French."]),
         "response_a": json.dumps(["Hello!", None]), "response_b": json.dumps(["Hi.", "Bonjour."]),
         "winner": "model_b"},
    ),
    settings=_SETTINGS,
    decides=_DECIDES,
    options=_OPTIONS,
    # Letters decide then what is cut, and no tokenizer.
    decides_by_presence=("longest",),
    may_ask_nothing=True,
    labels=("winner", *_WINNERS),
    unlabelled=_UNLABELLED,
)  # fmt: skip
