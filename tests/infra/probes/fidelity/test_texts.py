from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Silent
from infra.contracts.specs import CalibrationSpec, FidelitySpec
from infra.conversations.calibration import load_tokenizer
from infra.probes.fidelity import texts
from infra.store.settings import Settings
from infra.suite.harness.prepared import prepared
from infra.suite.harness.suite import HarnessSuite
from tests.broken_checkpoints import SAMPLE
from tests.infra.suite.harness.conftest import Heard, evaluation

SECRET = (
    "the quick brown fox jumps over the lazy dog while seven wizards boil quinces in the old kiln"
)

OTHER = (
    "a river that rises in the hills runs past nine old mills and two towns before it meets the sea"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(SAMPLE)


def conversations(
    folder: Path, *contents: str, name: str = "conversations"
) -> list[CalibrationSpec]:
    """Conversations that one candidate was made from."""
    file = folder / f"{name}.jsonl"
    rows = [{"messages": [{"role": "user", "content": text}]} for text in contents]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [CalibrationSpec(path=str(file), min_samples=1)]


def words_of(found: texts.Texts, tokenizer: Any) -> list[str]:
    return [tokenizer.decode(list(text)) for text in found.tokens]


# --- files ---------------------------------------------------------------------------------


def written(folder: Path, name: str, content: str | bytes) -> FidelitySpec:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return FidelitySpec(texts=str(file))


def test_paragraphs_are_apart_by_blank_lines(tmp_path: Path) -> None:
    spec = written(tmp_path, "t.txt", "\n\nOne\nstill one.\r\n \nTwo.\n\n\n\nThree.")
    assert list(texts.read(spec)) == ["One\nstill one.", "Two.", "Three."]
    assert texts.check(spec).startswith("3 texts")


def test_lines_of_jsonl_are_texts(tmp_path: Path) -> None:
    lines = '{"text": "One\\n\\nstill one."}\n\n{"text": " "}\n{"text": "Two\u2028.", "id": 3}\n'
    assert [*texts.read(written(tmp_path, "t.jsonl", lines))] == ["One\n\nstill one.", "Two\u2028."]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", '["One.", "Two."]'),
        ("t.json", '[\n {"text": "One."},\n {"text": "Two."}\n]'),
        ("t.txt", '{"text": "One."}\n{"text": "Two."}'),
        ("t.csv", "id,text\n1,One.\n2,Two.\n"),
        ("t.gz", gzip.compress(b"One.\n\nTwo.")),
        ("t.txt", "One.\n\nTwo.".encode("utf-8-sig")),
        ("t.txt", "One.\n\nTwo.".encode("utf-16")),
    ],
)
def test_texts_are_recognized_by_content(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert list(texts.read(written(tmp_path, name, content))) == ["One.", "Two."]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", " \n\n\t\n", "holds no text"),
        ("t.jsonl", "", "holds no text"),
        ("t.jsonl", '{"text": "One."}\n{"text": 2}\n', "Line 2 of"),
        ("t.jsonl", '{"text": "One."}\n{"content": "Two."}\n', "Line 2 of"),
        ("t.jsonl", '[["One."]]\n', "Line 1 of"),
        ("t.jsonl", '{"text": "One."}\n\nTwo.\n', "Line 3 of"),
        ("t.txt", b"\xff\xfe", "holds no text"),
        ("t.txt", "One.\n\nGrüße".encode("latin-1"), "Line 3 of .* not utf-8"),
    ],
)
def test_a_file_without_texts_is_said(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        texts.check(written(tmp_path, name, content))
    print(caught.value)
    assert caught.value.remedy


def test_a_missing_file_is_said() -> None:
    with pytest.raises(DatasetError, match="No such file") as caught:
        texts.check(FidelitySpec(texts="nowhere/t.txt"))
    assert "relative to" in caught.value.cause


def test_texts_are_cut_counted_and_each_is_read_once(tmp_path: Path, tokenizer: Any) -> None:
    lines = [
        f"Text number {number} is about {number} apples and pears, and some more."
        for number in range(9)
    ]
    spec = written(tmp_path, "t.txt", "\n\n".join([lines[0], lines[0], *lines, ""]))
    spec = spec.model_copy(update={"documents": 5, "max_tokens": 16})
    found = texts.of_file(
        spec, conversations(tmp_path, "Hello."), tokenizer, settings=Settings(), progress=Silent()
    )
    whole = [tokenizer(line)["input_ids"] for line in lines]
    assert max(map(len, whole)) > 16
    assert [list(text) for text in found.tokens] == [ids[:16] for ids in whole[:5]]
    assert found.origin == "t.txt"
    assert found.cut(4).tokens == tuple(text[:4] for text in found.tokens)
    assert found.cut(4).digest != found.digest == found.cut(16).digest


def test_what_was_shown_to_awq_is_left_out(tmp_path: Path, tokenizer: Any) -> None:
    shared = f"Once more: {SECRET.upper()}!"
    spec = written(tmp_path, "t.txt", f"{shared}\n\nSomething else entirely.")
    heard = Heard()
    shown = conversations(tmp_path, "Hello.", f"I say that {SECRET}.")
    found = texts.of_file(spec, shown, tokenizer, settings=Settings(), progress=heard)
    assert words_of(found, tokenizer) == ["Something else entirely."]
    assert "left out 1 text" in heard.said[0]
    alone = written(tmp_path, "t.txt", shared)
    with pytest.raises(DatasetError, match="No text of") as caught:
        texts.of_file(alone, shown, tokenizer, settings=Settings(), progress=heard)
    assert "calibration" in caught.value.cause


def test_what_any_candidate_was_shown_is_left_out(tmp_path: Path, tokenizer: Any) -> None:
    spec = written(tmp_path, "t.txt", f"Once more: {SECRET}!\n\n{OTHER}\n\nSomething else.")
    one = conversations(tmp_path, f"I say that {SECRET}.", name="one")
    two = conversations(tmp_path, f"You say: {OTHER}", name="two")

    def left(shown: list[CalibrationSpec]) -> int:
        found = texts.of_file(spec, shown, tokenizer, settings=Settings(), progress=Silent())
        return len(found.tokens)

    assert [left(shown) for shown in ([], one, two, one + two)] == [3, 2, 2, 1]


# --- questions of the tasks ----------------------------------------------------------------


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> HarnessSuite:
    settings = Settings(cache=tmp_path_factory.mktemp("cache"))
    spec = evaluation("gsm8k", "gpqa_main_zeroshot")
    return prepared(spec, settings=settings, progress=Silent())


def questions(
    suite: HarnessSuite, shown: list[CalibrationSpec], tokenizer: Any, documents: int
) -> texts.Texts:
    spec = FidelitySpec(documents=documents)
    return texts.of_tasks(suite, spec, shown, tokenizer, settings=Settings(), progress=Silent())


def test_questions_are_taken_evenly_and_by_chance(
    suite: HarnessSuite, tmp_path: Path, tokenizer: Any
) -> None:
    shown = conversations(tmp_path, "Hello.")
    found = questions(suite, shown, tokenizer, 20)
    rows = {
        name: [
            tuple(tokenizer(task.doc_to_text(row))["input_ids"]) for row in task.eval_docs
        ]
        for part in suite.parts.values()
        for name, task in part.tasks.items()
    }  # fmt: skip
    whose = [next(name for name, texts in rows.items() if text in texts) for text in found.tokens]
    assert Counter(whose) == {"gsm8k": 10, "gpqa_main_zeroshot": 10}
    places = [rows["gsm8k"].index(text) for text in found.tokens if text in rows["gsm8k"]]
    assert places != sorted(places)
    assert questions(suite, shown, tokenizer, 20) == found
    assert found.origin == "questions of gsm8k, gpqa_main_zeroshot"
    # A task with few rows leaves its turns to the others.
    everything = questions(suite, shown, tokenizer, 4096)
    assert set(everything.tokens) == {text for texts in rows.values() for text in texts}


def test_a_question_that_awq_was_shown_is_left_out(
    suite: HarnessSuite, tmp_path: Path, tokenizer: Any
) -> None:
    before = words_of(questions(suite, conversations(tmp_path, "Hello."), tokenizer, 8), tokenizer)
    shown = conversations(tmp_path, "Hello.", f"Please solve this. {before[0]} Thank you!")
    after = words_of(questions(suite, shown, tokenizer, 8), tokenizer)
    assert before[0] not in after
    assert len(after) == 8
