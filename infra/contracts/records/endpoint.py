"""What was found of an endpoint that somebody else runs, and what it scored."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from infra.contracts.records.arms import TaskScores
from infra.contracts.records.record import Record
from infra.contracts.specs.endpoint import EndpointRunSpec

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


class Beside(Record):
    """An endpoint's rows of one task beside those of another run."""

    metric: str
    rows: int
    baseline: float | None
    """Its mean over these rows; none where rows are no numbers."""

    difference: float | None
    """Endpoint minus baseline."""

    low: float | None
    high: float | None
    """Ends of the paired interval; none where rows give no basis for one."""

    confidence: float
    method: str
    lost: int
    """Rows that the baseline has right (or better) and the endpoint does not."""

    gained: int
    prompts_differ: int
    """Rows that were put in other words, by another tokenizer or chat template."""


class EndpointReport(Record):
    """A finished evaluation of an endpoint."""

    schema_version: Literal[1] = 1
    run_id: str
    created: datetime
    spec: EndpointRunSpec
    found: Found
    tasks: dict[str, TaskScores]
    intervals: dict[str, Interval]
    """Task → of its primary metric; only where its rows give a basis for one."""

    baseline: str = ""
    """What its rows stand beside, for people; empty if nothing."""

    beside: dict[str, Beside] = Field(default_factory=dict)
    """Task → its rows beside the baseline's."""

    spent: Spent
    """Of the whole run."""

    seconds: float
