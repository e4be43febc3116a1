"""What decides how a model's prompts are written and cut into tokens, and its answers read.

Files say too much: programs write the same tokenizer in many ways, with other fields, orders and
file names from version to version. So it is loaded, and its identity is what it is then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from infra.models.tokenizer import load
from infra.models.tokenizer_code import code
from infra.store.content import digest_file, digest_files, digest_of

_FILES = (
    "tokenizer.json", "tokenizer_config.json", "*.model", "*.model.v*", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
    "chat_template.json", "additional_chat_templates/*.jinja", "*.tiktoken", "tekken.json",
)  # fmt: skip
"""Of a model's folder, as transformers reads them; its own code comes to it."""

VOCABULARY, MERGES, SPLITTING = "vocabulary", "merges", "splitting of texts"
ADDED, AROUND, NAMES = "added tokens", "tokens around a text", "special tokens"
DECODING, TEMPLATE, FILES = "decoding", "chat template", "files"

PARTS = (VOCABULARY, MERGES, SPLITTING, ADDED, AROUND, NAMES, DECODING, TEMPLATE)
"""What makes a tokenizer; `files` in place of all but the template where it cannot be loaded."""

_NAMED = ("bos_token", "eos_token", "unk_token")
"""Special tokens that templates write and that end answers; padding is nobody's matter."""

_PROBE = "a"


@dataclass(frozen=True)
class TokenizerIdentity:
    """A tokenizer with its chat template, part by part."""

    parts: Mapping[str, Any]
    """Part → what it is, as JSON has it; equal for equal parts."""

    @cached_property
    def digests(self) -> dict[str, str]:
        """Part → SHA-256 of what it is."""
        return {part: digest_of(value) for part, value in self.parts.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: equal if prompts are written and cut in the same way."""
        return digest_of(self.digests)

    def same(self, other: TokenizerIdentity) -> dict[str, bool]:
        """Return for each part whether the other's is the same."""
        ours, theirs = self.digests, other.digests
        return {
            part: ours.get(part) == theirs.get(part) for part in dict.fromkeys([*ours, *theirs])
        }


def tokenizer_digest(folder: Path) -> str:
    """Return the digest of the files of a model's tokenizer and chat template.

    It is had without loading anything; other files may well be the same tokenizer.
    """
    return digest_files(
        [
            digest_file(folder / name).model_copy(update={"name": name})
            for name in tokenizer_names(folder)
        ]
    )


def tokenizer_names(folder: Path) -> list[str]:
    """Return the files of a model's tokenizer and chat template, relative to its folder."""
    names = (path.relative_to(folder).as_posix() for path in code(folder))
    return sorted({*names, *tokenizer_texts(folder)})


def tokenizer_texts(folder: Path) -> list[str]:
    """Return those of them that are no code."""
    found = {path for pattern in _FILES for path in folder.glob(pattern)}
    return sorted(
        path.relative_to(folder).as_posix()
        for path in found
        if path.is_file() and not path.name.startswith(".")
    )


def identity(folder: Path, *, trust_remote_code: bool = False) -> TokenizerIdentity:
    """Return what the tokenizer and the chat template in a model folder are.

    Where the tokenizer cannot be loaded its files stand for it.

    Args:
        folder: The model.
        trust_remote_code: Allow a tokenizer that is code of the repository.
    """
    return _identity(folder, tokenizer_digest(folder), trust_remote_code)


@lru_cache(maxsize=8)
def _identity(folder: Path, files: str, trust_remote_code: bool) -> TokenizerIdentity:
    """Return the identity of a folder's tokenizer, found once as long as its files are these."""
    try:
        return TokenizerIdentity(parts_of(load(folder, trust_remote_code=trust_remote_code)))
    except Exception:  # the tokenizers library raises bare Exception
        return TokenizerIdentity({FILES: files})


def parts_of(tokenizer: Any) -> dict[str, Any]:
    """Return what a tokenizer is.

    Args:
        tokenizer: What `AutoTokenizer` returns.
    """
    raw = getattr(tokenizer, "backend_tokenizer", None)
    backend = json.loads(raw.to_str()) if raw is not None else _without_backend(tokenizer)
    model = backend["model"]
    named = {name: _text(getattr(tokenizer, name, None)) for name in _NAMED}
    return {
        VOCABULARY: _vocabulary(model),
        MERGES: model.get("merges") or [],
        SPLITTING: {
            "normalizer": backend.get("normalizer"),
            "pre_tokenizer": backend.get("pre_tokenizer"),
            # Fields that are not there are those that are off.
            "model": {k: v for k, v in model.items() if k not in {"vocab", "merges"} and v},
        },
        ADDED: backend.get("added_tokens") or [],
        AROUND: _around(tokenizer),
        NAMES: {name: token for name, token in named.items() if token is not None},
        DECODING: {
            "decoder": backend.get("decoder"),
            "clean_up": bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)),
        },
        TEMPLATE: _template(getattr(tokenizer, "chat_template", None)),
    }


def _without_backend(tokenizer: Any) -> dict[str, Any]:
    """Return as much of a tokenizer that is written in Python as it shows."""
    vocabulary = dict(tokenizer.get_vocab())
    return {"model": {"type": type(tokenizer).__name__, "vocab": vocabulary}}


def _vocabulary(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return token → id, or token → id and score for models that weigh them."""
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, list):  # Unigram: the place is the id
        return {token: [number, score] for number, (token, score) in enumerate(vocabulary)}
    return dict(vocabulary)


def _around(tokenizer: Any) -> list[list[str]]:
    """Return the tokens that are put before and after any text."""
    whole = list(tokenizer(_PROBE)["input_ids"])
    bare = list(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            ends = whole[:start], whole[start + len(bare) :]
            return [list(map(str, tokenizer.convert_ids_to_tokens(end))) for end in ends]
    return [[f"{_PROBE!r} is cut otherwise with them"], []]


def _template(template: Any) -> dict[str, str]:
    """Return name → text; Jinja reads no carriage return and no newline at the end."""
    named = template if isinstance(template, dict) else {"default": template} if template else {}
    return {
        str(name): str(text).replace("\r\n", "\n").removesuffix("\n")
        for name, text in named.items()
    }


def _text(token: Any) -> str | None:
    return None if token is None else str(token)
