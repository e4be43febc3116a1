"""Rows of a file are put to a server once each, and a killed run asks for what it lacks alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.own.kinds import KINDS
from infra.suite.own.retrieval import RETRIEVAL
from infra.suite.port import AnswerFile
from tests.conftest import ROOT
from tests.infra.suite.harness.completions_server import Completions, logprob, serving

MODEL = ROOT / "infra" / "sample" / "model"
PAIRS = [
    {"prompt": f"Name a prime above {n}.", "response_a": str(n + 1), "response_b": str(n + 3),
     "winner": "model_a" if n % 2 else "model_b"}
    for n in range(10, 16)
]  # fmt: skip

# Of libraries that read likeness to a reference.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def questions(server: Completions, first: int | None = None) -> list[tuple[int, ...]]:
    """Return the prompts sent, but for the one token that finds out what a server can."""
    sent = (
        prompt
        for body in server.requests[:first]
        for prompt in body.get("prompt") or [json.dumps([body["messages"], body["tools"]]).encode()]
    )
    return [tuple(prompt) for prompt in sent if len(prompt) > 1]


class Asked:
    """A file's task, and what became of asking it."""

    def __init__(self, folder: Path, rows: Any) -> None:
        self.file = folder / "mine.jsonl"
        self.file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.samples = folder / "samples.jsonl"
        self.answers = AnswerFile(folder / "answers.sqlite", "one server")
        spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(self.file)),), concurrency=1)
        self.suite = kind_of(spec).prepare(
            spec, settings=Settings(cache=folder / "cache"), progress=Silent()
        )

    def ask(self, server: Completions) -> TaskScores:
        return self.suite.ask("mine", server, MODEL, self.samples, Silent(), self.answers)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.samples.read_text().splitlines()]


def test_a_judge_is_asked_once_for_each_order_and_gives_the_probabilities_of_the_letters(
    tmp_path: Path,
) -> None:
    asked = Asked(tmp_path, PAIRS)
    with serving(Completions()) as server:
        asked.ask(server)
    assert len(questions(server)) == 2 * len(PAIRS)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    letters = [tokenizer.encode(f" {letter}", add_special_tokens=False) for letter in "ABC"]
    assert [len(tokens) for tokens in letters] == [1, 1, 1]
    for row in asked.rows():
        prompt = tokenizer.encode(row["prompt"])
        whole = [logprob(prompt, tokens[0]) for tokens in letters]
        total = math.log(sum(map(math.exp, whole)))
        expected = total - whole[row["target"]]
        assert row["metrics"]["log_loss,none"] == pytest.approx(expected, abs=1e-6)


ONCE = [kind for kind in KINDS if kind is not RETRIEVAL]
"""Kinds that ask every question once."""


@pytest.mark.parametrize("kind", ONCE, ids=[kind.name for kind in ONCE])
def test_a_killed_run_sends_no_answered_question_again(tmp_path: Path, kind: Any) -> None:
    rows = PAIRS if kind.name == "preference" else _many(kind)
    asked = Asked(tmp_path, rows)
    with serving(Completions(die_after=4)) as dying, pytest.raises(EvaluationError):
        asked.ask(dying)
    before = questions(dying, 3)
    assert before
    with serving(Completions()) as server:
        scores = asked.ask(server)
    after = questions(server)
    assert max(Counter([*before, *after]).values()) == 1
    assert scores.n == len(asked.rows()) == len({*before, *after})


def _many(kind: Any) -> list[dict[str, Any]]:
    """Return a dozen questions of a kind, each in other words."""
    name = "prompt" if "prompt" in kind.example[0] else "question"
    return [{**row, name: f"{row[name]} ({number})"} for number in range(6) for row in kind.example]
