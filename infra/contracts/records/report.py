"""What a run is for: plan, verdict, alert, and the report that holds everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from infra.contracts.migration import migrated
from infra.contracts.records.arms import ArmResult, TaskScores
from infra.contracts.records.comparison import Comparison
from infra.contracts.records.models import Overlap
from infra.contracts.records.record import FileDigest, Record
from infra.contracts.specs import BASELINE, ArmSpec, CandidateSpec, RunSpec, recorded


class TaskPower(Record):
    """What one task can show."""

    rows: int
    flip_rate: float
    """Assumed share of rows that only one arm has right."""

    smallest_drop_points: float
    """Smallest true loss that is found with the planned power."""

    repeats: int | None = None
    """How often each question is asked, with answers drawn by chance: `rows` are then questions.
    None where the likeliest answer is taken."""

    correlation: float | None = None
    """Assumed, of the differences between the arms within a question; none without repeats."""

    effective: float | None = None
    """Questions, asked once, that would show as much; none without repeats."""


class Power(Record):
    """What a run can show, planned before anything is spent."""

    tasks: dict[str, TaskPower]
    rows: int
    flip_rate: float
    learned_from: tuple[str, ...] = ()
    """Runs whose flips were counted; empty if the rate is assumed."""

    smallest_drop_points: float
    """Smallest true loss over all rows that is found with the planned power."""

    smallest_margin_points: float
    """Smallest margin within which a model without loss is shown to be, with the planned power."""

    rows_for_margin: int
    """Rows that the spec's margin takes."""

    accelerator_minutes: float | None = None
    """Expected, all arms, in reports of earlier versions."""


class Verdict(Record):
    """What the comparison shows, held against the margin."""

    status: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    """See `VerdictSpec`."""

    headline: str
    """One sentence."""

    reasons: tuple[str, ...] = ()
    """Why it is so, one sentence each, the most important first."""

    needed: str = ""
    """What would make it conclusive; empty if it is."""

    margin_points: float
    """That the verdict was held against."""

    widened_from_points: float | None = None
    """The margin that was asked for, if the rows could not resolve it."""

    own_margins: dict[str, float] = Field(default_factory=dict)
    """Task → the margin of its own that it was held against, in its metric's own unit; see
    `VerdictSpec.margins`."""

    stopped_after: int | None = None
    """Rows after which a sequential test ended the evaluation, all of them if it did not end
    it; none if there was no such test."""


class Alert(Record):
    """Why this run is worse than the last good one of its kind."""

    reasons: tuple[str, ...]
    """One sentence each."""

    good_run: str | None
    """The last run of its kind that passed; none if there is none."""

    changes: tuple[str, ...] = ()
    """What is different since then: `engine: 0.31.0 → 0.32.0`."""


class Receipt(Record):
    """What lets anybody check a report later; see `infra.report.receipt`."""

    files: tuple[FileDigest, ...]
    """Of the run's folder, all but `report.json` itself."""

    rows: dict[str, str]
    """Samples file → the first 6 hexadecimal digits of the SHA-256 of each line, joined."""

    values: dict[str, str]
    """Path of a value in the report → the first 12 hexadecimal digits of its SHA-256."""

    seal: str
    """SHA-256 over everything else in the report."""


class Judgement(Record):
    """One candidate held against the baseline."""

    comparison: Comparison
    verdict: Verdict
    answered: dict[str, TaskScores] | None = None
    """The baseline's tasks over the candidate's rows; none if those are all."""

    against: Comparison | None = None
    """With the other candidate that it is held against as well, which stands in the place of the
    baseline; none without one, or if that has no result. See `CandidateSpec.against`."""

    overlap: Overlap | None = None
    """Of calibration set and tasks; none if it has none, or it could not be read again."""

    alert: Alert | None = None
    """None if it is no worse than earlier runs of its kind, or could not be compared."""

    not_compared: str = ""
    """Why earlier runs could not be compared with; empty if they could, or if there were none."""


class Report(Record):
    """One finished run."""

    schema_version: Literal[4] = 4
    rules: Literal[1, 2, 3] = 3
    """Version whose rules it was judged by: its own when it was written."""

    run_id: str
    created: datetime
    spec: RunSpec
    arms: dict[str, ArmResult]
    """`baseline`, then every candidate that was evaluated, by its name."""

    judged: dict[str, Judgement]
    """Candidate → what came out, in the order in which they were asked for."""

    failed: dict[str, str] = Field(default_factory=dict)
    """Candidate → why there is no result of it."""

    verdict: Verdict
    """Of the whole run: that of its one candidate, or what `VerdictSpec.gate` makes of several."""

    power: Power | None = None
    """As it was planned."""

    timings: dict[str, float]
    """Seconds by stage."""

    reused: tuple[str, ...]
    """Stages whose result an earlier run had already paid for."""

    provenance: dict[str, str]
    """Versions, commit, host, device, Prefect run."""

    receipt: Receipt | None = None
    """None until the report is written."""

    @property
    def baseline(self) -> ArmResult:
        """The arm that the others are held against."""
        return self.arms[BASELINE]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every candidate beside the baseline."""
        return tuple(Pair(self, name) for name in self.judged)

    @model_validator(mode="wrap")
    @classmethod
    def _of_any_version(cls, document: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        with recorded():
            return read(migrated(document) if isinstance(document, dict) else document)


@dataclass(frozen=True)
class Pair:
    """One candidate beside the baseline: all that a report tells of the two."""

    report: Report
    name: str
    """Of the candidate."""

    @property
    def judgement(self) -> Judgement:
        """What came out."""
        return self.report.judged[self.name]

    @property
    def baseline(self) -> ArmResult:
        """The baseline, over the candidate's rows."""
        answered = self.judgement.answered
        whole = self.report.baseline
        return whole if answered is None else whole.model_copy(update={"tasks": answered})

    @property
    def candidate(self) -> ArmResult:
        """The candidate's arm."""
        return self.report.arms[self.name]

    @property
    def arms(self) -> dict[str, ArmResult]:
        """Both, by their names."""
        return {BASELINE: self.baseline, self.name: self.candidate}

    @property
    def comparison(self) -> Comparison:
        """Row by row."""
        return self.judgement.comparison

    @property
    def verdict(self) -> Verdict:
        """Of this candidate."""
        return self.judgement.verdict

    @property
    def spec(self) -> RunSpec:
        """Of the run."""
        return self.report.spec

    @property
    def arm(self) -> ArmSpec:
        """What the candidate is, whole."""
        return self.report.spec.arms[self.name]

    @property
    def change(self) -> CandidateSpec:
        """What the candidate changes."""
        return next(one for one in self.report.spec.candidates if one.name == self.name)
