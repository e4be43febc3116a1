"""When two tokenizers are the same, and how they differ if they are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.models.tokenizer_differences import differences
from infra.models.tokenizer_identity import (
    ADDED,
    AROUND,
    DECODING,
    FILES,
    MERGES,
    NAMES,
    PARTS,
    SPLITTING,
    TEMPLATE,
    VOCABULARY,
    identity,
    tokenizer_digest,
)
from tests import tokenizers_of_models
from tests.broken_checkpoints import SAMPLE
from tests.tokenizers_of_models import PLAIN

Tokenizer = dict[str, Any]


def edited(
    folder: Path,
    change: Callable[[Tokenizer], None] = lambda tokenizer: None,
    template: Any = PLAIN,
    **config: Any,
) -> Path:
    """Write the tokenizer of the tests with its tokenizer.json changed."""
    tokenizers_of_models.write(folder, template=template, **config)
    raw = json.loads((folder / "tokenizer.json").read_text())
    change(raw)
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    return folder


def compared(one: Path, other: Path) -> tuple[set[str], tuple[str, ...]]:
    """Return the parts that differ, and how."""
    ours, theirs = identity(one), identity(other)
    parts = {part for part, same in ours.same(theirs).items() if not same}
    assert (ours.digest == theirs.digest) == (not parts)
    return parts, differences(ours, theirs)


def test_the_sample_has_all_parts() -> None:
    found = identity(SAMPLE)
    assert tuple(found.parts) == PARTS
    assert {*found.digests} == {*PARTS}
    assert len(found.parts[VOCABULARY]) == 2048
    assert found.parts[NAMES] == {"eos_token": "<|endoftext|>"}


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    copy = shutil.copytree(SAMPLE, tmp_path / "copy")
    assert compared(SAMPLE, copy) == (set(), ())


def test_what_programs_write_otherwise_is_the_same(tmp_path: Path) -> None:
    """Other orders, spellings and files, as of one version of transformers and the next."""

    def rewritten(raw: Tokenizer) -> None:
        raw["model"]["merges"] = [" ".join(pair) for pair in raw["model"]["merges"]]
        raw["model"]["vocab"] = dict(reversed(raw["model"]["vocab"].items()))
        raw["added_tokens"].reverse()
        raw["truncation"] = {"max_length": 7, "strategy": "LongestFirst", "stride": 0,
                             "direction": "Right"}  # fmt: skip

    one = edited(tmp_path / "one")
    other = edited(
        tmp_path / "other", rewritten, template=None, model_max_length=9, padding_side="left",
        pad_token="</s>",
    )  # fmt: skip
    (other / "chat_template.jinja").write_bytes(PLAIN.encode() + b"\n")
    assert tokenizer_digest(one) != tokenizer_digest(other)
    assert compared(one, other) == (set(), ())


def test_code_of_the_repository_is_part_of_the_files(tmp_path: Path) -> None:
    one = edited(tmp_path / "one")
    before = tokenizer_digest(one)
    (one / "tokenization_own.py").write_text("class Own: ...\n", encoding="utf-8")
    first = tokenizer_digest(one)
    (one / "tokenization_own.py").write_text("class Own:  ...\n", encoding="utf-8")
    assert len({before, first, tokenizer_digest(one)}) == 3


@pytest.mark.parametrize("name", ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model.v3"])
def test_vocabularies_of_whatever_name_are_part_of_the_files(tmp_path: Path, name: str) -> None:
    one = edited(tmp_path / "one")
    before = tokenizer_digest(one)
    (one / name).write_text("pieces")
    assert tokenizer_digest(one) != before


def test_helpers_of_that_code_are_part_of_the_files(tmp_path: Path) -> None:
    one = edited(tmp_path / "one")
    files = {
        "tokenization_own.py": "from .helpers import cut\ndef load():\n    from . import words\n",
        "helpers.py": "from .deeper.tables import TABLE\n",
        "words.py": "",
        "deeper/tables.py": "TABLE = {}\n",
    }
    for name, text in files.items():
        (one / name).parent.mkdir(exist_ok=True)
        (one / name).write_text(text)
    (one / "modeling_own.py").write_text("from .helpers import cut\n")
    digests = [tokenizer_digest(one)]
    for name, text in files.items():
        (one / name).write_text(f"{text}# another\n")
        digests.append(tokenizer_digest(one))
    assert len({*digests}) == 5
    (one / "modeling_own.py").write_text("# no part of the tokenizer\n")
    assert tokenizer_digest(one) == digests[-1]


def test_code_under_another_name_is_what_the_configuration_says(tmp_path: Path) -> None:
    one = edited(tmp_path / "one", auto_map={"AutoTokenizer": [None, "cutting.Own"]})
    (one / "cutting.py").write_text("from .helpers import cut\n")
    (one / "helpers.py").write_text("")
    before = tokenizer_digest(one)
    (one / "helpers.py").write_text("# another\n")
    assert tokenizer_digest(one) != before


def test_code_that_cannot_be_read_stands_for_all(tmp_path: Path) -> None:
    one = edited(tmp_path / "one")
    (one / "tokenization_own.py").write_text("from .helpers import (\n")
    (one / "helpers.py").write_text("")
    before = tokenizer_digest(one)
    (one / "helpers.py").write_text("# another\n")
    assert tokenizer_digest(one) != before


def test_saved_by_transformers_it_is_the_same(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    one = edited(tmp_path / "one", single="<s> $A </s>")
    AutoTokenizer.from_pretrained(one).save_pretrained(tmp_path / "saved")
    assert compared(one, tmp_path / "saved") == (set(), ())


def add_token(raw: Tokenizer) -> None:
    number = len(raw["model"]["vocab"])
    raw["added_tokens"].append(
        {
            "id": number,
            "content": "<tool_call>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": False,
        }
    )


def strip_token(raw: Tokenizer) -> None:
    next(one for one in raw["added_tokens"] if one["content"] == "</s>")["lstrip"] = True


def swap_tokens(raw: Tokenizer) -> None:
    vocab = raw["model"]["vocab"]
    vocab["te"], vocab["12"] = vocab["12"], vocab["te"]


def drop_merge(raw: Tokenizer) -> None:
    raw["model"]["merges"] = raw["model"]["merges"][:-1]


def change_merge(raw: Tokenizer) -> None:
    raw["model"]["merges"][1:3] = reversed(raw["model"]["merges"][1:3])


def other_word(raw: Tokenizer) -> None:
    vocab = raw["model"]["vocab"]
    vocab["er!"] = len(vocab)


def normalize(raw: Tokenizer) -> None:
    raw["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}],
    }


def prefix_space(raw: Tokenizer) -> None:
    raw["pre_tokenizer"]["add_prefix_space"] = True


def ignore_merges(raw: Tokenizer) -> None:
    raw["model"]["ignore_merges"] = True


def other_decoder(raw: Tokenizer) -> None:
    raw["decoder"] = {"type": "Fuse"}


@pytest.mark.parametrize(
    ("change", "parts", "said"),
    [
        (add_token, {ADDED}, "added tokens: 1 only the candidate's ('<tool_call>')"),
        (strip_token, {ADDED}, "added tokens: 1 with another lstrip ('</s>')"),
        (swap_tokens, {VOCABULARY}, "vocabulary: 2 with another id ("),
        (other_word, {VOCABULARY}, "and 265 tokens, 1 only the candidate's ('er!')"),
        (drop_merge, {MERGES}, "merges: 4 and 3, the first that differs is number 4 (the "
         "baseline's 'e' + 'r')"),
        (change_merge, {MERGES}, "merges: the first that differs is number 2 (the baseline's '1' + "
         "'2', the candidate's 'Ġ' + 'A')"),
        (normalize, {SPLITTING}, "normalizer is nothing in the baseline's and Sequence (NFC, "
         "Lowercase) in the candidate's"),
        (prefix_space, {SPLITTING}, "pre tokenizer ByteLevel has other settings"),
        (ignore_merges, {SPLITTING}, "splitting of texts: model BPE has other settings"),
        (other_decoder, {DECODING}, "decoder is ByteLevel in the baseline's and Fuse"),
    ],
)  # fmt: skip
def test_what_is_another_is_named(
    tmp_path: Path, change: Callable[[Tokenizer], None], parts: set[str], said: str
) -> None:
    found, how = compared(edited(tmp_path / "one"), edited(tmp_path / "other", change))
    assert found == parts
    assert len(how) == 1
    assert said in how[0]


@pytest.mark.parametrize(
    ("config", "parts", "said"),
    [
        ({"eos_token": "<sop>"}, {NAMES}, "special tokens: eos_token is '</s>' in the baseline's "
         "and '<sop>' in the candidate's"),
        ({"clean_up_tokenization_spaces": True}, {DECODING}, "clean up is False in"),
        ({"template": None}, {TEMPLATE}, "chat template: only the baseline's is there"),
        ({"template": PLAIN + "!"}, {TEMPLATE}, "116 and 117 characters, differing first in line "
         "1 at ']{% endif %}' and ']{% endif %}!'"),
        ({"template": PLAIN.replace("[assistant]", "\n[model]")}, {TEMPLATE}, "in line 1 at"),
        ({"template": [{"name": "default", "template": PLAIN}, {"name": "tool_use",
         "template": "x"}]}, {TEMPLATE}, "the baseline's are named default, the candidate's "
         "default, tool_use"),
        ({"single": "<s> $A"}, {AROUND}, "tokens around a text: the baseline's puts nothing "
         "around, the candidate's puts <s> before"),
        ({"single": "[gMASK] <sop> $A </s>"}, {AROUND}, "puts [gMASK] <sop> before and </s> after"),
    ],
)  # fmt: skip
def test_what_the_configuration_changes_is_named(
    tmp_path: Path, config: dict[str, Any], parts: set[str], said: str
) -> None:
    one = tokenizers_of_models.write(tmp_path / "one")
    other = tokenizers_of_models.write(tmp_path / "other", **config)
    found, how = compared(one, other)
    assert found == parts
    assert said in how[0], how


def test_two_models_tokenizers_differ_in_most_parts(tmp_path: Path) -> None:
    parts, how = compared(SAMPLE, tokenizers_of_models.write(tmp_path / "other"))
    assert {VOCABULARY, MERGES, SPLITTING, ADDED, NAMES, TEMPLATE} <= parts
    assert len(how) == len(parts)
    assert all(len(one) < 400 for one in how)


def test_one_that_cannot_be_loaded_is_its_files(tmp_path: Path) -> None:
    one = edited(tmp_path / "one")
    broken = edited(tmp_path / "broken")
    (broken / "tokenizer.json").write_text('{"model": {"type": "None"}}')
    assert tuple(identity(broken).parts) == (FILES,)
    assert differences(identity(one), identity(broken)) == (
        "their files differ, and one of them cannot be loaded",
    )
    copy = shutil.copytree(broken, tmp_path / "copy")
    assert compared(broken, copy) == (set(), ())


def test_an_edit_in_place_is_noticed(tmp_path: Path) -> None:
    one = edited(tmp_path / "one")
    before = identity(one).digest
    edited(one, add_token)
    assert identity(one).digest != before


def test_names_of_both_are_those_that_were_given(tmp_path: Path) -> None:
    one = identity(tokenizers_of_models.write(tmp_path / "one"))
    other = identity(tokenizers_of_models.write(tmp_path / "other", single="<s> $A"))
    assert differences(one, other, ("A's", "B's")) == (
        "tokens around a text: A's puts nothing around, B's puts <s> before",
    )
