"""How much memory llm-compressor takes, and how large what it makes is: pure estimates."""

from __future__ import annotations

from infra.contracts.specs import CompressedSpec, GptqSpec
from infra.models.memory_need import GIB, Shape
from infra.quantizers.compressed.groups import bits_of, group_of
from infra.quantizers.port import Need

_PROCESS_BYTES = GIB
"""What its process takes in main memory besides the model: 0.5 GiB were measured on a model of 3
million parameters."""

_ACTIVATIONS = 6
"""How often the widest activation of one conversation exists at a time in a layer."""


_SOLVING = 4
"""How often the products of all pairs of inputs exist while a layer is solved."""


def need(shape: Shape, recipe: GptqSpec | CompressedSpec, *, gpu: bool) -> Need:
    """Return what it needs: the model in main memory, one layer at a time on the GPU.

    What the layers give for all conversations waits in main memory for the next layer. GPTQ keeps
    the products of all pairs of inputs for each linear layer of a block.

    Args:
        shape: The model.
        recipe: How many conversations, and how long.
        gpu: Whether there is one. Without it all is computed in main memory and in float32.
    """
    width = 2 if gpu else 4
    layer = shape.parameters * width // (shape.layers + 1)
    embedding = shape.vocabulary * shape.hidden * width
    waiting, work = 0, layer + embedding
    if (calibration := recipe.calibration) is not None:
        longest = calibration.max_sequence_length
        waiting = 2 * calibration.max_samples * longest * shape.hidden * width
        work += longest * (shape.hidden + _ACTIVATIONS * shape.intermediate) * width
    if isinstance(recipe, GptqSpec) or recipe.rounding == "gptq":
        # Six layers of a block read the hidden numbers, one the inner ones; then one is solved.
        work += 4 * (6 * shape.hidden**2 + _SOLVING * shape.intermediate**2)
    elif recipe.rounding == "awq":
        # What goes into a part of a block and what comes out, before and after, stays there.
        work += 2 * waiting
    model = shape.parameters * width + _PROCESS_BYTES + waiting
    return Need(model, work) if gpu else Need(model + work, 0)


def share(shape: Shape, recipe: GptqSpec | CompressedSpec) -> float:
    """Return the size of a checkpoint over its 16-bit original, on the safe side.

    Embedding and head stay as they are; whether they are one is not known here.
    """
    whole = min(1.0, 2 * shape.vocabulary * shape.hidden / max(shape.parameters, 1))
    bits = bits_of(recipe)
    scheme = "gptq" if isinstance(recipe, GptqSpec) else recipe.scheme
    group = group_of(recipe, scheme) or shape.hidden
    return whole + (1 - whole) * (bits + (16 + bits) / group) / 16
