"""How much memory AutoAWQ takes: a pure estimate."""

from __future__ import annotations

from infra.contracts.specs import CalibrationSpec
from infra.models.memory_need import GIB, Shape
from infra.quantizers.port import Need

SHARE = 0.4
"""Size of a 4-bit checkpoint over its 16-bit original, embeddings included, on the safe side."""

_QUANTIZER_BYTES = 2 * GIB
"""What AutoAWQ's process takes in main memory besides the model."""

_ACTIVATIONS = 9
"""How often the widest activation of a layer exists at a time while AutoAWQ searches: 5.2 GiB were
measured for 64 × 512 tokens through a model of 1.5 billion parameters."""


def need(shape: Shape, calibration: CalibrationSpec, *, gpu: bool) -> Need:
    """Return what AutoAWQ needs: the model in main memory, one layer at a time on the GPU.

    Args:
        shape: The model.
        calibration: At most so many conversations of at most such a length run through a layer.
        gpu: Whether there is one. Without it the search runs in main memory and in float32.
    """
    width = 2 if gpu else 4
    tokens = calibration.max_samples * calibration.max_sequence_length
    layer = shape.parameters * width // (shape.layers + 1)
    embedding = shape.vocabulary * shape.hidden * width
    work = layer + embedding + tokens * (shape.hidden + _ACTIVATIONS * shape.intermediate) * width
    model = shape.parameters * width + _QUANTIZER_BYTES
    return Need(model, work) if gpu else Need(model + work, 0)
