"""What llama.cpp can convert, quantize and serve, seen before anything is loaded.

A row whose length is no multiple of its format's block gets another format, silently and by
llama.cpp's own rule: that is a matter of size and no reason to refuse. Where there is no such rule
(Q8_0) it would end with an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.contracts.errors import Unservable, UnsupportedModel
from infra.contracts.records import Weights
from infra.contracts.specs import GgufSpec, ServingSpec
from infra.quantizers.gguf.architectures import ARCHITECTURES
from infra.quantizers.sizes import matrices

_ENGINE = "llamacpp"
_BLOCK = 32
"""Weights of a row that share a scale in Q8_0, and in what K formats fall back to."""


def check_model(weights: Weights, recipe: GgufSpec) -> None:
    """Refuse a model that llama.cpp's converter or quantizer would fail on.

    Reads `config.json` and the headers of the safetensors files: milliseconds.

    Raises:
        UnsupportedModel: It is quantized already, of an unknown kind, or has rows that no block
            fits.
    """
    check_architecture(weights.id, weights.architecture)
    if recipe.type == "q8_0":
        _check_rows(weights)


def check_config(model: str, config: Mapping[str, Any]) -> None:
    """Refuse a model whose config.json names an architecture that the converter does not know.

    Raises:
        UnsupportedModel: It does.
    """
    named = config.get("architectures")
    if isinstance(named, list) and named:
        check_architecture(model, str(named[0]))


def check_architecture(model: str, architecture: str) -> None:
    """Refuse an architecture that the converter does not know.

    Raises:
        UnsupportedModel: It does not.
    """
    if architecture not in ARCHITECTURES:
        raise UnsupportedModel(
            f"llama.cpp cannot convert {model}: its architecture is {architecture}.",
            cause=f"The converter knows {len(ARCHITECTURES)} architectures, this one is none of "
            "them.",
            remedy="Take a model of another kind, or a method that vLLM serves, such as awq.",
        )


def check_served(serving: ServingSpec) -> None:
    """Refuse an engine that does not serve GGUF files.

    Raises:
        Unservable: It is another one than llama.cpp.
    """
    if str(serving.engine) != _ENGINE:
        raise Unservable(
            f"serving.engine={serving.engine} cannot serve a GGUF checkpoint.",
            cause="GGUF is the format of llama.cpp.",
            remedy="Set the candidate's serving.engine to llamacpp.",
        )


def _check_rows(weights: Weights) -> None:
    misfits = [(name, inputs) for name, inputs, _ in matrices(weights) if inputs % _BLOCK]
    if misfits:
        name, inputs = misfits[0]
        more = f" ({len(misfits)} layers like this)" if len(misfits) > 1 else ""
        raise UnsupportedModel(
            f"quantization.type=q8_0 does not fit the {inputs} inputs of {name} in "
            f"{weights.id}{more}.",
            cause=f"Q8_0 stores blocks of {_BLOCK} weights of a row, and no block may be cut.",
            remedy="Set quantization.type to f16: in the others such layers stay in 16 bits.",
        )
