"""What is put on top of a model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.spec import Spec, refuse


class AdapterSpec(Spec):
    """A LoRA adapter of the model, by the place its weights come from."""

    id: str = Field(min_length=1, title="Adapter")
    """Repository id on the hub, or a folder with `adapter_config.json` and
    `adapter_model.safetensors`."""

    source: Literal["modelscope", "huggingface", "local"] = "local"
    """Where the adapter comes from."""

    revision: str | None = None
    """Branch, tag or commit. It is resolved to a commit, which the report records."""

    merge: bool = False
    """Add it to the model's weights first, and quantize or serve what comes of that. Off: the
    engine applies it to each request, beside weights that stay as they are."""

    @refuse
    def _local_has_no_revision(self) -> Self:
        if self.source == "local" and self.revision is not None:
            raise SpecError(
                f"adapter.revision={self.revision!r} was given for a local folder.",
                cause="A folder has no revisions; its files' digests identify it.",
                remedy="Leave adapter.revision empty, or set adapter.source to the hub.",
            )
        return self
