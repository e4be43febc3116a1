"""What came out. Every record is written as versioned JSON and read back as it was."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.contracts.specs import CalibrationSpec, QuantizationSpec, RunSpec

SCHEMA_VERSION = 1
Arm = Literal["base", "quantized"]


class Record(BaseModel):
    """Base of everything that came out: immutable, no unknown field passes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileDigest(Record):
    """One file of a folder."""

    name: str
    """Path below the folder, with forward slashes."""

    size: int
    """Bytes."""

    sha256: str
    """Hexadecimal digest of the content."""


class Weights(Record):
    """A model folder, whole and verified."""

    schema_version: Literal[1] = 1
    path: Path
    """Folder, absolute."""

    source: Literal["modelscope", "huggingface", "local"]
    id: str
    """Repository id, or the folder as the user wrote it."""

    revision: str | None
    """Commit that the requested revision resolved to; none for a local folder."""

    files: tuple[FileDigest, ...]
    digest: str
    """SHA-256 over the names and digests of all files: the identity of the weights."""

    architecture: str
    """`architectures[0]` of config.json."""

    size_bytes: int
    """Of the weight files alone."""


class CalibrationCard(Record):
    """What the quantizer really saw."""

    spec: CalibrationSpec
    fingerprint: str
    """SHA-256 over the rendered conversations that were used, in order."""

    read: int
    """Conversations in the source."""

    used: int
    dropped_too_long: int
    """Longer than `max_sequence_length` tokens: AutoAWQ would skip them without a word."""

    dropped_beyond_max: int
    """Not looked at, because `max_samples` usable ones had been found before."""

    tokens_min: int
    tokens_median: int
    tokens_max: int
    tokens_total: int
    """Tokens of the used conversations."""


class Overlap(Record):
    """Exam rows whose words also stand in the calibration set."""

    ngram: int
    """Words in a row that have to be the same."""

    rows: int
    """Exam rows that were looked at."""

    found: dict[str, int]
    """Task → rows that share at least one such sequence with the calibration set."""

    examples: tuple[str, ...] = ()
    """The first shared sequences."""


class QuantizedCheckpoint(Record):
    """A quantized model folder with everything that decided it."""

    schema_version: Literal[1] = 1
    path: Path
    """Folder, absolute."""

    digest: str
    """SHA-256 over the names and digests of all files."""

    files: tuple[FileDigest, ...]
    size_bytes: int
    """Of the weight files alone."""

    base_digest: str
    """Digest of the weights it was made from."""

    recipe: QuantizationSpec
    quantization_config: dict[str, Any]
    """As the checkpoint's own config.json has it."""

    calibration: CalibrationCard
    versions: dict[str, str]
    """Of Python, torch, transformers, autoawq."""

    device: str
    """Name of the device it was quantized on."""

    search_dtype: str = "float16"
    """In which AWQ searched for scales: `float32` on a CPU, where float16 is 16 times slower."""

    seconds: float
    peak_memory_bytes: int
    """Of the accelerator where there is one, else of the process."""


class PythonEnvironment(Record):
    """An interpreter with the packages one stage needs."""

    name: str
    """`quantizer`, `server-cpu`, `server-cuda`, …"""

    python: Path
    """Absolute path of the interpreter."""

    digest: str
    """Of the lock file, or of the interpreter's path and package list if the user provided it."""

    provided: bool
    """True if the user pointed at an interpreter of their own."""


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

    engine: Literal["vllm"] = "vllm"
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


class MetricValue(Record):
    """One number an evaluation gave."""

    value: float
    stderr: float | None
    """Standard error as lm-eval computes it; none where it has no formula."""

    n: int
    """Documents."""

    higher_is_better: bool = True


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
    """How it was asked, by the names of the spec's fields: both arms have to agree."""

    dataset: str
    """Dataset the rows belong to, and where they were read."""

    exam: str
    """SHA-256 over the doc, prompt and target hashes of all rows: equal for equal exams."""

    subtasks: dict[str, TaskScores] = Field(default_factory=dict)
    """Of a group; empty for a plain task."""

    samples: str
    """JSONL of the rows, below the run's folder."""

    seconds: float
    truncated: int = 0
    """Answers that ran into the token limit."""

    reused: bool = False
    """True if an earlier run had already paid for it."""


class CheckpointSummary(Record):
    """The checkpoint of one arm, as the report shows it."""

    path: Path
    digest: str
    size_bytes: int
    quantization: dict[str, Any] | None
    """`quantization_config` of the checkpoint; none for the base model."""


class Check(Record):
    """One thing that triage looked at."""

    name: str
    value: str
    """What was found."""

    wanted: str
    """What it should be."""

    ok: bool


class Triage(Record):
    """The look at the quantized model before its exam."""

    schema_version: Literal[1] = 1
    checks: tuple[Check, ...]
    agreement: float | None
    """Share of next tokens on which it agrees with the base model; none if that was not asked."""

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
    """One measurement of `vllm bench serve`."""

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


class MemoryAtLoad(Record):
    """What the engine took when it had loaded the model. None where it was not told."""

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


class ArmResult(Record):
    """One arm: what was served, how, and what it scored."""

    checkpoint: CheckpointSummary
    server: ServerRecord
    tasks: dict[str, TaskScores]
    speed: ArmSpeed
    triage: Triage | None = None
    """Of the quantized arm."""

    reading: Reading | None = None
    """None if fidelity was not asked for."""

    bench: Bench | None = None
    """None if speed was not asked for."""


class MetricComparison(Record):
    """Base beside quantized, row by row."""

    task: str
    subtask_of: str | None = None
    metric: str
    base: MetricValue
    quantized: MetricValue
    unit: Literal["points", "value"]
    """`points`: every row scores between 0 and 1, so differences are told as hundredths."""

    difference: float
    """Quantized minus base."""

    low: float | None
    high: float | None
    """Ends of the interval for the difference; none where rows give no basis for one."""

    confidence: float
    method: str
    """Name of the interval, with its source; or why there is none."""

    p_value: float | None
    """Exact McNemar test of no difference, two-sided; none where a row is not right or wrong."""

    p_adjusted: float | None = None
    """The same after Holm, over the primary metrics of all tasks; none for all others."""

    clusters: int | None = None
    """Subjects by which the interval is clustered; none where rows count as independent."""

    chance: float | None = None
    """What guessing scores; none where that is not known."""

    recovery: float | None = None
    """Quantized over base."""

    recovery_above_chance: float | None = None
    """The same after taking from both what guessing scores; none if base does not beat it."""

    pairs: int
    """Rows in both arms."""

    lost: int
    """Rows that the base model has right (or better) and the quantized model does not."""

    gained: int
    """Rows that the quantized model has right (or better) and the base model does not."""

    changed: int
    """Rows whose answer differs, right or wrong."""

    primary: bool
    """True for the metric a reader looks at first."""


class Pooled(Record):
    """The effect over all tasks whose primary metric scores rows between 0 and 1."""

    tasks: tuple[str, ...]
    rows: int
    flip_rate: float
    """Share of rows that only one arm has right."""

    difference: float
    """Quantized minus base, over all rows, each counting once; good is up."""

    low: float
    high: float
    """Ends of the two-sided interval."""

    confidence: float
    bound: float
    """One-sided lower limit: the largest loss that is not excluded, at `VerdictSpec.confidence`."""

    method: str
    """Name of the interval, with its source."""


class NoiseTask(Record):
    """How one task's rows differ between two sittings of the base model."""

    rows: int
    changed: int
    """Rows whose answer differs."""

    lost: int
    gained: int
    """Rows that only the first sitting, only the second sitting has right."""


class NoiseFloor(Record):
    """What changes with no change of the model: base against base, asked in another order."""

    tasks: dict[str, NoiseTask]


class Fidelity(Record):
    """How closely the quantized model follows the base model on the same texts."""

    documents: int
    tokens: int
    """Positions that both arms read."""

    agreement: float
    """Share of positions at which both expect the same token first."""

    kl_mean: float
    kl_median: float
    kl_p99: float
    """Kullback-Leibler divergence of the quantized model's next token from the base model's, nats:
    over the base model's likeliest tokens, all others counted as one, which makes it a lower
    bound."""

    top_k: int
    perplexity_base: float
    perplexity_quantized: float
    texts: str
    """Where the texts are from."""


class AnswerLengths(Record):
    """How long one arm's written answers are."""

    answers: int
    tokens_mean: float
    tokens_median: float
    endless: int
    """Answers that ran into the token limit."""


class Comparison(Record):
    """The whole comparison."""

    schema_version: Literal[2] = 2
    metrics: tuple[MetricComparison, ...]
    size_ratio: float
    """Bytes of quantized weights over bytes of base weights."""

    pooled: Pooled | None = None
    """None if no task scores its rows between 0 and 1."""

    noise: NoiseFloor | None = None
    """None if it was not asked for."""

    fidelity: Fidelity | None = None
    lengths: dict[str, dict[Arm, AnswerLengths]] = Field(default_factory=dict)
    """Of every task that lets the model write."""


class TaskPower(Record):
    """What one task can show."""

    rows: int
    flip_rate: float
    """Assumed share of rows that only one arm has right."""

    smallest_drop_points: float
    """Smallest true loss that is found with the planned power."""


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
    """Rows that the asked margin takes."""

    accelerator_minutes: float | None
    """Expected, both arms; none before there was a run to learn from."""


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

    stopped_after: int | None = None
    """Rows after which a sequential test ended the exam, all of them if it did not end it; none if
    there was no such test."""


class Alert(Record):
    """Why this run is worse than the last good one of its kind."""

    reasons: tuple[str, ...]
    """One sentence each."""

    good_run: str | None
    """The last run of its kind that passed; none if there is none."""

    changes: tuple[str, ...] = ()
    """What is different since then: `engine: 0.31.0 → 0.32.0`."""


class Receipt(Record):
    """What lets anybody check a report later; see `infra.receipt`."""

    files: tuple[FileDigest, ...]
    """Of the run's folder, all but `report.json` itself."""

    rows: dict[str, str]
    """Samples file → the first 6 hexadecimal digits of the SHA-256 of each line, joined."""

    values: dict[str, str]
    """Path of a value in the report → the first 12 hexadecimal digits of its SHA-256."""

    seal: str
    """SHA-256 over everything else in the report."""


class Report(Record):
    """One finished run."""

    schema_version: Literal[2] = 2
    run_id: str
    created: datetime
    spec: RunSpec
    arms: dict[Arm, ArmResult]
    calibration: CalibrationCard
    comparison: Comparison
    verdict: Verdict
    power: Power | None = None
    """As it was planned."""

    overlap: Overlap | None = None
    """Of calibration set and exam; none if the conversations could not be read again."""

    alert: Alert | None = None
    """None if the run is no worse than earlier ones of its kind."""

    timings: dict[str, float]
    """Seconds by stage."""

    reused: tuple[str, ...]
    """Stages whose result an earlier run had already paid for."""

    provenance: dict[str, str]
    """Versions, commit, host, device, Prefect run."""

    receipt: Receipt | None = None
    """None until the report is written."""
