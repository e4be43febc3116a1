"""AutoAWQ: activation-aware weight quantization, 4 bits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint, PythonEnvironment, Quantization, Weights
from infra.contracts.specs import QuantizationSpec, ServingSpec
from infra.models.memory_need import Shape
from infra.quantizers.awq import limits, memory, quantizer
from infra.quantizers.port import Need
from infra.store.settings import Settings


class Awq:
    """See `infra.quantizers.port.Quantizer`."""

    title = "AutoAWQ"

    def check(self, weights: Weights, recipe: QuantizationSpec) -> None:
        """Refuse a model that AutoAWQ would fail on."""
        quantizer.check(weights, recipe)

    def check_named(
        self, model: str, config: Mapping[str, Any] | None, quantization: Quantization | None
    ) -> None:
        """Refuse a model by its small files, or by its name where config.json is out of reach."""
        limits.check_unquantized(model, quantization)
        if config is None:
            limits.check_name(model)
        else:
            limits.check_kind(model, config)

    def check_served(
        self, recipe: QuantizationSpec, serving: ServingSpec, shape: Shape | None
    ) -> None:
        """Refuse types that the kernels do not compute in, and GPUs that would share a group."""
        limits.check_served(recipe, serving, shape)

    def need(self, shape: Shape, recipe: QuantizationSpec, *, gpu: bool) -> Need:
        """Return the model in main memory, and one layer at a time on the GPU."""
        return memory.need(shape, recipe.calibration, gpu=gpu)

    def make(
        self,
        weights: Weights,
        recipe: QuantizationSpec,
        *,
        environment: PythonEnvironment,
        moment: datetime,
        template_variables: Mapping[str, Any],
        settings: Settings,
        progress: Progress,
        log: Path,
        trust_remote_code: bool,
    ) -> tuple[Checkpoint, bool]:
        """Let AutoAWQ make it, in an environment of its own."""
        return quantizer.quantize(
            weights,
            recipe,
            environment=environment,
            moment=moment,
            template_variables=template_variables,
            settings=settings,
            progress=progress,
            log=log,
            trust_remote_code=trust_remote_code,
        )
