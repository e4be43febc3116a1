"""What every method of llm-compressor shares: its script, its limits, how it computes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.records import Quantization, Weights
from infra.contracts.specs import CompressedSpec, GptqSpec, ServingSpec
from infra.conversations import calibration
from infra.conversations.calibration import Calibration
from infra.machine.device import Device
from infra.models.memory_need import Shape
from infra.quantizers import unquantized
from infra.quantizers.compressed import limits, memory
from infra.quantizers.compressed.groups import in_words
from infra.quantizers.making import MadeByWorker
from infra.quantizers.port import Need
from infra.quantizers.worker import Failure, Response, Seen, Worker

WORKER = Worker(
    script=Path(__file__).with_name("quantize_compressed.py"),
    title="llm-compressor",
    program="llmcompressor",
    packages=frozenset({"torch", "transformers", "llmcompressor", "compressed-tensors"}),
    failures={
        "architecture": Failure(
            UnsupportedModel,
            "llm-compressor, or the transformers it runs with, cannot follow this architecture.",
            "Take a model of another kind.",
        ),
        "group-size": Failure(
            UnsupportedModel,
            "quantization.group_size does not divide the inputs of a layer.",
            "Set quantization.group_size to 64 or 32.",
        ),
        "no-layer": Failure(
            UnsupportedModel,
            "A pattern in quantization.ignore or quantization.overrides means none of its layers.",
            "Correct it by the names of the model's layers.",
        ),
        "not-finite": Failure(
            QuantizationError,
            "The model's weights exceed what 16 bits hold, or became infinite on the way.",
            "Take another recipe, or another model.",
        ),
        "not-solved": Failure(
            QuantizationError,
            "The conversations say too little of the inputs of these layers.",
            "Raise quantization.calibration.max_samples, or give conversations that differ more.",
        ),
    },
)

RecipeT = TypeVar("RecipeT", bound=GptqSpec | CompressedSpec)


class MadeByLlmCompressor(MadeByWorker[RecipeT]):
    """See `infra.quantizers.port.Quantizer`."""

    worker = WORKER
    room = "quantizers/compressed"

    def check(self, weights: Weights, recipe: RecipeT) -> None:
        """Refuse a model that llm-compressor or the engine would fail on."""
        limits.check_model(weights, recipe)
        if recipe.calibration is not None:
            calibration.check_template(weights.path)

    def check_named(
        self, model: str, config: Mapping[str, Any] | None, quantization: Quantization | None
    ) -> None:
        """Refuse a model by its small files, or by its name where config.json is out of reach."""
        unquantized.check_files(model, quantization, self.title)
        if config is None:
            unquantized.check_name(model, self.title)
        else:
            limits.check_kind(model, config)

    def check_served(self, recipe: RecipeT, serving: ServingSpec, shape: Shape | None) -> None:
        """Refuse types and devices that the kernels do not compute in."""
        limits.check_served(recipe, serving, shape)

    def need(self, shape: Shape, recipe: RecipeT, *, gpu: bool) -> Need:
        """Return the model in main memory, and one layer at a time on the GPU."""
        return memory.need(shape, recipe, gpu=gpu)

    def share(self, shape: Shape, recipe: RecipeT) -> float:
        """Return what bits and scales come to; embedding and head stay as they are."""
        return memory.share(shape, recipe)

    def in_its_words(self, recipe: RecipeT) -> dict[str, Any]:
        """Return groups of layers and what becomes of each."""
        return in_words(recipe)

    def search_dtype(self, weights: Weights, device: Device, versions: Mapping[str, str]) -> str:
        """Return the type that is saved where there is a GPU; on a CPU 16 bits would be slower."""
        on_a_gpu = device.kind == "cuda" and not versions["torch"].endswith("+cpu")
        return self.saved_dtype(weights) if on_a_gpu else "float32"

    def saved_dtype(self, weights: Weights) -> str:
        """Return the model's own type if it is bfloat16, whose numbers float16 might not hold."""
        config = json.loads((weights.path / "config.json").read_text(encoding="utf-8"))
        stored = config.get("dtype") or config.get("torch_dtype")
        return "bfloat16" if stored == "bfloat16" else "float16"

    def check_response(
        self, response: Response, samples: Calibration | None, search_dtype: str
    ) -> None:
        """Check also that every conversation was read whole, and once in each pass."""
        wanted = (
            Seen(blocks=samples.card.used, tokens=samples.card.tokens_total) if samples else None
        )
        if response.calibration != wanted:
            raise QuantizationError(
                f"Of {_said(wanted)} llm-compressor read {_said(response.calibration)}.",
                cause="This version of llm-compressor treats conversations in another way.",
                remedy=self.worker.own_environment,
            )
        super().check_response(response, samples, search_dtype)


def _said(read: Seen | None) -> str:
    return f"{read.blocks} conversations of {read.tokens} tokens" if read else "no conversations"
