"""Which model a checkpoint says it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Origin
from infra.models import origin

CARD = """---
license: apache-2.0
base_model:
- Qwen/Qwen2.5-7B-Instruct
base_model_relation: quantized
quantized_by: somebody
---
# A model
"""


def write(folder: Path, card: str | bytes | None = None, **files: Any) -> Path:
    if card is not None:
        data = card if isinstance(card, bytes) else card.encode()
        (folder / "README.md").write_bytes(data)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def test_the_card_says_it(tmp_path: Path) -> None:
    found = origin.of(write(tmp_path, CARD, config={"_name_or_path": "/tmp/x"}))
    assert found == Origin(
        base_models=("Qwen/Qwen2.5-7B-Instruct",),
        relation="quantized",
        said_by="README.md",
        made_by="somebody",
    )


@pytest.mark.parametrize(
    ("card", "bases"),
    [
        (CARD.replace("\n", "\r\n"), ("Qwen/Qwen2.5-7B-Instruct",)),
        (b"\xef\xbb\xbf" + CARD.encode(), ("Qwen/Qwen2.5-7B-Instruct",)),
        ("---\nbase_model: a/b\n---", ("a/b",)),
        ("---\nbase_model: [a/b, c/d, 7]\n---\n", ("a/b", "c/d")),
        ("---\nbase_model: a/b\nreleased: 2024-99-99\n---\n", None),  # no date
        ("---\nbase_model: [\n---\n", None),
        ("---\n- base_model\n---\n", None),
        ("base_model: a/b", None),
        ("", None),
        (b"---\nquantized_by: \xff\xfe\n---\n", ()),
    ],
)
def test_cards_as_people_write_them(
    tmp_path: Path, card: str | bytes, bases: tuple[str, ...] | None
) -> None:
    found = origin.of(write(tmp_path, card))
    assert (found.base_models if found else None) == bases


def test_without_a_card_the_configurations_say_it(tmp_path: Path) -> None:
    write(tmp_path, config={"_name_or_path": "meta-llama/Llama-3.1-8B"})
    assert origin.of(tmp_path) == Origin(
        base_models=("meta-llama/Llama-3.1-8B",), said_by="config.json"
    )
    write(tmp_path, adapter_config={"base_model_name_or_path": "a/b"})
    assert origin.of(tmp_path) == Origin(
        base_models=("a/b",), relation="adapter", said_by="adapter_config.json"
    )


def test_who_made_it_may_be_all_that_is_said(tmp_path: Path) -> None:
    assert origin.of(write(tmp_path, "---\nquantized_by: x\n---\n")) == Origin(made_by="x")
    assert origin.of(write(tmp_path, "---\nlicense: mit\n---\n")) is None


@pytest.mark.parametrize(
    ("bases", "baseline", "another"),
    [
        (("Qwen/Qwen2.5-7B-Instruct",), "Qwen/Qwen2.5-7B-Instruct", False),
        # Another owner, as on another hub, or another way to write it.
        (("meta-llama/Llama-3.1-8B",), "LLM-Research/llama-3.1-8b", False),
        (("Qwen/Qwen2.5-7B",), "Qwen/Qwen2.5-7B-Instruct", True),
        (("a/b", "Qwen/Qwen2.5-7B"), "Qwen/Qwen2.5-7B", False),
        # Folders are called anything.
        (("/home/me/models/final",), "Qwen/Qwen2.5-7B", False),
        (("Qwen/Qwen2.5-7B",), "/data/model", False),
        ((), "Qwen/Qwen2.5-7B", False),
    ],
)
def test_only_names_show_another_base(bases: tuple[str, ...], baseline: str, another: bool) -> None:
    why = origin.another_base(Origin(base_models=bases, said_by="README.md"), baseline)
    assert bool(why) == another
    if why:
        assert why.startswith("README.md names Qwen/Qwen2.5-7B as its base model, not ")


def test_nothing_said_is_no_other_base() -> None:
    assert origin.another_base(None, "a/b") is None
