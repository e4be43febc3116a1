"""Tokens that the tokenizer knows and the model does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import CalibrationError
from infra.conversations.calibration import load_tokenizer
from infra.models import vocabulary
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"vocab_size": 7}, 7),
        ({"text_config": {"vocab_size": 9}}, 9),
        ({"vocab_size": None, "text_config": None}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_size_stands_in_the_configuration(tmp_path: Path, config: Any, size: int) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert vocabulary.size(tmp_path) == size


def test_the_first_token_beyond_is_named_with_both_sizes() -> None:
    tokenizer = load_tokenizer(ROOT / "infra" / "sample" / "model")
    ids = tokenizer("A train accelerates")["input_ids"]
    vocabulary.check(ids, max(ids) + 1, tokenizer, "Line 1 of c")
    vocabulary.check(ids, None, tokenizer, "Line 1 of c")
    vocabulary.check([], 1, tokenizer, "Line 1 of c")
    with pytest.raises(
        CalibrationError, match=f"makes token {max(ids)}, '.*', of Line 1"
    ) as caught:
        vocabulary.check(ids, max(ids), tokenizer, "Line 1 of c")
    assert f"knows {len(tokenizer)}" in caught.value.cause
