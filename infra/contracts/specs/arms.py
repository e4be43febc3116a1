"""The arms of a run: what is served beside what."""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationError

from infra.contracts.errors import SpecError
from infra.contracts.specs.adapters import AdapterSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.places import PARTS, Places, errors_placed
from infra.contracts.specs.quantization import QuantizationSpec
from infra.contracts.specs.serving import ServingSpec
from infra.contracts.specs.serving_changes import ServingChanges
from infra.contracts.specs.spec import Spec, refusals, refuse

BASELINE = "baseline"
"""Name of the arm that the others are held against."""


class ArmSpec(Spec):
    """One arm, whole: which model, what is made of it, how it is served."""

    model: ModelSpec
    """The model, or the checkpoint that is made of it."""

    adapter: AdapterSpec | None = None
    """An adapter on top of the model, or merged into it."""

    quantization: QuantizationSpec | None = None
    """How its checkpoint is made. Empty: it is served as it lies there, quantized or not."""

    serving: ServingSpec = ServingSpec()
    """How the engine serves it."""


class CandidateSpec(Spec):
    """What is changed. Whatever is left out is as in the baseline."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)
    """Name of this candidate in the report, in files and in the history: lowercase letters, digits,
    dashes."""

    model: ModelSpec | None = None
    """A model or a ready-made checkpoint of its own."""

    adapter: AdapterSpec | None = None
    """An adapter on top of the model, or merged into it before anything else."""

    quantization: QuantizationSpec | None = None
    """How its checkpoint is made. Left out beside a model of its own, that is served as it lies
    there."""

    serving: ServingChanges | None = None
    """What its engine does otherwise."""

    against: str | None = None
    """Another candidate that it is held against as well, beside the baseline. Of a candidate that
    differs in two things at once that tells one from the other: held against one on the same engine
    that is not quantized, what is left is the quantization's part. No verdict depends on it."""

    @refuse
    def _is_another(self) -> Self:
        if self.name == BASELINE:
            raise SpecError(
                f"A candidate is called {BASELINE!r}.",
                cause="That is what the arm is called that candidates are held against.",
                remedy="Give it another name.",
            )
        changes = self.serving.changed if self.serving else {}
        if not (self.model or self.adapter or self.quantization or changes):
            raise SpecError(
                f"Candidate {self.name} changes nothing.",
                cause="A candidate differs from the baseline in its model, its adapter, its "
                "quantization or its serving.",
                remedy="Name what it changes. To see what differs with no change at all, set "
                "evaluation.noise_floor.",
            )
        return self

    @property
    def places(self) -> Places:
        """Where a run has what this candidate has of its own."""
        return {part: f"candidates.{self.name}.{part}" for part in PARTS if getattr(self, part)}

    def beside(self, baseline: ArmSpec) -> ArmSpec:
        """Return the whole arm.

        Args:
            baseline: The arm whose model, recipe and serving it has where it names none.

        Raises:
            SpecError: Its settings do not go together.
        """
        try:
            serving = self.serving.over(baseline.serving) if self.serving else baseline.serving
        except ValidationError as error:
            with errors_placed(self.places):
                raise next(refusals(error), error) from error
        return ArmSpec(
            model=self.model or baseline.model,
            adapter=self.adapter or (None if self.model else baseline.adapter),
            quantization=self.quantization or (None if self.model else baseline.quantization),
            serving=serving,
        )
