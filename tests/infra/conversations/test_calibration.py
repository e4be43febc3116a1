from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import CalibrationError
from infra.contracts.progress import Silent
from infra.contracts.specs import CalibrationSpec
from infra.conversations.calibration import Calibration, check_template, check_unrendered, prepare
from infra.store.settings import Settings
from tests import tiny_model
from tests.conftest import MOMENT

OVERHEAD = len("<|bos|>user\n<|eos|>\n") - len("<|bos|><|eos|>") + 2
"""Tokens of the template around one user message: each byte is one, each special token is one."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model"))


def calibrate(model: Path, path: Path, *, for_quantizer: bool = True, **fields: Any) -> Calibration:
    spec = CalibrationSpec(path=str(path), **{"min_samples": 1, "max_sequence_length": 64} | fields)
    return prepare(
        model, spec, moment=MOMENT, variables={},
        settings=Settings(cache=path.parent), progress=Silent(), for_quantizer=for_quantizer,
    )  # fmt: skip


def test_tokens_are_those_of_the_chat_template_and_no_more(model: Path, tmp_path: Path) -> None:
    """The tokenizer puts a BOS before every text, and so does the template: only one may stay."""
    from transformers import AutoTokenizer

    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40, 30])
    tokenizer = AutoTokenizer.from_pretrained(model)
    expected = [
        tokenizer.apply_chat_template(json.loads(line)["messages"], return_dict=False)
        for line in path.read_text().splitlines()
    ]
    found = calibrate(model, path)
    assert found.token_ids == expected
    assert found.token_ids[0][:2] != [tokenizer.bos_token_id] * 2


def test_the_card_counts_what_autoawq_would_drop(model: Path, tmp_path: Path) -> None:
    fits = 64 - OVERHEAD
    lengths = [fits, fits + 1, 30, 200, 40, 10, 10]
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", lengths)
    card = calibrate(model, path, max_samples=3).card
    assert (card.read, card.used) == (7, 3)
    assert (card.dropped_too_long, card.dropped_beyond_max) == (2, 2)
    assert (card.tokens_min, card.tokens_median, card.tokens_max) == (
        30 + OVERHEAD, 40 + OVERHEAD, 64
    )  # fmt: skip
    assert card.tokens_total == 64 + 30 + 40 + 2 * OVERHEAD


def test_the_fingerprint_follows_what_is_used_and_its_order(model: Path, tmp_path: Path) -> None:
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40, 30])
    lines = path.read_text().splitlines()

    def fingerprint(*order: int) -> str:
        path.write_text("\n".join(lines[number] for number in order))
        return calibrate(model, path, max_samples=2).card.fingerprint

    first = fingerprint(0, 1)
    assert fingerprint(0, 1, 1) == first
    assert fingerprint(1, 0) != first


def test_too_few_short_ones_are_refused_with_the_numbers(model: Path, tmp_path: Path) -> None:
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40, 100, 120])
    with pytest.raises(CalibrationError) as caught:
        calibrate(model, path, min_samples=2)
    assert caught.value.fact.startswith("1 usable")
    assert "2 of 3 have more than max_sequence_length=64" in caught.value.cause
    assert f"shortest of them {100 + OVERHEAD}" in caught.value.cause


def test_less_than_one_block_is_refused(model: Path, tmp_path: Path) -> None:
    """AutoAWQ would die in `torch.cat(): expected a non-empty list`."""
    lengths = [20 - OVERHEAD, 43 - OVERHEAD]
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", lengths)
    with pytest.raises(CalibrationError, match="hold 63 tokens, fewer than one block"):
        calibrate(model, path)
    assert calibrate(model, path, for_quantizer=False).card.tokens_total == 63
    path = tiny_model.write_conversations(path, [lengths[0], lengths[1] + 1])
    assert calibrate(model, path).card.tokens_total == 64


def test_what_renders_to_the_same_text_counts_once(model: Path, tmp_path: Path) -> None:
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40, 30, 35])
    first, second, third = path.read_text().splitlines()
    once = calibrate(model, path)
    path.write_text("\n".join([first, first.replace("{", " { ", 1), second, first, third]))
    found = calibrate(model, path)
    assert found.token_ids == once.token_ids
    assert found.card.fingerprint == once.card.fingerprint
    assert (found.card.used, found.card.duplicates, found.card.looked_at) == (3, 2, 5)
    assert found.card.remarks == ("2 of 5 render to the same text as one before",)
    with pytest.raises(CalibrationError, match="3 different conversations") as caught:
        calibrate(model, path, min_samples=4)
    assert "2 of 5 render to the same text" in caught.value.cause


def test_the_remedy_for_long_ones_is_enough(model: Path, tmp_path: Path) -> None:
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [100, 120, 110])
    with pytest.raises(CalibrationError) as caught:
        calibrate(model, path, min_samples=2)
    length = int(caught.value.remedy.partition("max_sequence_length to ")[2].split()[0])
    assert calibrate(model, path, min_samples=2, max_sequence_length=length).card.used == 2
    with pytest.raises(CalibrationError):
        calibrate(model, path, min_samples=2, max_sequence_length=length - 1)


def test_without_a_template_identical_ones_are_said_too(tmp_path: Path) -> None:
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40, 30])
    spec = CalibrationSpec(path=str(path), min_samples=2)
    assert check_unrendered(spec, settings=Settings(cache=tmp_path)) == 2
    path.write_text(path.read_text().splitlines()[0] + "\n" + path.read_text().splitlines()[0])
    with pytest.raises(CalibrationError, match="1 different conversations"):
        check_unrendered(spec, settings=Settings(cache=tmp_path))


def test_a_conversation_the_template_refuses_is_named(model: Path, tmp_path: Path) -> None:
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40])
    with path.open("a") as stream:
        stream.write('{"messages": [{"role": "tool", "content": "4"}]}\n')
    with pytest.raises(CalibrationError, match=f"Line 2 of {path}") as caught:
        calibrate(model, path)
    assert caught.value.cause == "no tools"


def test_a_model_without_template_is_refused(tmp_path: Path) -> None:
    model = tiny_model.write(tmp_path / "baseline")
    check_template(model)
    (model / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CalibrationError, match="has no chat template"):
        check_template(model)
    (model / "chat_template.jinja").write_text("{{ messages }}")
    check_template(model)


def test_a_broken_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    model = tiny_model.write(tmp_path / "broken")
    (model / "tokenizer.json").write_text('{"model": {}}')
    path = tiny_model.write_conversations(tmp_path / "c.jsonl", [40])
    with pytest.raises(CalibrationError, match=r"The tokenizer in .* cannot be loaded"):
        calibrate(model, path)
