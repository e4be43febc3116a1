"""Pairs that are too long lose words until they fit the baseline's window, by its own tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.models.tokenizer import load
from infra.store.settings import Settings
from infra.suite import cutting
from infra.suite.own import example
from infra.suite.own.definition import load as load_rows
from tests.broken_checkpoints import SAMPLE

ASSISTANT = SAMPLE.parent / "assistant"
SHORT = {"prompt": ["2 + 2?"], "response_a": "4", "response_b": ["5"], "winner": "a"}
LONG = {
    "prompt": json.dumps(["Begin. " + "A question. " * 60 + "The end?", "And then?"]),
    "response_a": ["One. " * 200 + "So A.", None], "response_b": "short", "winner": "b",
}  # fmt: skip


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def cut(
    tmp_path: Path, *rows: Any, window: int | None = 300, beside: str = "", **fields: Any
) -> tuple[list[Any], TaskSpec, list[str]]:
    file = tmp_path / "judge.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if beside:
        file.with_suffix(".yaml").write_text(beside)
    spec = EvaluationSpec(tasks=(TaskSpec(name="judge", file=str(file)),), **fields)
    said = Said()
    found = cutting.cut(
        spec, ASSISTANT, window, settings=Settings(cache=tmp_path / "cache"), progress=said
    )
    [task] = found.tasks
    return list(load_rows(Path(str(task.file))).rows), task, said.lines


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("window", [180, 300, 700])
def test_every_prompt_fits_and_hardly_less_than_the_window_is_used(
    tmp_path: Path, window: int, chat: bool
) -> None:
    tokenizer = load(ASSISTANT)
    rows, _, said = cut(
        tmp_path, SHORT, LONG, window=window, chat_template=chat, system_instruction="Be fair."
    )
    lengths = []
    for row in rows:
        messages = [
            {"role": "system", "content": "Be fair."}, {"role": "user", "content": row["prompt"]},
        ]  # fmt: skip
        shown = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        text = shown if chat else f"Be fair.\n{row['prompt']}"
        lengths.append(len(tokenizer(text, add_special_tokens=False)["input_ids"]))
    assert max(lengths) < window - 2
    assert max(lengths) > 0.8 * window
    assert [row["cut"] != "0" for row in rows] == [False, False, True, True]
    assert said == [
        f"judge: 1 of 2 pairs lose words, so that each fits {window:,} tokens of the baseline's "
        "own tokenizer; all arms are asked the same"
    ]


def test_texts_lose_their_middle_and_short_ones_nothing(tmp_path: Path) -> None:
    rows, _, _ = cut(tmp_path, LONG)
    for row in rows:
        prompt = row["prompt"]
        for part in ("[User]\nBegin. ", "The end?", "[User]\nAnd then?", "short", "So A.",
                     "\n[…]\n", "(nothing)"):  # fmt: skip
            assert part in prompt
        assert row["cut"] == "2"
    assert rows[0]["answer"] == "B"


def test_worked_examples_take_no_room_since_none_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "judge.jsonl"
    file.write_text(json.dumps(LONG) + "\n")
    settings = Settings(cache=tmp_path / "cache")
    found = []
    for shots in (0, 1):
        spec = EvaluationSpec(tasks=(TaskSpec(name="judge", file=str(file), num_fewshot=shots),))
        [task] = cutting.cut(spec, ASSISTANT, 300, settings=settings, progress=Silent()).tasks
        found.append([row["prompt"] for row in load_rows(Path(str(task.file))).rows])
    assert found[0] == found[1]


def test_the_example_to_begin_with_is_cut_by_the_tokenizer(tmp_path: Path) -> None:
    """Its settings explain `longest`, and do not set it: then letters would decide."""
    rows, settings = example.write("preference", tmp_path / "mine.jsonl")
    assert "# longest: 12000" in settings.read_text()
    spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(rows)),))
    assert [one.name for one in cutting.pending(spec)] == ["mine"]


def test_what_fits_is_left_alone(tmp_path: Path) -> None:
    rows, task, said = cut(tmp_path, SHORT)
    assert task.file == str(tmp_path / "judge.jsonl")
    assert ([row["cut"] for row in rows], said) == (["0", "0"], [])


def test_a_window_with_more_room_than_letters_allow_cuts_nothing(tmp_path: Path) -> None:
    row = SHORT | {"response_a": "word " * 4000}
    assert [one["cut"] for one in cut(tmp_path, row, window=None)[0]] == ["1", "1"]  # by letters
    rows, _, said = cut(tmp_path, row, window=100_000)
    assert [one["cut"] for one in rows] == ["0", "0"]
    assert said == []


def test_who_sets_letters_is_cut_by_letters(tmp_path: Path) -> None:
    rows, task, said = cut(tmp_path, LONG, beside="preference: {longest: 100}\n")
    assert task.file == str(tmp_path / "judge.jsonl")
    assert (rows[0]["cut"], said) == ("2", [])


def test_what_was_missing_stays_missing(tmp_path: Path) -> None:
    long = {name: text for name, text in LONG.items() if name != "response_b"}
    rows, _, _ = cut(tmp_path, SHORT, long)
    assert [row["nothing_to_ask"] for row in rows[2:]] == ["has no response_b"] * 2


def test_other_kinds_and_files_that_cannot_be_read_do_not_wait(tmp_path: Path) -> None:
    (tmp_path / "exact.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    tasks = tuple(
        TaskSpec(name=name, file=str(tmp_path / f"{name}.jsonl")) for name in ("exact", "gone")
    )
    spec = EvaluationSpec(tasks=(*tasks, TaskSpec(name="gsm8k")))
    assert cutting.pending(spec) == []
