"""Many models in one table: each alone, or with candidates beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.arms import ArmSpec, CandidateSpec
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.evaluation import EvaluationSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.probes import FidelitySpec, SpeedSpec
from infra.contracts.specs.results import ResultsSpec
from infra.contracts.specs.run import RunSpec
from infra.contracts.specs.serving import ServingSpec
from infra.contracts.specs.serving_changes import ServingChanges
from infra.contracts.specs.spec import Spec, refuse
from infra.contracts.specs.verdict import VerdictSpec


class MatrixModelSpec(Spec):
    """One model of a matrix."""

    model: ModelSpec
    """The model, or a ready-made checkpoint."""

    name: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9.-]*)?$", max_length=64)
    """Its name in the table. Empty: the last part of its id."""

    candidates: tuple[CandidateSpec, ...] = ()
    """Candidates of its own, beside those of the matrix. Without any it is measured alone."""

    serving: ServingChanges | None = None
    """What its engine does otherwise."""

    @property
    def title(self) -> str:
        """What it is called in the table."""
        last = self.model.id.rstrip("/").rpartition("/")[2]
        return self.name or re.sub(r"[^a-z0-9.]+", "-", last.lower()).strip("-.")


class CellSpec(Spec):
    """One cell of a matrix: a run of its own."""

    model: str
    """Name of the model in the table."""

    candidate: str | None
    """Name of the candidate; none where the model is measured alone."""

    run: RunSpec
    """What is run."""

    @property
    def name(self) -> str:
        """Name of the cell: `qwen2.5-7b-instruct/ready-made`."""
        return self.model if self.candidate is None else f"{self.model}/{self.candidate}"


class MatrixSpec(Spec):
    """Models times candidates under the same conditions, each cell a run of its own."""

    models: tuple[MatrixModelSpec, ...] = Field(min_length=1)
    """The models, in the order of the table."""

    candidates: tuple[CandidateSpec, ...] = ()
    """Candidates of every model."""

    serving: ServingSpec = ServingSpec()
    """How all of them are served."""

    conversations: CalibrationSpec | None = None
    """Conversations to look at candidates with, where none is made from any."""

    evaluation: EvaluationSpec
    """Which tasks all of them are evaluated on."""

    fidelity: FidelitySpec = FidelitySpec()
    """How closely a candidate is compared beyond right and wrong."""

    speed: SpeedSpec = SpeedSpec()
    """What is timed."""

    verdict: VerdictSpec = VerdictSpec()
    """Which loss is acceptable."""

    results: ResultsSpec = ResultsSpec()
    """Where the results go."""

    @refuse
    def _names_are_their_own(self) -> Self:
        names = [cell.name for cell in self.cells]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SpecError(
                f"Two cells of the matrix are called {', '.join(twice)}.",
                remedy="Give the models, or their candidates, names of their own.",
            )
        return self

    @property
    def cells(self) -> tuple[CellSpec, ...]:
        """Every cell: each candidate of each model, and each model that has none."""
        return tuple(self._cells())

    def _cells(self) -> Iterator[CellSpec]:
        for one in self.models:
            serving = one.serving.over(self.serving) if one.serving else self.serving
            baseline = ArmSpec(model=one.model, serving=serving)
            for candidate in (*self.candidates, *one.candidates):
                run = self._run(baseline, (candidate,))
                yield CellSpec(model=one.title, candidate=candidate.name, run=run)
            if not (self.candidates or one.candidates):
                yield CellSpec(model=one.title, candidate=None, run=self._run(baseline, ()))

    def _run(self, baseline: ArmSpec, candidates: tuple[CandidateSpec, ...]) -> RunSpec:
        # A cell that does not pass must not end the matrix: its verdict stands in the table.
        verdict = self.verdict.model_copy(update={"gate": "none"})
        return RunSpec(
            baseline=baseline,
            candidates=candidates,
            conversations=self.conversations,
            evaluation=self.evaluation,
            fidelity=self.fidelity,
            speed=self.speed,
            verdict=verdict,
            results=self.results,
        )
