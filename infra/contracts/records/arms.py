"""What one arm did: its server, scores, readings and speed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from infra.contracts.records.models import CheckpointSummary
from infra.contracts.records.record import Record


class Restart(Record):
    """One time that the engine had to be started again during the evaluation."""

    reason: str
    """Why it ended, in one sentence."""

    answered: int
    """Questions that had been answered by then, and were not asked again."""


class Adjustment(Record):
    """One setting that was changed because the engine did not fit the device."""

    field: str
    """Of the spec: `serving.max_model_len`."""

    before: str
    after: str
    reason: str


class ServerRecord(Record):
    """The engine as it really ran."""

    engine: str = "vllm"
    """Name of the engine; reports of before there was a choice do not say it."""

    version: str
    """As the engine reports it."""

    command: tuple[str, ...]
    """No secret in it."""

    device: str
    """Name of the accelerator or processor."""

    kernel: str | None
    """Class of the linear kernel that the engine's log names for quantized layers."""

    dtype: str | None
    """Data type that the engine's log names."""

    max_model_len: int
    """Tokens."""

    concurrency: int | None
    """Questions in flight at a time; none where it followed the server's counters."""

    startup_seconds: float
    log: str
    """Path of the log, below the run's folder."""

    restarts: tuple[Restart, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    tool_parser: str | None = None
    """What read calls of functions out of the answers; none where no task had functions."""


MetricUnit = Literal["points", "nats", "bits", "value"]
"""`points`: between 0 and 1, shown as hundredths. `value`: no unit of these."""

Aggregation = Literal["mean", "corpus"]
"""How rows become a metric: their mean, or something made of all of them together."""


class MetricValue(Record):
    """One number an evaluation gave."""

    value: float
    stderr: float | None
    """Standard error as lm-eval computes it; none where it has no formula."""

    n: int
    """Documents that it is of: all, or those whose rows carry it, where that is not every row."""

    higher_is_better: bool = True
    unit: MetricUnit | None = None
    """As it is declared; see `infra.suite.metrics`. None in scores of earlier versions."""

    aggregation: Aggregation | None = None
    """As it is declared. None in scores of earlier versions."""

    chance: float | None = None
    """What guessing scores, where the task declares it; else the rows say it, if anything does."""


class SubmissionFile(Record):
    """What an arm says of rows without labels, one line a row, to be handed in somewhere."""

    path: str
    """CSV, below the run's folder."""

    rows: int
    uniform: int
    """Rows that hold nothing to ask, and have the uniform answer."""


class TaskScores(Record):
    """What one arm scored on one task or group."""

    schema_version: Literal[1] = 1
    name: str
    metrics: dict[str, MetricValue]
    """`<metric>,<filter>` as lm-eval names it → value."""

    left_out: tuple[str, ...] = ()
    """Metrics whose value is no finite number; never the primary one."""

    primary_metric: str
    """The one a reader looks at first: the task's first metric under its strictest filter."""

    n: int
    """Documents."""

    num_fewshot: int
    version: str
    """Task version in lm-eval."""

    conditions: dict[str, Any] = Field(default_factory=dict)
    """Conditions of the evaluation, by the names of the spec's fields: arms have to agree."""

    dataset: str
    """Dataset the rows belong to, and where they were read."""

    questions: str
    """SHA-256 over the doc, prompt and target hashes of all rows: equal for equal questions."""

    subtasks: dict[str, TaskScores] = Field(default_factory=dict)
    """Of a group; empty for a plain task."""

    tokenizer: str = ""
    """Digest of the tokenizer and the chat template that wrote the prompts. Where those of two arms
    differ, rows are paired by question. Empty in scores of earlier versions."""

    samples: str
    """JSONL of the rows, below the run's folder."""

    seconds: float
    truncated: int = 0
    """Answers that ran into the token limit."""

    unfinished: int = 0
    """Answers that ended while the model still thought: they hold none, and are marked so."""

    nothing_to_ask: int = 0
    """Rows that hold nothing to ask: whatever was answered, they have the uniform answer."""

    submission: SubmissionFile | None = None
    """Of a task whose rows have no labels: it decides nothing."""

    joules: float | None = None
    """That the boards of the server's accelerators took while its rows were asked, by the driver's
    counters; of a group as a whole. None where nobody can tell, and where any answer was kept from
    before; see `infra.machine.energy`."""

    kept: int = 0
    """Requests that were not sent since their answers were kept from before: `seconds` are those of
    the others. Where tasks are stopped early, in the first round alone. 0 in scores of earlier
    versions."""

    reused: bool = False
    """True if an earlier run had already paid for it."""

    @property
    def distinct(self) -> int:
        """Questions, however often each was asked."""
        sampling = self.conditions.get("sampling") or {}
        return self.n // int(sampling.get("repeats", 1))


class Check(Record):
    """One thing that triage looked at."""

    name: str
    value: str
    """What was found."""

    wanted: str
    """What it should be."""

    ok: bool


class Triage(Record):
    """The look at a candidate before its tasks."""

    schema_version: Literal[1] = 1
    checks: tuple[Check, ...]
    agreement: float | None
    """Share of next tokens on which it agrees with the baseline; none if that was not measured."""

    seconds: float


class Reading(Record):
    """What one arm expected next in the fidelity texts; compared, but too long for a report."""

    schema_version: Literal[1] = 1
    texts: str
    """SHA-256 over the token ids of all texts: equal for equal texts."""

    file: str
    """Of the single positions, below the run's folder."""

    documents: int
    tokens: int
    """Positions that were read."""

    nll: float
    """Mean negative log-likelihood, nats a token."""

    perplexity: float


class SpeedPoint(Record):
    """One measurement by the engine's own benchmark."""

    input_tokens: int
    output_tokens: int
    concurrency: int
    requests: int
    """That were answered."""

    failed: int
    ttft_ms_median: float
    """Time to first token."""

    ttft_ms_p99: float
    tpot_ms_median: float
    """Time per output token after the first."""

    tpot_ms_p99: float
    output_tokens_per_second: float
    total_tokens_per_second: float
    requests_per_second: float
    seconds: float
    half_width: float | None = None
    """Of the 95 % interval of a request's mean time, as a share of that mean."""

    answers: tuple[tuple[float, float | None], ...] = ()
    """Of each request that was answered, milliseconds to its first token and for each further one;
    none of an answer of one token. Empty where an earlier version timed."""

    joules: float | None = None
    """That the boards of its accelerators took while all requests were asked, by the driver's
    counters. None where nobody can tell; see `infra.machine.energy`."""

    @property
    def joules_per_output_token(self) -> float | None:
        """Joules over all written tokens: their prompts were read for them, so it is in it."""
        return self._joules_per(self.output_tokens_per_second)

    @property
    def joules_per_token(self) -> float | None:
        """Joules over all tokens, read or written."""
        return self._joules_per(self.total_tokens_per_second)

    def _joules_per(self, tokens_per_second: float) -> float | None:
        # What failed took energy as well, and nobody counted its tokens.
        if self.joules is None or self.failed or not tokens_per_second:
            return None
        return self.joules / (tokens_per_second * self.seconds)

    def goodput(self, ttft_ms: float | None, tpot_ms: float | None) -> float | None:
        """Return the requests a second that kept an objective (Zhong et al., 2024, DistServe).

        None if there is no objective, or nothing is known of single requests.

        Args:
            ttft_ms: Within which the first token has to come; any time if not given.
            tpot_ms: How long each further one may take; any time if not given.
        """
        if not self.answers or (ttft_ms is None and tpot_ms is None):
            return None
        kept = sum(
            (ttft_ms is None or first <= ttft_ms)
            and (tpot_ms is None or further is None or further <= tpot_ms)
            for first, further in self.answers
        )
        return kept / self.seconds


class MemoryAtLoad(Record):
    """What the engine took when it had loaded the model. None where it was not reported."""

    weights_bytes: int | None
    """Of the weights on the device, as the engine's log says."""

    kv_cache_tokens: int | None
    """Tokens for which the engine then had room."""

    process_bytes: int | None
    """Resident memory of the engine's processes, on a CPU; memory on the accelerators elsewhere."""


class Bench(Record):
    """How fast one arm was, and what it took."""

    schema_version: Literal[1] = 1
    engine_version: str
    device: str
    points: tuple[SpeedPoint, ...]
    memory: MemoryAtLoad
    command: tuple[str, ...]
    """Of the first point."""

    seconds: float
    """That all of it took."""

    reused: bool = False
    """True if it was measured in an earlier run."""


class ArmSpeed(Record):
    """How long one arm took."""

    startup_seconds: float
    evaluation_seconds: float
    documents_per_second: float
    waited_seconds: float = 0.0
    """Until others had done with the accelerators, or with the same arm."""


class ArmResult(Record):
    """One arm: what was served, how, and what it scored."""

    identity: str = ""
    """Digest of all that decides what it answers besides the questions: checkpoint, engine, its
    command line, environment and device. Empty in reports of earlier versions."""

    checkpoint: CheckpointSummary
    server: ServerRecord
    tasks: dict[str, TaskScores]
    speed: ArmSpeed
    triage: Triage | None = None
    """Of a candidate."""

    reading: Reading | None = None
    """None if fidelity was not asked for."""

    bench: Bench | None = None
    """None if speed was not asked for."""

    not_measured: tuple[str, ...] = ()
    """What was asked for and could not be had beside the scores, each with the reason."""

    @property
    def asked_whole(self) -> bool:
        """Whether its tasks took the time that all their rows take: no answer was kept before."""
        return not any(task.kept for task in self.tasks.values())
