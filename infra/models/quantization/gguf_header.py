"""What a GGUF file says of its quantization, as a statement like those of configurations."""

from __future__ import annotations

from pathlib import Path

from infra.contracts.errors import CorruptWeights
from infra.models import gguf_file
from infra.models.quantization.statement import Statement

METHOD = "gguf"


def find(folder: Path) -> Statement | None:
    """Return what the GGUF file of a folder says; none without one, or if nothing is rounded."""
    path = gguf_file.find(folder)
    if path is None:
        return None
    try:
        file = gguf_file.read(path)
    except CorruptWeights as error:
        return Statement({"quant_method": METHOD}, [path.name], [error.fact])
    if not file.rounded:
        return None
    values = {
        "quant_method": METHOD,
        "type": file.type,
        "bits_per_weight": round(8 * file.size / file.weights, 4),
    }
    return Statement(values, [path.name])
