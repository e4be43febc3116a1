"""What was served: weights, calibration, checkpoints and the interpreters that made them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from infra.contracts.records.quantization import Origin, Quantization
from infra.contracts.records.record import FileDigest, Record
from infra.contracts.specs import CalibrationSpec, MadeRecipe


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


class Adapter(Record):
    """A LoRA adapter, whole and verified."""

    path: Path
    """Folder, absolute."""

    source: Literal["modelscope", "huggingface", "local"]
    id: str
    """Repository id, or the folder as the user wrote it."""

    revision: str | None
    """Commit that the requested revision resolved to; none for a local folder."""

    files: tuple[FileDigest, ...]
    digest: str
    """SHA-256 over the names and digests of all files."""

    size_bytes: int
    """Of its weights."""

    rank: int
    """The largest of any layer."""

    base_model: str | None
    """What it was trained on, as its own configuration says."""

    merged: bool = False
    """Added to the model's weights; else the engine applies it beside them."""


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
    """Longer than `max_sequence_length` tokens: the quantizer would skip them without a word."""

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
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing about those that were looked at, for people."""
        same = f"{self.duplicates:,} of {self.looked_at:,} render to the same text as one before"
        parts = [
            f"the chat template leaves out {what} ({n:,})" for what, n in self.left_out.items()
        ]
        return ((same,) if self.duplicates else ()) + tuple(parts)


class Overlap(Record):
    """Rows of the tasks whose words also stand in the calibration set."""

    ngram: int
    """Words in a row that have to be the same."""

    rows: int
    """Rows that were looked at."""

    found: dict[str, int]
    """Task → rows that share at least one such sequence with the calibration set."""

    examples: tuple[str, ...] = ()
    """The first shared sequences."""


class Made(Record):
    """How a checkpoint was made here."""

    made_from: str
    """Digest of the weights it was made from."""

    recipe: MadeRecipe
    calibration: CalibrationCard | None
    """None where the method needed no conversations."""

    versions: dict[str, str]
    """Of Python and the packages that decide the result."""

    device: str
    """Name of the device it was made on."""

    search_dtype: str = "float16"
    """In which the quantizer computed: `float32` on a CPU, where float16 is 16 times slower."""

    seconds: float
    peak_memory_bytes: int
    """Of the accelerator where there is one, else of the process."""

    facts: dict[str, Any] = Field(default_factory=dict)
    """What else the quantizer found: layers that it left, bits of one weight."""


class Checkpoint(Record):
    """A model folder that an arm serves: as it came, or made here."""

    schema_version: Literal[2] = 2
    path: Path
    """Folder, absolute."""

    digest: str
    """SHA-256 over the names and digests of all files."""

    files: tuple[FileDigest, ...]
    size_bytes: int
    """Of the weight files alone."""

    model: str
    """Repository id, or the folder as the user wrote it; of a made one, what it was made from."""

    source: Literal["modelscope", "huggingface", "local"]
    revision: str | None
    """Commit that the requested revision resolved to; none for a local folder."""

    quantization_config: dict[str, Any] | None
    """As its own files have it, `config.json` or others; none if it is not quantized."""

    made: Made | None = None
    """None for one that is served as it came."""

    adapter: Adapter | None = None
    """What is on top of the model, or was merged into it."""

    @property
    def applied(self) -> Adapter | None:
        """The adapter that the engine applies; none if there is none, or it was merged."""
        return None if self.adapter is None or self.adapter.merged else self.adapter

    @property
    def identity(self) -> str:
        """Digest of all that is served: the weights, and the adapter beside them."""
        return _identity(self.digest, self.adapter)

    @property
    def origin(self) -> str:
        """Digest of the weights that it is or was made from."""
        return self.made.made_from if self.made else self.digest


def _identity(digest: str, adapter: Adapter | None) -> str:
    if adapter is None or adapter.merged:
        return digest
    return hashlib.sha256(f"{digest} {adapter.digest}".encode()).hexdigest()


class PythonEnvironment(Record):
    """An interpreter with an engine or a quantizer."""

    name: str
    """The program, and behind a dash the device that it was built for, if it was built here."""

    python: Path
    """Absolute path of the interpreter."""

    digest: str
    """Of the lock file; of the interpreter and the content of its packages if the user provided it.
    Never the same twice where some of them are unknown."""

    provided: bool
    """True if the user pointed at an interpreter of their own."""

    unknown: tuple[str, ...] = ()
    """Packages, and folders of code, that may be edited at any time without a trace."""


class CheckpointSummary(Record):
    """The checkpoint of one arm, as the report shows it."""

    path: Path
    digest: str
    size_bytes: int
    """Of the weight files alone."""

    model: str = ""
    """Repository id or folder; empty in reports of earlier versions."""

    source: Literal["modelscope", "huggingface", "local"] = "local"
    revision: str | None = None
    """Commit that the requested revision resolved to; none for a local folder."""

    quantization: dict[str, Any] | None
    """`quantization_config` of the checkpoint; none if it is not quantized."""

    parameters: int | None = None
    """Of the model, packed or not; none where its files do not say."""

    format: Quantization | None = None
    """How it is quantized, as its own files say; none if it is not, or in earlier reports."""

    origin: Origin | None = None
    """What it says it was made from; none if it says nothing."""

    adapter: Adapter | None = None
    """What is on top of the model, or was merged into it."""

    tokenizer_files: tuple[FileDigest, ...] = ()
    """Of its tokenizer and chat template; none in reports of earlier versions."""

    calibration: CalibrationCard | None = None
    """What the quantizer saw; none unless it was made here."""

    versions: dict[str, str] = Field(default_factory=dict)
    """Of Python and the packages that made it; empty unless it was made here."""

    made_seconds: float | None = None
    made_peak_memory_bytes: int | None = None

    @property
    def identity(self) -> str:
        """Digest of all that was served: the weights, and the adapter beside them."""
        return _identity(self.digest, self.adapter)

    @classmethod
    def of(cls, checkpoint: Checkpoint, **facts: Any) -> CheckpointSummary:
        """Return what a report shows of a checkpoint.

        Args:
            checkpoint: The checkpoint.
            facts: `parameters`, `format` and `origin`, as its files say.
        """
        made = checkpoint.made
        return cls(
            path=checkpoint.path,
            digest=checkpoint.digest,
            size_bytes=checkpoint.size_bytes,
            model=checkpoint.model,
            source=checkpoint.source,
            revision=checkpoint.revision,
            quantization=checkpoint.quantization_config,
            **facts,
            adapter=checkpoint.adapter,
            calibration=made.calibration if made else None,
            versions=made.versions if made else {},
            made_seconds=made.seconds if made else None,
            made_peak_memory_bytes=made.peak_memory_bytes if made else None,
        )
