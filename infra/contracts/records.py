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

    primary_metric: str
    """The one a reader looks at first: the task's first metric under its strictest filter."""

    n: int
    """Documents."""

    num_fewshot: int
    version: str
    """Task version in lm-eval."""

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


class Comparison(Record):
    """The whole comparison."""

    schema_version: Literal[1] = 1
    metrics: tuple[MetricComparison, ...]
    size_ratio: float
    """Bytes of quantized weights over bytes of base weights."""


class Verdict(Record):
    """What the comparison shows, in one line."""

    status: Literal["loss", "no-loss-shown", "gain"]
    """`loss`: at least one task's interval lies wholly below zero."""

    headline: str


class Report(Record):
    """One finished run."""

    schema_version: Literal[1] = 1
    run_id: str
    created: datetime
    spec: RunSpec
    arms: dict[Arm, ArmResult]
    calibration: CalibrationCard
    comparison: Comparison
    verdict: Verdict
    timings: dict[str, float]
    """Seconds by stage."""

    reused: tuple[str, ...]
    """Stages whose result an earlier run had already paid for."""

    provenance: dict[str, str]
    """Versions, commit, host, device, Prefect run."""
