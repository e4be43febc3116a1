"""What is measured beside the tasks."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.spec import Spec, refuse


class TriageSpec(Spec):
    """A look at a candidate before its tasks: is it worth an evaluation?"""

    enabled: bool = True
    """Stop a checkpoint that is broken. Without it a broken one is evaluated as a whole."""

    prompts: int = Field(default=32, ge=8, le=256)
    """Conversations of the calibration set that both models continue."""

    min_agreement: float = Field(default=0.7, ge=0, le=1)
    """Share of next tokens, along the baseline's own answers, on which the candidate must
    agree. Sound 4-bit checkpoints reach 0.9 and more; two exchanged layers leave 0.45."""


class FidelitySpec(Spec):
    """How closely the candidate follows the baseline, beyond right and wrong."""

    enabled: bool = True
    """Let both models read the same texts, and compare what they expect next."""

    texts: str | None = None
    """Text file, paragraphs apart by blank lines; or rows with a `text` column, in JSON, JSONL,
    Parquet, Arrow or CSV. Empty: questions of the tasks, which no candidate was calibrated on."""

    documents: int = Field(default=64, ge=4, le=4096)
    """At most this many texts are read."""

    max_tokens: int = Field(default=512, ge=16, le=8192)
    """Tokens of each text that are read."""

    top_k: int = Field(default=20, ge=1, le=100)
    """Likeliest next tokens whose probabilities are compared; all others count as one."""


class SpeedSpec(Spec):
    """What a change buys: every arm is timed by its engine's own benchmark, alone."""

    enabled: bool = True
    """Time all arms. The device should have nothing else to do meanwhile."""

    input_tokens: tuple[int, ...] = Field(default=(128, 2048), min_length=1)
    """Lengths of the prompts."""

    output_tokens: int = Field(default=128, ge=2, le=8192)
    """Tokens of each answer."""

    concurrencies: tuple[int, ...] = Field(default=(1, 16), min_length=1)
    """Requests in flight at a time."""

    requests: int = Field(default=32, ge=2, le=10_000)
    """Requests of each measurement at most, and at least twice the concurrency."""

    precision: float = Field(default=0.02, ge=0, lt=1)
    """A measurement ends before that when the mean time of a request is known to this share: half
    the width of its 95 % interval. 0 asks all."""

    budget_seconds: float | None = Field(default=None, gt=0)
    """After so many seconds no further measurement of an arm begins; the report says which were
    left out. Empty: all are made."""

    objective_ttft_ms: float | None = Field(default=None, gt=0)
    """What you promise for the time to the first token. Given, the report shows the goodput: the
    requests a second that keep it."""

    objective_tpot_ms: float | None = Field(default=None, gt=0)
    """The same for the time of each further token. A request has to keep both."""

    @refuse
    def _positive(self) -> Self:
        for field in ("input_tokens", "concurrencies"):
            values = getattr(self, field)
            if min(values) < 1 or len(set(values)) < len(values):
                raise SpecError(
                    f"speed.{field}={list(values)} cannot be measured.",
                    remedy="Name different whole numbers from 1 up.",
                )
        return self
