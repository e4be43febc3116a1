"""One run: everything that decides its outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import TypeAdapter, model_validator

from infra.contracts.errors import SpecError
from infra.contracts.specs.arms import BASELINE, ArmSpec, CandidateSpec
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.evaluation import EvaluationSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.places import CALIBRATION, Places, placed
from infra.contracts.specs.probes import FidelitySpec, SpeedSpec
from infra.contracts.specs.quantization import QuantizationSpec, Recipe
from infra.contracts.specs.results import ResultsSpec
from infra.contracts.specs.serving import ServingSpec
from infra.contracts.specs.spec import Spec, recorded, refuse
from infra.contracts.specs.verdict import VerdictSpec

SHORT_FORM = ("model", "serving", "quantization")
"""Fields of a run with one model and one recipe, instead of `baseline` and `candidates`."""

_RECIPE: TypeAdapter[Recipe] = TypeAdapter(QuantizationSpec)

_LONG_FORM_ALONE = ("conversations", "baseline_pack")
"""Fields that the short form does not have."""


class RunSpec(Spec):
    """One baseline, any number of candidates, the tasks, and what is acceptable.

    With `model`, `quantization` and `serving` instead of `baseline` and `candidates`, the model as
    it is is the baseline, and what the recipe makes of it the one candidate.
    """

    baseline: ArmSpec
    """What every candidate is held against."""

    candidates: tuple[CandidateSpec, ...]
    """What is changed, each time in another way. Empty: the baseline is measured, and nothing
    judged."""

    baseline_pack: str | None = None
    """File that `export-baseline` wrote: the baseline's answers are taken from it, and it is not
    evaluated. Tasks, rows, prompts and engine have to be those of this run."""

    conversations: CalibrationSpec | None = None
    """Conversations to look at candidates with before their tasks. Empty: those that the first
    checkpoint is made from, if one is made."""

    evaluation: EvaluationSpec
    """Which tasks all arms are evaluated on."""

    fidelity: FidelitySpec = FidelitySpec()
    """How closely a candidate is compared beyond right and wrong."""

    speed: SpeedSpec = SpeedSpec()
    """What is timed."""

    verdict: VerdictSpec = VerdictSpec()
    """Which loss is acceptable."""

    results: ResultsSpec = ResultsSpec()
    """Where the results go."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.keys() & set(SHORT_FORM):
            return given
        if twice := sorted(given.keys() & {"baseline", "candidates"}):
            short = sorted(given.keys() & set(SHORT_FORM))
            raise SpecError(
                f"A run has both {', '.join(twice)} and {', '.join(short)}.",
                cause="The latter are a short way to write the former.",
                remedy="Give either baseline and candidates, or model and quantization.",
            )
        whole = {key: value for key, value in given.items() if key not in SHORT_FORM}
        whole["baseline"] = {key: given[key] for key in ("model", "serving") if key in given}
        if "quantization" in given:
            recipe = _RECIPE.validate_python(given["quantization"])
            whole["candidates"] = [{"name": recipe.slug, "quantization": recipe}]
        return whole

    @classmethod
    def short(
        cls,
        *,
        model: ModelSpec,
        quantization: QuantizationSpec,
        serving: ServingSpec | None = None,
        **rest: Any,
    ) -> Self:
        """Return the run of one model and one recipe.

        Args:
            model: The baseline, as it comes.
            quantization: What makes the candidate of it.
            serving: How both are served.
            rest: As of every run.
        """
        baseline = ArmSpec(model=model, serving=serving or ServingSpec())
        candidate = CandidateSpec(name=quantization.slug, quantization=quantization)
        return cls(baseline=baseline, candidates=(candidate,), **rest)

    @property
    def short_form(self) -> dict[str, Any] | None:
        """The run as `short` takes it; none if it is more than one model and one recipe."""
        if not self.candidates:
            return None
        [candidate, *more] = self.candidates
        recipe = candidate.quantization
        others = (
            candidate.model, candidate.adapter, candidate.serving,
            self.baseline.adapter, self.baseline.quantization,
        )  # fmt: skip
        long = (*others, *(getattr(self, name) for name in _LONG_FORM_ALONE))
        if more or any(long) or recipe is None or candidate.name != recipe.slug:
            return None
        rest = self.model_dump(mode="json", exclude={"baseline", "candidates", *_LONG_FORM_ALONE})
        whole = self.model_dump(mode="json", include={"baseline"})["baseline"]
        return {
            "model": whole["model"],
            "quantization": recipe.model_dump(mode="json"),
            "serving": whole["serving"],
            **rest,
        }

    @property
    def arms(self) -> dict[str, ArmSpec]:
        """Name → arm, whole: the baseline first, then each candidate."""
        with recorded():  # what cannot work was refused when the spec was built
            others = {one.name: one.beside(self.baseline) for one in self.candidates}
        return {BASELINE: self.baseline, **others}

    @property
    def probe_conversations(self) -> CalibrationSpec | None:
        """Conversations for looking at candidates; none if the run has none."""
        return self.conversations or next(iter(self.calibrations), None)

    @property
    def probe_places(self) -> Places:
        """Where the run has the conversations for looking at candidates."""
        if self.conversations is not None:
            return {CALIBRATION: "conversations"}
        made = ((name, arm.quantization) for name, arm in self.arms.items())
        first = next((name for name, recipe in made if recipe and recipe.calibration), BASELINE)
        return {n: where for n, where in self.places(first).items() if n == "quantization"}

    def places(self, arm: str) -> Places:
        """Return where the run has what its arms have of their own.

        Without a name before it, `serving` or `model` is the baseline's and of all that have none
        of their own; `quantization` is a candidate's where nothing else could be meant.
        """
        if self.short_form is not None:
            return {}
        of_baseline = {"quantization": "baseline.quantization"}
        if arm == BASELINE:
            return of_baseline
        [candidate] = [one for one in self.candidates if one.name == arm]
        return candidate.places if candidate.model else {**of_baseline, **candidate.places}

    @property
    def calibrations(self) -> tuple[CalibrationSpec, ...]:
        """Every set of conversations that a checkpoint is made from, each once."""
        made = (arm.quantization.calibration for arm in self.arms.values() if arm.quantization)
        return tuple({one.model_dump_json(): one for one in made if one}.values())

    @property
    def judged_verdict(self) -> VerdictSpec:
        """What each candidate is held against, so that all err no more often than one."""
        return self.verdict.among(len(self.candidates))

    def starting(self, moment: datetime) -> Self:
        """Return the run as it starts at a moment: with that for `now`, where it is asked for."""
        if self.evaluation.moment != "now":
            return self
        at = {"moment": moment.replace(tzinfo=None, microsecond=0)}
        return self.model_copy(update={"evaluation": self.evaluation.model_copy(update=at)})

    @property
    def evaluated(self) -> dict[str, ArmSpec]:
        """Name → arm, of those that are evaluated in this run."""
        arms = self.arms
        if self.baseline_pack is not None:
            del arms[BASELINE]
        return arms

    @refuse
    def _pack_is_enough(self) -> Self:
        if self.baseline_pack is None:
            return self
        if self.evaluation.noise_floor:
            raise SpecError(
                "evaluation.noise_floor with baseline_pack.",
                cause="The noise floor asks the baseline a second time; a pack cannot be asked.",
                remedy="Leave one of the two out.",
            )
        if self.evaluation.tokenizer == "baseline":
            raise SpecError(
                "evaluation.tokenizer='baseline' with baseline_pack.",
                cause="A pack holds answers, and no tokenizer.",
                remedy="Set evaluation.tokenizer to 'own', or leave baseline_pack out.",
            )
        return self

    @refuse
    def _names_are_their_own(self) -> Self:
        names = [one.name for one in self.candidates]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SpecError(
                f"Two candidates are called {', '.join(twice)}.",
                remedy="Give each candidate a name of its own.",
            )
        return self

    @refuse
    def _held_against_others_that_there_are(self) -> Self:
        names = {one.name for one in self.candidates}
        for one in self.candidates:
            if one.against is None:
                continue
            field = f"candidates.{one.name}.against"
            if one.against == one.name or one.against not in names:
                raise SpecError(
                    f"{field} is {one.against!r}.",
                    cause="It names another candidate of the same run; every one is held against "
                    "the baseline anyway.",
                    remedy=f"Name one of {', '.join(sorted(names - {one.name})) or 'several'}, or "
                    "leave it out.",
                )
            if self.verdict.early_stop:
                raise SpecError(
                    f"{field} with verdict.early_stop.",
                    cause="Two candidates that stop early do so after different rows.",
                    remedy="Leave one of the two out.",
                )
        return self

    @refuse
    def _candidates_differ_and_can_be_served(self) -> Self:
        for candidate in self.candidates:
            if candidate.beside(self.baseline) == self.baseline:
                raise SpecError(
                    f"Candidate {candidate.name} changes nothing.",
                    cause="All that it names is so in the baseline already.",
                    remedy="Name what it changes. To see what differs with no change at all, set "
                    "evaluation.noise_floor.",
                )
        return self

    @refuse
    def _answers_fit(self) -> Self:
        for name, arm in self.arms.items():
            window = arm.serving.max_model_len
            for task in self.evaluation.tasks:
                if window and task.max_gen_toks and task.max_gen_toks >= window:
                    field = placed("serving.max_model_len", self.places(name))
                    raise SpecError(
                        f"Task {task.name} may answer with {task.max_gen_toks} tokens, "
                        f"but {field} is {window}.",
                        cause="Prompt and answer share the window; no token would be left to ask.",
                        remedy=f"Lower the task's max_gen_toks or raise {field}.",
                    )
        return self
