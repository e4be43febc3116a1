from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.scoring.encoding import encode_by_lines, splits_at_lines

SAMPLE = Path(__file__).parents[3] / "infra" / "sample" / "model"
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
PIECES = [
    "\n", "\n", "\n\n", "\r\n", " ", "  ", "\t", "a", "B", "word", " word", "'s", "'S", "'", ".",
    "...", "!?", "1", "12", "345", "é", "e\u0301", "\u0301", "ß", "漢字", "😀", "\u00a0", "\u2028",
    "\u0085", "\x0b", "Question:", "Answer:", "(A)", "<|im_start|>", "<|im_end|>", "-", "_", "=",
]  # fmt: skip


def tokenizer(pattern: str | None) -> Any:
    """Return a byte-level BPE that has learnt merges from texts such as it is tried on."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = (
        pre_tokenizers.ByteLevel(add_prefix_space=False)
        if pattern is None
        else pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    )
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    raw.train_from_iterator(texts(seed=1, number=600), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw)


def texts(seed: int, number: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 30))) for _ in range(number)]


def encoder(of: Any) -> Any:
    return lambda given: of(list(given), add_special_tokens=False).input_ids


@pytest.mark.parametrize("pattern", [None, QWEN, LLAMA], ids=["GPT-2", "Qwen", "Llama"])
def test_parts_give_the_tokens_of_the_whole(pattern: str | None) -> None:
    split = tokenizer(pattern)
    assert splits_at_lines(split)
    whole = encoder(split)
    # One by one, since a difference in the first few would have all encoded as wholes.
    for text in dict.fromkeys(texts(seed=2, number=3000)):
        parts: list[Sequence[str]] = []

        def noted(given: Sequence[str], parts: list[Sequence[str]] = parts) -> Any:
            parts.append(given)
            return whole(given)

        assert [list(ids) for ids in encode_by_lines([text], noted)] == whole([text])
        assert len(parts) == 2, text  # parts and the trial; a third call means they differed


def test_what_is_shared_is_encoded_once() -> None:
    encoded: list[str] = []

    def encode(given: Sequence[str]) -> Any:
        encoded.extend(given)
        return [[ord(letter) for letter in text] for text in given]

    context = "Q: one\nA: two\n\nQ: three\nA:"
    same = [f"{context} {n}" for n in range(20)]
    assert encode_by_lines(same, encode) == [[ord(letter) for letter in text] for text in same]
    assert encoded.count(context.removesuffix("A:")) == 1
    assert encoded[1:21] == [f"A: {n}" for n in range(20)]


def test_a_tokenizer_that_differs_after_all_encodes_wholes() -> None:
    def encode(given: Sequence[str]) -> Any:
        return [[len(text)] for text in given]

    assert list(encode_by_lines(["one\ntwo", "three"], encode)) == [[7], [5]]
    assert list(encode_by_lines(["three"] * 50 + ["one\ntwo"], encode)) == [[5]] * 50 + [[7]]


def test_other_tokenizers_are_left_alone(merging_tokenizer: Path) -> None:
    from tokenizers import AddedToken, pre_tokenizers
    from transformers import AutoTokenizer

    assert splits_at_lines(AutoTokenizer.from_pretrained(SAMPLE))
    assert not splits_at_lines(AutoTokenizer.from_pretrained(merging_tokenizer))
    assert not splits_at_lines(object())
    assert not splits_at_lines(tokenizer(r"\w+|\W+"))
    reaching = tokenizer(QWEN)
    reaching.add_tokens([AddedToken("<cut>", lstrip=True)])
    assert not splits_at_lines(reaching)
    spaced = tokenizer(None)
    spaced.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert not splits_at_lines(spaced)  # each part would get a space
