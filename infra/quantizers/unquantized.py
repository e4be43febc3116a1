"""Methods start from 16-bit weights: what is quantized already is refused, by files or by name."""

from __future__ import annotations

import re

from infra.contracts.errors import UnsupportedModel
from infra.contracts.records import Quantization

_QUANTIZED_NAME = re.compile(r"(?i)[-_](awq|gptq|fp8|gguf|int4|int8|4bit|8bit|bnb)\b")


def check_files(model: str, found: Quantization | None, title: str) -> None:
    """Refuse a model whose files say that it is quantized.

    Args:
        model: Its id.
        found: What they say; none if they say nothing of it.
        title: What people call the method's program.

    Raises:
        UnsupportedModel: They do.
    """
    if found is not None:
        raise UnsupportedModel(
            f"{model} is quantized already ({found.method}).",
            cause=f"{found.files[0]} says so, and {title} starts from 16-bit weights.",
            remedy="Name the model it was made from.",
        )


def check_name(model: str, title: str) -> None:
    """Refuse a model whose name says that it is quantized, where its config.json is out of reach.

    Raises:
        UnsupportedModel: It says so.
    """
    if found := _QUANTIZED_NAME.search(model):
        raise UnsupportedModel(
            f"{model} is quantized already, as its name says ({found[1]}).",
            cause=f"{title} starts from 16-bit weights.",
            remedy=f"Name the model it was made from, most often {model[: found.start()]}.",
        )
