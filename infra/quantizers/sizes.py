"""Sizes of a model's layers, and the groups of weights that share a scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.contracts.errors import Unservable, UnsupportedModel
from infra.contracts.records import Weights
from infra.contracts.specs import ServingSpec
from infra.contracts.specs.quantization.gptq import GROUP_SIZES
from infra.models import safetensors_header
from infra.models.memory_need import Shape

Layer = tuple[str, int, int]
"""Name, inputs and outputs."""


def matrices(weights: Weights) -> Iterator[Layer]:
    """Yield every matrix of the safetensors files that is called a weight."""
    for file in weights.files:
        if file.name.endswith(".safetensors"):
            for name, tensor in safetensors_header.read(weights.path / file.name).items():
                if name.endswith(".weight") and len(tensor.shape) == 2:
                    outputs, inputs = tensor.shape
                    yield name, inputs, outputs


def is_numbered(name: str) -> bool:
    """Return whether a layer is part of a numbered block."""
    return any(part.isdigit() for part in name.split("."))


def check_groups(model: str, grouped: Sequence[tuple[str, int, int]], otherwise: str) -> None:
    """Refuse groups that would be cut at the end of a row.

    Args:
        model: Its id.
        grouped: Name, inputs and weights of a group, of every layer that has groups.
        otherwise: What else to do where no size fits.

    Raises:
        UnsupportedModel: A group would be cut.
    """
    misfits = [(name, inputs) for name, inputs, group in grouped if inputs % group]
    if not misfits:
        return
    name, inputs = misfits[0]
    more = f" ({len(misfits)} layers like this)" if len(misfits) > 1 else ""
    fitting = [
        str(size) for size in reversed(GROUP_SIZES) if not any(i % size for _, i, _ in grouped)
    ]
    raise UnsupportedModel(
        f"quantization.group_size={grouped[0][2]} does not divide the {inputs} inputs of {name} "
        f"in {model}{more}.",
        cause="Each group of weights along a row shares one scale; no group may be cut.",
        remedy=f"Set quantization.group_size to {' or '.join(fitting)}."
        if fitting
        else f"None of 32, 64 and 128 fits; {otherwise}.",
    )


def check_shared(what: str, group: int, serving: ServingSpec, shape: Shape | None) -> None:
    """Refuse to share a checkpoint between GPUs that would cut a group.

    Args:
        what: The checkpoint, in words.
        group: Weights of a group.
        serving: Between how many it is shared.
        shape: Of the model; none where it is unknown.

    Raises:
        Unservable: A group would be cut.
    """
    parts = serving.tensor_parallel_size
    if parts == 1 or not shape or shape.guessed or shape.intermediate % (parts * group) == 0:
        return
    fitting = [size for size in reversed(GROUP_SIZES) if shape.intermediate % (parts * size) == 0]
    raise Unservable(
        f"{what} cannot be shared by serving.tensor_parallel_size={parts}.",
        cause=f"Each part of its {shape.intermediate} inner inputs must consist of whole "
        f"groups of {group} (quantization.group_size).",
        remedy=f"Set quantization.group_size to {fitting[0]}, or share between fewer GPUs."
        if fitting
        else "Share the model between fewer GPUs.",
    )
