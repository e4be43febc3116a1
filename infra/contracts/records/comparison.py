"""The two arms beside each other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.contracts.records.arms import MetricValue
from infra.contracts.records.functions import FunctionCalls
from infra.contracts.records.gaps import ChoiceGaps
from infra.contracts.records.record import Record, Side
from infra.contracts.records.reliability import TaskReliability
from infra.contracts.records.repeats import TaskRepeats


class MetricComparison(Record):
    """Baseline beside candidate, row by row."""

    task: str
    subtask_of: str | None = None
    metric: str
    baseline: MetricValue
    candidate: MetricValue
    unit: Literal["points", "value"]
    """`points`: every row scores between 0 and 1, so differences are shown as hundredths. As it is
    declared, see `MetricValue.unit`, and as the rows keep to it, see `breach`."""

    breach: str = ""
    """How the rows break what is declared of them, which allows no PASS; empty if they do not."""

    difference: float
    """Candidate minus baseline."""

    low: float | None
    high: float | None
    """Ends of the interval for the difference; none where rows give no basis for one."""

    confidence: float
    method: str
    """Name of the interval, with its source; or why there is none."""

    p_value: float | None
    """Of no difference, two-sided: exact McNemar test; or a paired randomization test of a metric
    without points that has a margin of its own. None for other rows that are not right or
    wrong."""

    p_adjusted: float | None = None
    """The same after Holm, over the primary metrics of all tasks; none for all others."""

    clusters: int | None = None
    """Subjects by which the interval is clustered; none where rows count as independent."""

    chance: float | None = None
    """What guessing scores; none where that is not known."""

    luck: float | None = None
    """Chance that the baseline's choices, dealt out to the questions by lot, score as much: 1 if
    it always makes the same; none where the choices are no few labels."""

    recovery: float | None = None
    """Candidate over baseline."""

    recovery_above_chance: float | None = None
    """The same after taking from both what guessing scores; none if the baseline does not
    beat it."""

    pairs: int
    """Rows in both arms."""

    repeats: int = 1
    """How often each question was asked; each time is a row."""

    lost: int
    """Rows that the baseline has right (or better) and the candidate does not."""

    gained: int
    """Rows that the candidate has right (or better) and the baseline does not."""

    changed: int
    """Rows whose answer differs, right or wrong."""

    primary: bool
    """True for the metric a reader looks at first."""

    @property
    def questions(self) -> int:
        """Questions in both arms, however often each was asked."""
        return self.pairs // self.repeats


class Pooled(Record):
    """The effect over all tasks whose primary metric has points."""

    tasks: tuple[str, ...]
    rows: int
    """Of a task whose questions are asked several times each, questions."""

    repeats: int = 1
    """How often the questions of a task are asked at most."""

    flip_rate: float
    """Share of rows that only one arm has right."""

    difference: float
    """Candidate minus baseline, over all rows, each counting once; good is up."""

    low: float
    high: float
    """Ends of the two-sided interval."""

    confidence: float
    bound: float
    """One-sided lower limit: the largest loss that is not excluded, at `VerdictSpec.confidence`."""

    method: str
    """Name of the interval, with its source."""

    @property
    def loss_points(self) -> tuple[float, float, float]:
        """What is missing, in percentage points, with the ends of its interval, low before high."""
        # From zero, so that no loss is 0 and not -0.
        return 0 - 100 * self.difference, 0 - 100 * self.high, 0 - 100 * self.low


class NoiseTask(Record):
    """How one task's rows differ where the baseline is evaluated twice."""

    rows: int
    changed: int
    """Rows whose answer differs."""

    lost: int
    gained: int
    """Rows that it has right only the first time, only the second time."""


class NoiseFloor(Record):
    """What changes with no change of the model: the baseline beside itself, in another order."""

    tasks: dict[str, NoiseTask]


class Fidelity(Record):
    """How closely the candidate follows the baseline on the same texts."""

    documents: int
    tokens: int
    """Positions that both arms read."""

    agreement: float
    """Share of positions at which both expect the same token first."""

    kl_mean: float
    kl_median: float
    kl_p99: float
    """Kullback-Leibler divergence of the candidate's next token from the baseline's, nats:
    over the baseline's likeliest tokens, all others counted as one, which makes it a lower
    bound."""

    top_k: int
    perplexity_baseline: float
    perplexity_candidate: float
    texts: str
    """Where the texts are from."""


class TokensPerRight(Record):
    """What a right answer costs one arm: tokens of all its answers over those that are right."""

    tokens: float
    low: float
    high: float | None
    """Ends of the interval; no upper one where chance may leave no answer right."""


class AnswerLengths(Record):
    """How long one arm's written answers are."""

    answers: int
    tokens_mean: float
    tokens_median: float
    endless: int
    """Answers that ran into the token limit."""

    per_right: TokensPerRight | None = None
    """None if rows are not marked from 0 to 1, no answer is right, or in earlier versions."""


class RowComparison(Record):
    """What the rows of two arms show beside each other, whatever answered them."""

    schema_version: Literal[4] = 4
    metrics: tuple[MetricComparison, ...]
    prompts_differ: dict[str, int] = Field(default_factory=dict)
    """Task → rows whose prompts differ, since the candidate has a tokenizer or a chat template of
    its own. Such rows are compared by question."""

    pooled: Pooled | None = None
    """None if no task has points."""


class Comparison(RowComparison):
    """The whole comparison."""

    tokenizer_differs: tuple[str, ...] = ()
    """How the candidate's tokenizer and chat template are others than the baseline's, where its own
    write its prompts: a sentence for each part. Empty as well if one of them is not here."""

    size_ratio: float
    """Bytes of the candidate's weights over bytes of the baseline's."""

    noise: NoiseFloor | None = None
    """None if it was not asked for."""

    reliability: dict[str, TaskReliability] = Field(default_factory=dict)
    """Task judged by the probabilities of its choices → how sure and how right the arms are; empty
    in earlier versions."""

    functions: dict[str, FunctionCalls] = Field(default_factory=dict)
    """Task with functions → how well they are called; empty in earlier versions."""

    repeats: dict[str, TaskRepeats] = Field(default_factory=dict)
    """Task whose questions were asked several times each → how steadily, and pass@k."""

    gaps: ChoiceGaps | None = None
    """None if no task takes the best of several choices; of earlier versions as well."""

    fidelity: Fidelity | None = None
    lengths: dict[str, dict[Side, AnswerLengths]] = Field(default_factory=dict)
    """Of every task that lets the model write."""
