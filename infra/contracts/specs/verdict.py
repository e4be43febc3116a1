"""Which loss is acceptable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, WithJsonSchema, field_validator

from infra.contracts.errors import SpecError
from infra.contracts.specs.spec import Spec, refuse

_GATES: dict[str, Any] = {
    "anyOf": [{"enum": ["all", "any", "none"], "type": "string"}, {"type": "boolean"}]
}
"""What a form or a deployment may hold: also what those from before candidates had names do."""


_Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class VerdictSpec(Spec):
    """Which loss is acceptable, and how sure one has to be. A test of non-inferiority.

    PASS: the loss over all rows is shown to be smaller than the margin, no task lost more than its
    own, and the baseline does better than guessing at each. FAIL: a loss is shown, and not shown
    to be within the margin; or one task is shown to have lost, and more than its margin. Everything
    else is INCONCLUSIVE. A task without points that has a margin among `margins` has to be shown
    to be within it; a suite of only such tasks is judged by them alone.
    """

    margin_points: float = Field(default=1.0, gt=0, le=100)
    """Loss over all rows of all tasks that is still acceptable, percentage points."""

    task_margin_points: float = Field(default=3.0, gt=0, le=100)
    """Loss that no single task may exceed, percentage points."""

    margins: dict[str, _Margin] = Field(default_factory=dict)
    """Loss that is acceptable in one metric, in the metric's own unit. By the metric's name without
    its filter (`word_perplexity`), or by task and metric (`wikitext/word_perplexity`), which goes
    first. Percentage points for metrics in points, where it takes the place of
    `task_margin_points`; else the unit of the metric's value: nats, bits, BLEU, perplexity."""

    confidence: float = Field(default=0.95, ge=0.8, lt=1)
    """One minus the chance of a PASS at a true loss of exactly the margin, and of a FAIL without
    any loss."""

    power: float = Field(default=0.8, ge=0.5, lt=1)
    """Chance to find a loss, or the lack of one, that a run is planned for."""

    flip_rate: float | None = Field(default=None, gt=0, lt=1)
    """Share of rows expected to be right in one arm alone, for planning. Empty: as in earlier runs
    of the same label, or 0.1 without any."""

    if_unresolvable: Literal["refuse", "widen"] = "refuse"
    """What to do before a run whose rows are too few for the margin: refuse it, or widen the margin
    to what they can resolve, which the verdict then says. What earlier runs lost widens it no
    further than the rate that is assumed without them."""

    gate: Annotated[Literal["all", "any", "none"], WithJsonSchema(_GATES)] = "all"
    """Which candidates have to pass, or else the run ends as failed (`Regressed`, `Inconclusive`),
    so that nothing that waits for it goes on: all of them, any one, or none: the verdicts are then
    only reported."""

    early_stop: bool = False
    """Stop asking the candidate as soon as the verdict is certain, by a test that may be
    looked at after every row. Loses some power for the time saved. Takes tasks whose rows are right
    or wrong."""

    @field_validator("gate", mode="before")
    @classmethod
    def _on_or_off(cls, given: object) -> object:
        # Recipes and deployments from the time of one candidate say true or false.
        return {True: "all", False: "none"}[given] if isinstance(given, bool) else given

    def among(self, candidates: int) -> Self:
        """Return what each of several candidates is held against.

        Each may err with its part of the chance alone (Bonferroni), so that the chance of any wrong
        PASS, and that of any wrong FAIL, is no larger than with one candidate.
        """
        if candidates <= 1:
            return self
        return self.model_copy(update={"confidence": 1 - (1 - self.confidence) / candidates})

    def own_margin(self, task: str, metric: str) -> float | None:
        """Return the margin that a metric has among `margins`, in its own unit; none without one.

        Args:
            task: Task or group.
            metric: With or without its filter.
        """
        return own_margin(self.margins, task, metric)

    @refuse
    def _names_metrics(self) -> Self:
        for key in self.margins:
            task, slash, metric = key.rpartition("/")
            bare = metric.partition(",")[0].strip()
            if metric == bare and bare and (task or not slash):
                continue
            name = f"{task}/{bare}" if task and bare else bare or "word_perplexity"
            raise SpecError(
                f"verdict.margins names {key!r}, which is no metric.",
                cause="A key is a metric's name without its filter, or task/metric for one task.",
                remedy=f"Write it like verdict.margins.{name}={self.margins[key]:g}.",
            )
        return self

    @refuse
    def _guard_is_wider(self) -> Self:
        if self.task_margin_points < self.margin_points:
            raise SpecError(
                f"verdict.task_margin_points={self.task_margin_points:g} is below "
                f"margin_points={self.margin_points:g}.",
                cause="One task has fewer rows than all of them together, and needs more room.",
                remedy="Raise task_margin_points or lower margin_points.",
            )
        return self


def own_margin(margins: Mapping[str, float], task: str, metric: str) -> float | None:
    """Return the margin of a metric; that of the task alone goes first. See `VerdictSpec`."""
    name = metric.partition(",")[0]
    return margins.get(f"{task}/{name}", margins.get(name))
