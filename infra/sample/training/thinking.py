"""Word problems that are thought about first, in a thought that the template opens."""

from __future__ import annotations

import random
from typing import Any

from infra.sample.training import chat
from infra.sample.training.arithmetic import word_problem
from infra.sample.training.formats import (
    END_OF_TEXT,
    TURN_END,
    TURN_START,
    Document,
    Segment,
    Weight,
)
from infra.sample.training.items import WordProblem
from infra.sample.training.judge import Pick

BEGIN, END = "<think>", "</think>"


def parts(problem: WordProblem) -> tuple[str, str]:
    """What is thought, and the number that is answered."""
    worked, _, number = problem.answer.rpartition("\n#### ")
    return worked, number


def document(pick: Pick, rng: random.Random) -> Document:
    """A training document; the prompt ends as the template ends it."""
    problem = pick(word_problem, rng)
    worked, number = parts(problem)
    return [
        *chat.opening(),
        *chat.user(problem.question),
        Segment(f"{TURN_START}assistant\n{BEGIN}\n", 0),
        Segment(f"{worked}\n{END}\n\nThe answer is {number}.", Weight.TEXT),
        Segment(TURN_END, Weight.TEXT),
        Segment(END_OF_TEXT, Weight.TEXT),
    ]


def row(problem: WordProblem) -> dict[str, Any]:
    """A row of the kind `number`."""
    return {"question": problem.question, "number": int(parts(problem)[1].replace(",", ""))}
