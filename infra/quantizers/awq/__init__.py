"""AutoAWQ: activation-aware weight quantization, 4 bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.contracts.errors import QuantizationError, UnsupportedModel
from infra.contracts.records import Quantization, Weights
from infra.contracts.specs import AwqSpec, ServingSpec
from infra.conversations import calibration
from infra.conversations.calibration import Calibration
from infra.machine.device import Device
from infra.models.memory_need import Shape
from infra.quantizers import unquantized
from infra.quantizers.awq import limits, memory
from infra.quantizers.making import MadeByWorker
from infra.quantizers.port import Need
from infra.quantizers.worker import Failure, Response, Worker

WORKER = Worker(
    script=Path(__file__).with_name("quantize_awq.py"),
    title="AutoAWQ",
    program="awq",
    packages=frozenset({"torch", "transformers", "autoawq"}),
    failures={
        "architecture": Failure(
            UnsupportedModel,
            "AutoAWQ, or the transformers it runs with, does not know this architecture.",
            "Take a model of another kind.",
        ),
        "group-size": Failure(
            UnsupportedModel,
            "quantization.group_size does not divide the inputs of a layer.",
            "Set quantization.group_size to 64 or 32.",
        ),
        "not-finite": Failure(
            QuantizationError,
            "The model's weights exceed what float16 holds, and AWQ checkpoints are float16.",
            "Take another model.",
        ),
    },
)


class Awq(MadeByWorker[AwqSpec]):
    """See `infra.quantizers.port.Quantizer`."""

    worker = WORKER
    room = "quantizers/awq"
    cuts_blocks = True

    def check(self, weights: Weights, recipe: AwqSpec) -> None:
        """Refuse a model that AutoAWQ would fail on."""
        limits.check_model(weights, recipe)
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

    def check_served(self, recipe: AwqSpec, serving: ServingSpec, shape: Shape | None) -> None:
        """Refuse types that the kernels do not compute in, and GPUs that would share a group."""
        limits.check_served(recipe, serving, shape)

    def need(self, shape: Shape, recipe: AwqSpec, *, gpu: bool) -> Need:
        """Return the model in main memory, and one layer at a time on the GPU."""
        return memory.need(shape, recipe.calibration, gpu=gpu)

    def share(self, shape: Shape, recipe: AwqSpec) -> float:
        """Return a share on the safe side: embeddings are not quantized."""
        return memory.SHARE

    def in_its_words(self, recipe: AwqSpec) -> dict[str, Any]:
        """Return AutoAWQ's own names for the recipe."""
        return {
            "w_bit": recipe.bits,
            "q_group_size": recipe.group_size,
            "zero_point": recipe.zero_point,
            "version": recipe.version.upper(),
        }

    def search_dtype(self, weights: Weights, device: Device, versions: Mapping[str, str]) -> str:
        """Return half precision where there is a GPU; on a CPU that would be 16 times slower."""
        on_a_gpu = device.kind == "cuda" and not versions["torch"].endswith("+cpu")
        return "float16" if on_a_gpu else "float32"

    def check_response(
        self, response: Response, samples: Calibration | None, search_dtype: str
    ) -> None:
        """Check also that AutoAWQ dropped nothing but the end that fills no block."""
        assert samples is not None and response.calibration is not None  # noqa: S101
        blocks = samples.card.tokens_total // samples.card.spec.max_sequence_length
        if response.calibration.blocks != blocks:
            raise QuantizationError(
                f"AutoAWQ used {response.calibration.blocks} blocks of the calibration set, "
                f"not {blocks}.",
                cause="This version of AutoAWQ treats samples in another way.",
                remedy=self.worker.own_environment,
            )
        super().check_response(response, samples, search_dtype)
