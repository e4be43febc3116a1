"""What is thought is no part of the answer, and an answer that ends within a thought is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.progress import Silent
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec, TaskSpec, ThinkingSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.harness.thinking import answer_of, is_unfinished, opened
from tests.infra.suite.harness.completions_server import Completions, serving

MARKS = ThinkingSpec()


@pytest.mark.parametrize(
    ("text", "answer", "unfinished"),
    [
        ("84", "84", False),
        ("<think>12 * 7</think>\n\nIt is 84.", "It is 84.", False),
        ("12 * 7</think>84", "84", False),  # the template had opened it
        ("<think>12 * 7 is 80 or", "", True),
        ("<think>one</think>\n<think>two", "", True),
        ("<think>one</think><think>two</think> 84", "84", False),
        ("<think></think>\n\n84", "84", False),
        ("<think>a\n\nb</think>84\n\nQuestion: more", "84", False),
        ("", "", False),
    ],
)
def test_the_answer_stands_behind_the_thought(text: str, answer: str, unfinished: bool) -> None:
    assert answer_of(text, MARKS, ["\n\nQ"]) == answer
    assert is_unfinished(text, MARKS) == unfinished


def test_other_marks_and_prompts_that_open_a_thought() -> None:
    marks = ThinkingSpec(begin="[T]", end="[/T]")
    assert answer_of("[T]<think>[/T]84", marks) == "84"
    assert opened("[assistant][T]\n", marks)
    assert not opened("[T] what is that?", marks)


def ask(
    tmp_path: Path, tokenizer: Path, reply: Callable[[list[int]], str], **fields: Any
) -> tuple[TaskScores, list[dict[str, Any]], Completions]:
    file = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {n} * 7?", "number": n * 7} for n in range(10, 14)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file.with_suffix(".yaml").write_text('generation_kwargs: {until: ["\\n\\n"]}\n')
    spec = EvaluationSpec(tasks=(TaskSpec(name="sums", file=str(file)),), concurrency=2, **fields)
    suite = kind_of(spec).prepare(
        spec, settings=Settings(cache=tmp_path / "cache"), progress=Silent()
    )
    samples = tmp_path / "samples.jsonl"
    with serving(Completions(reply=reply)) as server:
        scores = suite.ask("sums", server, tokenizer, samples, Silent())
    return scores, [json.loads(line) for line in samples.read_text().splitlines()], server


def thought(_: list[int]) -> str:
    """Think in two paragraphs that name a wrong number, then answer."""
    return "<think>perhaps 5\n\nor not</think>\n\n70\n\nNext: 6"


def test_the_answer_is_marked_and_the_whole_is_kept(tmp_path: Path, tokenizer: Path) -> None:
    scores, rows, server = ask(tmp_path, tokenizer, thought, thinking=MARKS)
    assert scores.metrics["exact_match,none"].value == 0.25  # 70 is right of the first alone
    assert rows[0]["filtered"]["none"] == ["70"]
    assert rows[0]["responses"] == [[thought([])]]
    assert (scores.unfinished, rows[0]["finish_reason"]) == (0, "stop")
    # A stop string would have ended the thought.
    assert {tuple(body.get("stop") or ()) for body in server.requests} == {()}
    assert scores.conditions["thinking"] == {"begin": "<think>", "end": "</think>"}


def test_without_marks_all_of_it_is_the_answer(tmp_path: Path, tokenizer: Path) -> None:
    scores, rows, server = ask(tmp_path, tokenizer, thought)
    assert rows[0]["filtered"]["none"] == [thought([])]
    assert {tuple(body.get("stop") or ()) for body in server.requests} == {("\n\n",)}
    assert (scores.unfinished, "thinking" in scores.conditions) == (0, False)


def test_an_answer_that_ends_within_a_thought_is_none_and_is_counted(
    tmp_path: Path, tokenizer: Path
) -> None:
    # The last number of the thought would be right for the first row.
    scores, rows, _ = ask(tmp_path, tokenizer, lambda _: "<think>it is 70", thinking=MARKS)
    assert scores.metrics["exact_match,none"].value == 0
    assert scores.unfinished == 4
    assert {row["finish_reason"] for row in rows} == {"thinking"}


def test_a_thought_that_the_template_opens_is_one(tmp_path: Path, tokenizer: Path) -> None:
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(tokenizer)
    own.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}[assistant]<think>\n"
    folder = tmp_path / "tokenizer"
    own.save_pretrained(folder)
    scores, rows, _ = ask(
        tmp_path, folder, lambda _: "it is 70", thinking=MARKS, chat_template=True
    )
    assert scores.unfinished == 4
    assert rows[0]["responses"] == [["<think>it is 70"]]
