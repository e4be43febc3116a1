"""What was served: weights, calibration, checkpoints and the interpreters that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from infra.contracts.records.base import FileDigest, Record
from infra.contracts.specs import CalibrationSpec, QuantizationSpec


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

    source: str | None = None
    """SHA-256 of the file, or commit of the dataset; none if that is not known."""

    read: int
    """Conversations in the source."""

    used: int
    dropped_too_long: int
    """Longer than `max_sequence_length` tokens: AutoAWQ would skip them without a word."""

    dropped_beyond_max: int
    """Not looked at, because `max_samples` usable ones had been found before."""

    duplicates: int = 0
    """Rendered to the same text as one that is used: each text counts once."""

    left_out: dict[str, int] = Field(default_factory=dict)
    """What the chat template leaves out, such as `tools` → conversations that have it."""

    tokens_min: int
    tokens_median: int
    tokens_max: int
    tokens_total: int
    """Tokens of the used conversations."""

    @property
    def looked_at(self) -> int:
        """Conversations from the first one to the last one that is used."""
        return self.used + self.dropped_too_long + self.duplicates

    @property
    def told(self) -> tuple[str, ...]:
        """What is worth knowing about those that were looked at, for people."""
        same = f"{self.duplicates:,} of {self.looked_at:,} render to the same text as one before"
        parts = [
            f"the chat template leaves out {what} ({n:,})" for what, n in self.left_out.items()
        ]
        return ((same,) if self.duplicates else ()) + tuple(parts)


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


class CheckpointSummary(Record):
    """The checkpoint of one arm, as the report shows it."""

    path: Path
    digest: str
    size_bytes: int
    quantization: dict[str, Any] | None
    """`quantization_config` of the checkpoint; none for the base model."""
