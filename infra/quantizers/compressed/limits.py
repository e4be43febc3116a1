"""What llm-compressor can quantize and the engine serve, seen from a model's folder beforehand.

The program itself says so minutes later, the engine after the checkpoint is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.contracts.errors import Unservable, UnsupportedModel
from infra.contracts.records import Weights
from infra.contracts.specs import CompressedSpec, GptqSpec, ServingSpec
from infra.contracts.specs.quantization.layers import means
from infra.contracts.wording import listed
from infra.machine.device import detect
from infra.models import quantization
from infra.models.memory_need import Shape
from infra.quantizers import unquantized
from infra.quantizers.compressed.groups import group_of, scheme_of
from infra.quantizers.sizes import Layer, check_groups, check_shared, is_numbered, matrices

SMOOTHED = frozenset(
    ["GraniteForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "NanbeigeForCausalLM",
     "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SeedOssForCausalLM"]
)  # fmt: skip
"""Architectures whose norms stand right before the layers that they are smoothed into, as
llm-compressor 0.14 knows for AWQ and for SmoothQuant. Of what it does not know it assumes so
without a word."""

_MORE_THAN_TEXT = ("vision_config", "audio_config", "speech_config")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_NO_LINEAR = frozenset(["gpt2", "openai-gpt", "imagegpt", "mamba", "mamba2", "rwkv"])
"""`model_type`s whose layers are of classes that llm-compressor does not see as linear."""

_HEAD = "lm_head"
_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers that the engine joins into one."""

_CPU_MULTIPLE = 32
"""Rows and inputs that the engine's 4-bit kernel for CPUs takes at a time."""


def check_model(weights: Weights, recipe: GptqSpec | CompressedSpec) -> None:
    """Refuse a model that the recipe would fail on, or that could not be served after it.

    Reads `config.json` and the headers of the safetensors files: milliseconds.

    Raises:
        UnsupportedModel: It is quantized already, of a kind that is not quantized here, a layer's
            size does not fit the recipe, or a pattern means no layer.
    """
    config = json.loads((weights.path / "config.json").read_text(encoding="utf-8"))
    unquantized.check_files(weights.id, quantization.of(weights.path), "llm-compressor")
    check_kind(weights.id, config)
    _check_structure(weights.id, config, recipe)
    layers = sorted(_linears(weights))
    names = [name for name, _, _ in layers]
    if not names:
        return  # pickles: the worker looks at the model itself
    _check_patterns(weights.id, names, recipe)
    _check_head(weights.id, names, recipe)
    _check_together(weights.id, names, recipe)
    _check_groups(weights.id, layers, recipe)


def check_kind(model: str, config: Mapping[str, Any]) -> None:
    """Refuse a model whose config.json names a kind that is not quantized here.

    Raises:
        UnsupportedModel: It reads more than text, has experts, an encoder, or no linear layers.
    """
    kind = config.get("model_type")
    if found := [part for part in _MORE_THAN_TEXT if part in config]:
        raise UnsupportedModel(
            f"{model} reads more than text (model_type {kind!r}, {found[0]}); Assay quantizes text "
            "models.",
            cause="Conversations of text alone would leave the other layers uncalibrated.",
            remedy="Take the text model of the same family.",
        )
    if config.get("is_encoder_decoder"):
        raise UnsupportedModel(
            f"{model} has an encoder (model_type {kind!r}); Assay quantizes models that only "
            "continue a text.",
            cause="Its conversations would have to be cut into what is read and what is written.",
            remedy="Take a model with a decoder alone.",
        )
    inner = config.get("text_config") or config
    experts = next((inner[part] for part in _EXPERTS if inner.get(part)), 0)
    if isinstance(experts, int) and experts > 1:
        raise UnsupportedModel(
            f"{model} has {experts} experts in each layer (model_type {kind!r}).",
            cause="Its experts lie in joined tensors and not in linear layers, and a few "
            "conversations reach few of them: nothing here checks what comes of that.",
            remedy="Take a dense model, or a checkpoint that its makers quantized.",
        )
    if kind in _NO_LINEAR:
        raise UnsupportedModel(
            f"llm-compressor finds no linear layers in {model}: its model_type is {kind!r}.",
            cause="Layers of this kind are of another class, and would be left as they are.",
            remedy="Take a model of another kind.",
        )


def _check_structure(
    model: str, config: Mapping[str, Any], recipe: GptqSpec | CompressedSpec
) -> None:
    if isinstance(recipe, GptqSpec) or not (recipe.smooths or recipe.rounding == "awq"):
        return
    architecture = next(iter(config.get("architectures") or ()), None)
    if architecture not in SMOOTHED:
        what = "AWQ" if recipe.rounding == "awq" else "SmoothQuant"
        instead = "Set quantization.algorithm to 'gptq', or take a model of these architectures."
        if recipe.smooths:
            instead = "Set quantization.smoothing to 0, or take a model of these architectures."
        raise UnsupportedModel(
            f"llm-compressor does not know what {what} may change in {model}: its architecture is "
            f"{architecture}.",
            cause=f"It divides norms by what it multiplies the layers behind them with, and knows "
            f"which those are in {', '.join(sorted(SMOOTHED))}.",
            remedy=instead,
        )


def _check_patterns(model: str, names: Sequence[str], recipe: GptqSpec | CompressedSpec) -> None:
    given = [("ignore", pattern) for pattern in recipe.ignore if pattern != _HEAD]
    if isinstance(recipe, CompressedSpec):
        given += [("overrides", one) for each in recipe.overrides for one in each.targets]
    for field, pattern in given:
        if not any(means(pattern, name) for name in [*names, _HEAD]):
            raise UnsupportedModel(
                f"{pattern!r} in quantization.{field} means no layer of {model}.",
                cause=f"Its layers are called as {names[0]} and {names[-1]} are.",
                remedy=f"Correct it, or remove it from quantization.{field}.",
            )
    if not any(scheme_of(recipe, name) for name in names):
        raise UnsupportedModel(
            f"quantization.ignore leaves all {len(names)} layers of {model} as they are.",
            remedy="Ignore fewer of them.",
        )


def _check_head(model: str, names: Sequence[str], recipe: GptqSpec | CompressedSpec) -> None:
    heads = [name for name in names if not is_numbered(name)] or [_HEAD]
    for name in heads:
        if scheme_of(recipe, name):
            raise UnsupportedModel(
                f"The recipe quantizes the head of {model}, {name}.",
                cause="Heads are often one with the embedding, and not every version of the engine "
                "reads one that is quantized.",
                remedy=f"Add {name!r} to quantization.ignore.",
            )


def _check_together(model: str, names: Sequence[str], recipe: GptqSpec | CompressedSpec) -> None:
    present = set(names)
    for name in names:
        parent, _, last = name.rpartition(".")
        for together in (one for one in _TOGETHER if one[0] == last):
            parts = [f"{parent}.{one}" for one in together if f"{parent}.{one}" in present]
            schemes = {one: scheme_of(recipe, one) for one in parts}
            if len(set(schemes.values())) > 1:
                said = listed(
                    [f"{one.rpartition('.')[2]} {_said(scheme)}" for one, scheme in schemes.items()]
                )
                raise UnsupportedModel(
                    f"The recipe tears apart what the engine joins in {parent} of {model}: {said}.",
                    cause=f"The engine reads {listed(list(together))} as one layer, which has one "
                    "scheme.",
                    remedy="Name all of them in quantization.ignore or quantization.overrides, or "
                    "none.",
                )


def _said(scheme: str | None) -> str:
    return f"gets {scheme}" if scheme else "is left as it is"


def _check_groups(model: str, layers: Sequence[Layer], recipe: GptqSpec | CompressedSpec) -> None:
    grouped = [
        (name, inputs, group)
        for name, inputs, _ in layers
        if (scheme := scheme_of(recipe, name)) and (group := group_of(recipe, scheme))
    ]
    check_groups(model, grouped, "take another model, or a scheme without groups")


def _linears(weights: Weights) -> Iterator[Layer]:
    """Yield every linear layer inside a numbered block, and the head where it has its own."""
    for tensor, inputs, outputs in matrices(weights):
        name = tensor.removesuffix(".weight")
        if is_numbered(name) or name in (_HEAD, "embed_out"):
            yield name, inputs, outputs


def check_served(
    recipe: GptqSpec | CompressedSpec, serving: ServingSpec, shape: Shape | None
) -> None:
    """Refuse settings with which the engine cannot serve what the recipe makes.

    Raises:
        Unservable: It cannot.
    """
    schemes = ("gptq",) if isinstance(recipe, GptqSpec) else recipe.schemes
    if serving.engine != "vllm":
        raise Unservable(
            f"{recipe.slug} cannot be served by serving.engine={serving.engine}.",
            cause="Of the engines only vllm reads compressed-tensors.",
            remedy="Set serving.engine to vllm, or take a recipe that the engine reads.",
        )
    on_cpu = _on_cpu(serving)
    four = isinstance(recipe, GptqSpec) or "w4a16" in schemes
    if serving.dtype == "float32" and (four or not on_cpu):
        raise Unservable(
            f"serving.dtype=float32 cannot serve {recipe.slug}.",
            cause="The engine's kernels for such weights compute in float16 and bfloat16.",
            remedy="Set serving.dtype to auto, float16 or bfloat16.",
        )
    if on_cpu:
        _check_on_cpu(recipe, schemes, shape)
    group = next((found for one in schemes if (found := group_of(recipe, one))), None)
    if group:
        check_shared(recipe.slug, group, serving, shape)


def _on_cpu(serving: ServingSpec) -> bool:
    return serving.device == "cpu" or (serving.device == "auto" and detect("auto").kind == "cpu")


def _check_on_cpu(
    recipe: GptqSpec | CompressedSpec, schemes: Sequence[str], shape: Shape | None
) -> None:
    if isinstance(recipe, GptqSpec) and recipe.bits == 8:
        raise Unservable(
            f"{recipe.slug} cannot be served on a CPU.",
            cause="The engine has no kernel for 8-bit weights with 16-bit activations there.",
            remedy="Set quantization.bits to 4, take the method compressed-tensors with the scheme "
            "w8a8-int8, or serve it on a GPU.",
        )
    if "fp8-static" in schemes:
        raise Unservable(
            f"{recipe.slug} cannot be served on a CPU.",
            cause="The engine's build for CPUs cannot round activations by a scale found "
            "beforehand.",
            remedy="Set quantization.scheme to fp8-dynamic, or serve it on a GPU.",
        )
    four = isinstance(recipe, GptqSpec) or "w4a16" in schemes
    if four and shape and not shape.guessed:
        for name, size in (("hidden", shape.hidden), ("inner", shape.intermediate)):
            if size % _CPU_MULTIPLE:
                raise Unservable(
                    f"{recipe.slug} of a model with {size} {name} numbers cannot be served on a "
                    "CPU.",
                    cause=f"The engine's 4-bit kernel takes {_CPU_MULTIPLE} at a time there.",
                    remedy="Take a scheme of 8 bits, or serve it on a GPU.",
                )
