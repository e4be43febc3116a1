"""Tokenizers like those of models people have, which differ in the special tokens they add."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GEMMA = (
    "{{ bos_token }}{% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}</turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
"""Writes the BOS itself."""

PLAIN = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def write(folder: Path, *, single: str = "$A", template: Any = PLAIN, **config: Any) -> Path:
    """Write a tokenizer of bytes with some merges.

    Args:
        folder: Made if it is not there.
        single: What is around a text: `<s> $A </s>`.
        template: The chat template; none if it is None.
        config: Fields of tokenizer_config.json; BOS and EOS by default.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    specials = ["<s>", "</s>", "[gMASK]", "<sop>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "e"), ("1", "2"), ("Ġ", "A"), ("e", "r")]
    words = [*specials, *alphabet, *("".join(pair) for pair in merges)]
    raw = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    raw.add_special_tokens(specials)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, i) for i, token in enumerate(specials)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    raw.save(str(folder / "tokenizer.json"))
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    if template is not None:
        fields["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(fields | config))
    return folder
