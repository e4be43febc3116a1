"""An evaluation of an endpoint that somebody else runs."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.endpoint import EndpointSpec
from infra.contracts.specs.evaluation import EvaluationSpec
from infra.contracts.specs.results import ResultsSpec
from infra.contracts.specs.spec import Spec, refuse
from infra.contracts.specs.verdict import VerdictSpec


class EndpointRunSpec(Spec):
    """An endpoint, the tasks, and where the results go."""

    endpoint: EndpointSpec
    """What is evaluated."""

    evaluation: EvaluationSpec
    """Which tasks it is evaluated on."""

    baseline: str | None = Field(default=None, min_length=1)
    """Folder of a finished run (`runs/<run-id>`), whose baseline, or endpoint, answered the same
    rows: this endpoint is held against it, row by row. Empty: nothing is judged."""

    verdict: VerdictSpec = VerdictSpec()
    """Which loss against the baseline is acceptable."""

    results: ResultsSpec = ResultsSpec(label="endpoint")
    """Where the results go."""

    @refuse
    def _fits_an_endpoint(self) -> Self:
        for field, set_, instead in (
            ("noise_floor", self.evaluation.noise_floor, "Leave it out; run it twice instead."),
            ("concurrency", self.evaluation.concurrency, "Set endpoint.concurrency."),
            (
                "tokenizer='baseline'",
                self.evaluation.tokenizer == "baseline",
                "Name a tokenizer in endpoint.tokenizer.",
            ),
        ):
            if set_:
                raise SpecError(
                    f"evaluation.{field} is not for an endpoint that somebody else runs.",
                    cause="There is no baseline here, and no engine whose counters tell its load.",
                    remedy=instead,
                )
        return self

    @refuse
    def _draws_nothing(self) -> Self:
        if drawn := [task.name for task in self.evaluation.tasks if task.sampling]:
            raise SpecError(
                f"evaluation.tasks has sampling for {', '.join(drawn)}, which is not for an "
                "endpoint that somebody else runs.",
                cause="Each repeat is drawn with a seed of its own, the same each time it is "
                "asked; whether an endpoint heeds seeds cannot be seen.",
                remedy="Leave sampling out, or serve the model here.",
            )
        return self

    @refuse
    def _is_asked_whole(self) -> Self:
        if self.verdict.early_stop:
            raise SpecError(
                "verdict.early_stop is not for an endpoint that somebody else runs.",
                cause="It is asked every row.",
                remedy="Leave it out; lower the limit of the tasks to ask less.",
            )
        return self

    @property
    def judged_verdict(self) -> VerdictSpec:
        """What the endpoint is held against, as a run's one candidate is."""
        return self.verdict

    @refuse
    def _answers_fit(self) -> Self:
        for task in self.evaluation.tasks:
            window = self.endpoint.window
            if window and task.max_gen_toks and task.max_gen_toks >= window:
                raise SpecError(
                    f"Task {task.name} may answer with {task.max_gen_toks} tokens, but "
                    f"endpoint.window is {window}.",
                    cause="Prompt and answer share the window; no token would be left to ask.",
                    remedy="Lower the task's max_gen_toks or raise endpoint.window.",
                )
        return self

    def starting(self, moment: datetime) -> Self:
        """Return the run as it starts at a moment: with that for `now`, where it is asked for."""
        if self.evaluation.moment != "now":
            return self
        at = {"moment": moment.replace(tzinfo=None, microsecond=0)}
        return self.model_copy(update={"evaluation": self.evaluation.model_copy(update=at)})
