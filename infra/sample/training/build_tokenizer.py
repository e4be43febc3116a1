"""Trains the sample model's tokenizer: a byte-level BPE that takes digits one by one.

Run as `python -m infra.sample.training.build_tokenizer`; needs `tokenizers`.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from infra.sample.training import formats
from infra.sample.training.world import documents

FOLDER = Path(__file__).parents[1] / "model"
VOCABULARY = 2048
DOCUMENTS = 20_000
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's pattern: transformers 5 puts it into the tokenizer of every qwen2 model."""
_WORDS = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def train() -> Tokenizer:
    """Trains the tokenizer on the first documents of a stream of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _splitter(_WORDS)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(formats.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    stream = itertools.islice(documents("tokenizer"), DOCUMENTS)
    tokenizer.train_from_iterator((formats.text_of(document) for document in stream), trainer)
    # Both patterns give the same tokens on the sample world's text; `_WORDS` learns better merges.
    tokenizer.pre_tokenizer = _splitter(_QWEN2_WORDS)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _splitter(words: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def check(tokenizer: Tokenizer) -> None:
    """Makes sure of what the tasks rely on: letters and digits are tokens of their own.

    Raises:
        ValueError: A letter or digit is split or merged.
    """
    for text in [*"ABCD", " A", " B", " C", " D", *"0123456789", *formats.SPECIAL_TOKENS]:
        if len(tokenizer.encode(text).ids) != 1:
            raise ValueError(f"{text!r} is not one token")
    if len(tokenizer.encode("2048").ids) != 4:
        raise ValueError("digits are merged")


def main() -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` into the model's folder."""
    tokenizer = train()
    check(tokenizer)
    FOLDER.mkdir(exist_ok=True)
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "bos_token": None,
        "eos_token": formats.END_OF_TEXT,
        "pad_token": formats.PADDING,
        "unk_token": None,
        "additional_special_tokens": [formats.TURN_START, formats.TURN_END],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": _CHAT_TEMPLATE,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (FOLDER / "tokenizer_config.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
