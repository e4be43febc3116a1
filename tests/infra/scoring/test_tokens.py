from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

from infra.scoring.tokens import (
    NothingBefore,
    count,
    pack,
    pack_texts,
    shared,
    split_pairs,
    unpack,
)

CONTEXTS = (
    "Question: what is 12 + 1?\nAnswer:",
    "The answer is ",
    "The answer is  \n ",
    "The answer is\t\u00a0\u3000",  # str.rstrip takes these too
    "\n leading",
    "Wher",
    "The number 1",
    "She has mor",
    "e a",
    "東京は",
    "cafe",
    "👩\u200d",
    "<|eos|>",
    "<|end|> and more",
    "",
)
CONTINUATIONS = (" A", "A", "2 apples", "e and in", "e a", " ", "  \n", "\u0301 noir", "👧", "on.")
CONTINUATIONS += ("<|bos|>x", "<|end|>x", "<|eos|>x", "<|bos|>", "\x00")


class Stock(LocalCompletionsAPI):  # type: ignore[misc]
    """lm-eval's own class; instead of asking a server it tells how it split."""

    def split(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        return self.loglikelihood(requests, disable_tqdm=True)  # type: ignore[no-any-return]

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
        return [(context, continuation) for _, context, continuation in requests]


def stock(tokenizer: Path, **options: Any) -> Stock:
    return Stock(
        base_url="http://127.0.0.1:9/v1/completions",
        model="tiny",
        tokenizer=str(tokenizer),
        tokenizer_backend="huggingface",
        **options,
    )


def drawn(number: int) -> list[tuple[str, str]]:
    """Return pairs of short texts from few letters, so that many of them merge at the border."""
    draw = random.Random(0)
    letters = "e  tan\n.s:o12é🧀"

    def text(shortest: int) -> str:
        return "".join(draw.choices(letters, k=draw.randint(shortest, 6)))

    return [("x" + text(0), text(1)) for _ in range(number)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tokenizer", {}),
        ("merging_tokenizer", {}),
        ("bos_tokenizer", {}),
        ("bos_tokenizer", {"add_bos_token": True}),
        ("bos_tokenizer", {"custom_prefix_token_id": 77}),
    ],
    ids=["bytes", "merging", "BOS", "BOS added", "own prefix"],
)
def test_pairs_are_split_as_lm_evals_own_class_splits_them(
    name: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    theirs = stock(request.getfixturevalue(name), **options)
    pairs = [*itertools.product(CONTEXTS, CONTINUATIONS), *drawn(1000)]
    if options.get("add_bos_token"):
        pairs += [(" \n", "A"), ("\t", " "), (" ", "")]  # here BOS comes before the first token
    ours = split_pairs(pairs, theirs.tok_encode, theirs.prefix_token_id)
    assert [(unpack(one), unpack(other)) for one, other in ours] == theirs.split(pairs)
    if name == "merging_tokenizer":  # some have a letter that joins the context's last token
        assert sum(not continuation for _, continuation in ours) > 10


def test_a_split_across_a_merged_border_by_hand(merging_tokenizer: Path) -> None:
    encode = stock(merging_tokenizer).tok_encode
    ((context, continuation),) = split_pairs([("The number 1", "2 a")], encode, None)
    assert unpack(context) == encode("The number 1")
    # "12" is one token, so that the whole has as many up to there as the context alone.
    assert unpack(continuation) == encode("The number 12 a")[count(context) :]
    assert unpack(continuation) != encode("2 a")


def test_each_distinct_text_is_encoded_once_and_all_in_one_batch(tokenizer: Path) -> None:
    encode, seen = stock(tokenizer).tok_encode, []

    def watched(texts: Sequence[str]) -> Any:
        seen.append(list(texts))
        return encode(texts)

    split_pairs([("Q:", " A"), ("Q:", " B"), ("Q: ", "A"), ("", "Q:")], watched, 0)
    assert seen == [["Q:", "Q: A", "Q: B"]]
    assert pack_texts([], watched) == {}
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("pair", "prefix", "says"),
    [(("", "A"), None, "BOS or EOS"), ((" \n", "A"), 5, "whitespace alone")],
)
def test_what_gives_the_first_token_nothing_to_follow_is_refused(
    pair: tuple[str, str], prefix: int | None, says: str, tokenizer: Path
) -> None:
    with pytest.raises(NothingBefore, match=says) as refused:
        split_pairs([("Q:", " A"), pair], stock(tokenizer).tok_encode, prefix)
    assert refused.value.place == 1


def test_packed_tokens_sort_and_begin_as_the_tokens_do() -> None:
    draw = random.Random(0)
    edges = [0, 1, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1]
    sequences = [draw.choices(edges, k=draw.randint(0, 4)) for _ in range(500)]
    assert [unpack(pack(tokens)) for tokens in sequences] == sequences
    assert [unpack(packed) for packed in sorted(map(pack, sequences))] == sorted(sequences)
    for one, other in itertools.pairwise(sequences):
        assert pack(other).startswith(pack(one)) == (other[: len(one)] == one)


def test_how_many_tokens_two_sequences_share() -> None:
    def of(one: list[int], other: list[int]) -> int:
        return shared(pack(one), pack(other))

    assert of([], []) == of([], [1]) == of([1], [2]) == 0
    assert of([1, 2, 3], [1, 2, 3]) == 3
    assert of([1, 2, 3], [1, 2, 4, 3]) == 2
    assert of([1, 2], [1, 2, 3]) == of([1, 2, 3], [1, 2]) == 2
    assert of([0x0101, 1], [0x0102, 1]) == 0  # same first bytes, another token
    assert count(pack([7, 8, 9])) == 3
