"""Where weights come from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from infra.contracts.errors import SpecError
from infra.contracts.specs.spec import Spec, refuse


class ModelSpec(Spec):
    """A model, by the place its weights come from."""

    id: str = Field(min_length=1, title="Model")
    """Repository id on the hub (`Qwen/Qwen2.5-7B-Instruct`), or a folder for a local model."""

    source: Literal["modelscope", "huggingface", "local"] = "modelscope"
    """Where the weights come from."""

    revision: str | None = None
    """Branch, tag or commit. It is resolved to a commit, which the report records."""

    trust_remote_code: bool = False
    """Run Python code that comes with the repository. Off unless you have read that code."""

    allow_pickle: bool = False
    """Accept `.bin`/`.pt` weights, which can run code when loaded. Off means safetensors only."""

    @refuse
    def _local_has_no_revision(self) -> Self:
        if self.source == "local" and self.revision is not None:
            raise SpecError(
                f"model.revision={self.revision!r} was given for a local folder.",
                cause="A folder has no revisions; its files' digests identify it.",
                remedy="Leave model.revision empty, or set model.source to the hub.",
            )
        return self
