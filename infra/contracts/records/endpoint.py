"""What was found of an endpoint that somebody else runs, and what it scored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from infra.contracts.records.arms import TaskScores
from infra.contracts.records.comparison import RowComparison
from infra.contracts.records.record import Record
from infra.contracts.records.report import Power, Receipt, Verdict
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.contracts.specs.spec import recorded

Scoring = Literal["read", "forced", "echo", "none"]
"""How log-probabilities of given tokens are had: one request for several chosen tokens, one token
forced at a time, the whole prompt echoed, or not at all."""

Prompts = Literal["tokens", "text", "chat", "none"]
"""How prompts travel: as token ids, as text, or as messages that the endpoint's own template
renders."""

Grade = Literal["exact", "exact but slow", "generation only", "not possible"]


class Ability(Record):
    """One thing that an endpoint was asked to do."""

    name: str
    found: bool
    why: str
    """What showed it, or what was wrong."""


class Outlook(Record):
    """What a task comes to on an endpoint."""

    task: str
    grade: Grade
    """`exact`: the model reads the very tokens that it would here, and log-probabilities are its
    own. `exact but slow`: the same at a request for each choice or token. `generation only`: text
    goes in and comes out, and which tokens the model reads is the endpoint's affair."""

    why: str


class Spent(Record):
    """What was sent to an endpoint, and what it cost."""

    requests: int = 0
    """HTTP requests, those asked again included."""

    prompt_tokens: int = 0
    """As the endpoint counts them, or as they were counted here where it does not say."""

    answer_tokens: int = 0
    money: float = 0.0
    """In the currency of the prices; 0 without any."""


class Found(Record):
    """What an endpoint can do, found out by asking it."""

    schema_version: Literal[1] = 1
    url: str
    model: str
    """As the spec names it."""

    answers_as: str
    """The model's name in its answers; empty if they have none."""

    listed: dict[str, str]
    """What its list of models says of this one."""

    says: dict[str, str] = Field(default_factory=dict)
    """What else it says of itself, by where it says it: answers are kept under this as well. Empty
    in runs of earlier versions."""

    abilities: tuple[Ability, ...]
    window: int | None
    """Tokens of prompt and answer together; none if neither it nor the spec says."""

    window_from: str
    """Who says so."""

    prompts: Prompts
    scoring: Scoring
    outlook: tuple[Outlook, ...] = ()
    """Of each task of the suite."""

    spent: Spent
    """For finding out."""


class Estimate(Record):
    """What one task will take at most, counted before anything of it is sent."""

    requests: int
    prompt_tokens: int
    answer_tokens: int
    """If every answer runs into its limit."""

    counted: bool
    """True if prompts were counted in tokens; else by their length, at four bytes a token."""


class Interval(Record):
    """How far a score may be from what more rows of the kind would give."""

    low: float
    high: float
    confidence: float
    method: str


class EarlierRun(Record):
    """The finished run that an endpoint is held against."""

    run_id: str
    what: str
    """What answered there, for people."""

    seal: str
    """Of its report: whoever has that can check that these rows are from it."""

    by_word: bool = False
    """True if an endpoint answered there too: which model it is is the user's word."""

    tasks: dict[str, TaskScores]
    """What it scored on the endpoint's tasks; the rows are in the endpoint's run."""


class EndpointJudgement(Record):
    """An endpoint held against an earlier run."""

    baseline: EarlierRun
    comparison: RowComparison
    verdict: Verdict
    power: Power | None = None
    """As it was planned."""


class EndpointReport(Record):
    """A finished evaluation of an endpoint."""

    schema_version: Literal[2] = 2
    rules: Literal[3] = 3
    """Version of `Report` by whose rules it was judged."""

    run_id: str
    created: datetime
    spec: EndpointRunSpec
    found: Found
    tasks: dict[str, TaskScores]
    intervals: dict[str, Interval]
    """Task → of its primary metric; only where its rows give a basis for one."""

    judged: EndpointJudgement | None = None
    """None if there is no baseline."""

    spent: Spent
    """Of the whole run."""

    seconds: float
    receipt: Receipt | None = None
    """None until the report is written."""

    @model_validator(mode="wrap")
    @classmethod
    def _of_a_run_that_is_over(cls, document: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        with recorded():
            return read(document)
