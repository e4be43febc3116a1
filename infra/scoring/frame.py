"""The special tokens around each text, as lm-eval's Hugging Face backend lets a tokenizer add them.

A model that was trained with a BOS before each text does far worse without it; a chat template that
writes the BOS itself must not get a second. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.scoring.tokens import Encode

_PROBES = ("a", "What is 1 + 1?")


@dataclass(frozen=True)
class Frame:
    """What is added to a text that does not begin with it already."""

    before: tuple[int, ...] = ()
    """Token ids before each prompt: the BOS, of most tokenizers that add any."""

    after: tuple[int, ...] = ()
    """Token ids after a whole text whose likelihood is measured. Nothing can follow them: they are
    added to no prompt that shall be continued."""

    beginnings: tuple[str, ...] = ()
    """Texts that begin so have their beginning already."""

    shown: str = ""
    """What comes before each prompt, as text; empty if nothing does."""

    def encode(self, texts: Sequence[str], bare: Encode) -> Sequence[Sequence[int]]:
        """Return the tokens of prompts, or of their beginnings.

        Args:
            texts: What is encoded.
            bare: Texts → token ids, without special tokens of the tokenizer's own.
        """
        tokens = bare(texts)
        if not self.before:
            return tokens
        return [
            ids if self._begun(text, ids) else [*self.before, *ids]
            for text, ids in zip(texts, tokens, strict=True)
        ]

    def encode_whole(self, texts: Sequence[str], bare: Encode) -> Sequence[Sequence[int]]:
        """Return the tokens of texts that nothing follows, with what the tokenizer adds there."""
        return [
            ids if self._begun(text, ids) else [*self.before, *ids, *self.after]
            for text, ids in zip(texts, bare(texts), strict=True)
        ]

    def _begun(self, text: str, ids: Sequence[int]) -> bool:
        there = len(self.before)
        return text.startswith(self.beginnings) or bool(there and tuple(ids[:there]) == self.before)


def frame(
    tokenizer: Any, add_bos_token: bool | None, reload: Callable[[], Any] | None = None
) -> Frame:
    """Return what lm-eval's Hugging Face backend would have a tokenizer add.

    Args:
        tokenizer: What `AutoTokenizer` returns.
        add_bos_token: See `EvaluationSpec.add_bos_token`.
        reload: Loads it again with transformers' own `add_bos_token=True`, as that backend does;
            None takes it as it is.

    Raises:
        EvaluationError: A BOS is wanted and there is none, or nobody can find out what is added.
    """
    if add_bos_token is False:
        return Frame()
    if add_bos_token and tokenizer.bos_token_id is None:
        raise EvaluationError(
            "evaluation.add_bos_token is True, but the tokenizer has no BOS token.",
            cause="bos_token is not set in its tokenizer_config.json; the model was most likely "
            "trained without one.",
            remedy="Leave evaluation.add_bos_token empty, or set it to False.",
        )
    before, after = _added(reload() if add_bos_token and reload else tokenizer)
    if add_bos_token and tokenizer.bos_token_id not in before:
        before = (tokenizer.bos_token_id, *before)
    prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    beginning = "" if prefix is None else tokenizer.decode(prefix)
    return Frame(
        before=before,
        after=after,
        beginnings=(beginning,) if beginning else (),
        shown=tokenizer.decode(list(before)) if before else "",
    )


def encoder(tokenizer: Any) -> Encode:
    """Return how a tokenizer of transformers encodes texts without special tokens of its own."""

    def encode(texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return list(tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"])

    return encode


def _added(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the token ids that a tokenizer puts before and after any text by itself."""
    found = {_around(tokenizer, text) for text in _PROBES}
    if len(found) == 1 and (around := found.pop()) is not None:
        return around
    raise EvaluationError(
        "It cannot be found out which special tokens the model's tokenizer puts around a text.",
        cause=f"{type(tokenizer).__name__} encodes a text otherwise with them than without.",
        remedy="Set evaluation.add_bos_token to True or False.",
    )


def _around(tokenizer: Any, text: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    whole = tuple(tokenizer(text, verbose=False)["input_ids"])
    bare = tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    for start in range(len(whole) - len(bare) + 1) if bare else ():
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    return None
