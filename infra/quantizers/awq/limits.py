"""What AutoAWQ can quantize, seen from a model's folder before the quantizer starts.

AutoAWQ itself says so with a bare AssertionError, minutes later and with a GPU in hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from infra.contracts.errors import Unservable, UnsupportedModel
from infra.contracts.records import Weights
from infra.contracts.specs import AwqSpec, ServingSpec
from infra.models import quantization
from infra.models.memory_need import Shape
from infra.quantizers import unquantized
from infra.quantizers.sizes import Layer, check_groups, check_shared, is_numbered, matrices

TEXT_MODELS = frozenset(
    ["RefinedWeb", "RefinedWebModel", "Yi", "aquila", "baichuan", "bloom", "cohere", "deepseek_v2",
     "deepseek_v3", "exaone", "falcon", "gemma", "gemma2", "gpt_bigcode", "gpt_neox", "gptj",
     "internlm2", "llama", "minicpm", "minicpm3", "mistral", "mixtral", "mpt", "opt", "phi3",
     "qwen", "qwen2", "qwen3", "qwen3_moe", "stablelm", "starcoder2"]
)  # fmt: skip
"""`model_type`s that AutoAWQ 0.2.9 quantizes and that read text alone."""

IMAGE_MODELS = frozenset(
    ["llava", "llava_next", "phi3_v", "qwen2_vl", "qwen2_5_vl", "qwen2_5_omni"]
)
"""`model_type`s of AutoAWQ 0.2.9 that read more than text."""

_OUTPUT_MULTIPLE = 64
"""AutoAWQ's search for clipping thresholds takes 64 output rows at a time."""
_NOT_CLIPPED = ("q_", "k_", "query", "key", "Wqkv")
"""Parts of names of the layers that this search leaves out."""
_PACKED = 8
"""4-bit values in one 32-bit word."""


def check_model(weights: Weights, spec: AwqSpec) -> None:
    """Refuse a model that AutoAWQ would fail on.

    Reads `config.json` and the headers of the safetensors files: milliseconds.

    Raises:
        UnsupportedModel: It is quantized already, of an unknown kind, or a layer's size does not
            fit the recipe.
    """
    config = json.loads((weights.path / "config.json").read_text(encoding="utf-8"))
    unquantized.check_files(weights.id, quantization.of(weights.path), "AutoAWQ")
    check_kind(weights.id, config)
    layers = sorted(layer for layer in matrices(weights) if is_numbered(layer[0]))
    grouped = [(name, inputs, spec.group_size) for name, inputs, _ in layers]
    check_groups(weights.id, grouped, "take another model")
    _check_outputs(weights.id, layers)


def check_kind(model: str, config: Mapping[str, Any]) -> None:
    """Refuse a model whose config.json names a kind that AutoAWQ would fail on.

    Raises:
        UnsupportedModel: It reads images or is of an unknown kind.
    """
    kind = config.get("model_type")
    if kind in IMAGE_MODELS:
        raise UnsupportedModel(
            f"{model} reads images too (model_type {kind!r}); Assay quantizes text models.",
            cause="Conversations of text alone would leave the other layers uncalibrated.",
            remedy="Take the text model of the same family.",
        )
    if kind not in TEXT_MODELS:
        raise UnsupportedModel(
            f"AutoAWQ cannot quantize {model}: its model_type is {kind!r}.",
            cause=f"AutoAWQ 0.2.9 knows {', '.join(sorted(TEXT_MODELS))}.",
            remedy="Take a model of one of these kinds.",
        )


def _check_outputs(model: str, layers: Sequence[Layer]) -> None:
    for name, _, outputs in layers:
        free = any(part in name.partition(".layers.")[2] for part in _NOT_CLIPPED)
        multiple = _PACKED if free else _OUTPUT_MULTIPLE
        if outputs % multiple and not name.endswith("gate.weight"):  # a router of experts
            raise UnsupportedModel(
                f"{name} in {model} has {outputs} outputs, no multiple of {multiple}.",
                cause="AutoAWQ takes output rows in blocks of this size.",
                remedy="Take another model.",
            )


def check_served(recipe: AwqSpec, serving: ServingSpec, shape: Shape | None) -> None:
    """Refuse settings with which the engine cannot serve an AWQ checkpoint.

    Raises:
        Unservable: It cannot.
    """
    if serving.dtype == "float32":
        raise Unservable(
            "serving.dtype=float32 cannot serve an AWQ checkpoint.",
            cause="The engine's AWQ kernels compute in float16 and bfloat16.",
            remedy="Set serving.dtype to auto, float16 or bfloat16.",
        )
    check_shared("The AWQ checkpoint", recipe.group_size, serving, shape)
