"""An adapter added to a model's weights, by peft: a whole model in its own type comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.records import Adapter, Quantization, Weights
from infra.contracts.specs import MergeSpec, ServingSpec
from infra.machine.device import Device
from infra.models.memory_need import GIB, Shape
from infra.quantizers.making import MadeByWorker
from infra.quantizers.port import Need
from infra.quantizers.worker import Failure, Worker

WORKER = Worker(
    script=Path(__file__).with_name("merge_adapter.py"),
    title="peft",
    program="llmcompressor",
    packages=frozenset({"torch", "transformers", "peft"}),
    failures={
        "architecture": Failure(
            UnsupportedModel,
            "The transformers that it runs with does not know this architecture.",
            "Take a model of another kind.",
        ),
        "other-model": Failure(
            QuantizationError,
            "The adapter was trained on another model.",
            "Set adapter.id to an adapter of this model, or model.id to its own.",
        ),
        "not-finite": Failure(
            QuantizationError,
            "Model and adapter together exceed what the model's type holds.",
            "Take another adapter.",
        ),
    },
)
_BESIDE_BYTES = 2 * GIB
_WIDTH = 4
"""Bytes of a number while it is added."""


class Merge(MadeByWorker[MergeSpec]):
    """See `infra.quantizers.port.Quantizer`."""

    worker = WORKER
    room = "quantizers/merging"
    on_accelerator = False

    def check(self, weights: Weights, recipe: MergeSpec) -> None:
        """Refuse nothing: the adapter was held against the model when it was fetched."""

    def check_named(
        self, model: str, config: Mapping[str, Any] | None, quantization: Quantization | None
    ) -> None:
        """Refuse a model that is quantized: numbers of few bits have no room for what is added."""
        if quantization is not None:
            raise UnsupportedModel(
                f"Nothing can be merged into {model}: it is quantized ({quantization.method}).",
                cause="What an adapter adds is smaller than a step of such numbers.",
                remedy="Name the model it was made from, and quantize what comes of the merging.",
            )

    def check_served(self, recipe: MergeSpec, serving: ServingSpec, shape: Shape | None) -> None:
        """Refuse nothing: it is served as the model itself."""

    def need(self, shape: Shape, recipe: MergeSpec, *, gpu: bool) -> Need:
        """Return the whole model in float32."""
        return Need(shape.parameters * _WIDTH + _BESIDE_BYTES, 0)

    def share(self, shape: Shape, recipe: MergeSpec) -> float:
        """Return the size of the model itself."""
        return shape.stored_width / 2

    def in_its_words(self, recipe: MergeSpec) -> dict[str, Any]:
        """Return where the adapter lies; the type of the result is the model's."""
        return {"folder": recipe.folder, "dtype": recipe.dtype}

    def deciding_words(self, recipe: MergeSpec) -> dict[str, Any]:
        """Return all but the place of the adapter, which counts by its digest."""
        return {"dtype": recipe.dtype}

    def search_dtype(self, weights: Weights, device: Device, versions: Mapping[str, str]) -> str:
        """Return the type of the sum."""
        return "float32"

    def saved_dtype(self, weights: Weights) -> str:
        """Return the model's own type."""
        return dtype_of(weights)


def recipe_of(adapter: Adapter, weights: Weights) -> MergeSpec:
    """Return the recipe of a merging."""
    return MergeSpec(adapter=adapter.digest, folder=str(adapter.path), dtype=dtype_of(weights))


def dtype_of(weights: Weights) -> str:
    """Return the type that a model's own configuration names."""
    config = json.loads((weights.path / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")
