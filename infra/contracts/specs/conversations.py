"""Conversations that a quantizer watches the model read."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.spec import Spec, refuse


class CalibrationSpec(Spec):
    """Conversations that a quantizer watches the model read, to learn which weights matter."""

    path: str = Field(min_length=1, title="Calibration data")
    """File of conversations, or a dataset id on the hub. `{"messages": [{"role": …, "content": …},
    …]}` and the other usual forms, in JSON, JSONL, Parquet, Arrow or CSV."""

    source: Literal["file", "modelscope", "huggingface"] = "file"
    """Whether `path` is a file here or a dataset on a hub."""

    config: str | None = None
    """Dataset configuration, for a dataset on a hub."""

    split: str = "train"
    """Dataset split, for a dataset on a hub."""

    revision: str | None = None
    """Dataset revision, for a dataset on a hub."""

    messages_field: str = "messages"
    """Column that holds the list of chat messages. Left alone, the other usual forms are looked
    for where there is none of this name."""

    max_samples: int = Field(default=128, ge=1, le=4096)
    """At most this many conversations are used, the first usable ones in file order."""

    max_sequence_length: int = Field(default=512, ge=16, le=32768)
    """Tokens. No conversation longer than this is used; the report counts those dropped."""

    min_samples: int = Field(default=16, ge=1)
    """Refuse to quantize when fewer usable conversations than this remain. Those that render to the
    same text count once."""

    @refuse
    def _enough_samples_possible(self) -> Self:
        if self.min_samples > self.max_samples:
            raise SpecError(
                f"quantization.calibration.min_samples={self.min_samples} exceeds "
                f"max_samples={self.max_samples}.",
                remedy="Lower quantization.calibration.min_samples or raise "
                "quantization.calibration.max_samples.",
            )
        return self
