"""What turns texts into vectors, for the tasks whose marks depend on them."""

from __future__ import annotations

from typing import Literal, Self

from infra.contracts.errors import SpecError
from infra.contracts.specs.arms import ArmSpec
from infra.contracts.specs.endpoint import EndpointSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.places import Places
from infra.contracts.specs.serving import ServingSpec
from infra.contracts.specs.spec import Spec, refuse

Pooling = Literal["own", "mean", "last", "cls"]
"""How the vectors of a text's tokens become one."""

EMBEDDING_PLACES: Places = {
    part: f"evaluation.embedding.{part}" for part in ("model", "serving", "endpoint")
}
"""Where a run has what its embedding server has of its own."""


class EmbeddingSpec(Spec):
    """The embedding server that all arms share: a model that is served, or an endpoint."""

    model: ModelSpec | None = None
    """The embedding model. It is started when a vector is missing, beside the arm that is asked,
    and ends with it. Empty: `endpoint` is asked."""

    pooling: Pooling = "own"
    """How the vectors of a text's tokens become one. `own`: as the model's own files say; of a
    model that writes text, they say nothing, and the last token's is taken."""

    serving: ServingSpec = ServingSpec()
    """How it is served, by vLLM. On the GPU it shares the arm's, and takes 0.1 of its memory unless
    `memory_fraction` says otherwise: the arm has to leave that to it."""

    endpoint: EndpointSpec | None = None
    """Instead of a model: a URL that answers `/v1/embeddings` as OpenAI's does."""

    @property
    def as_arm(self) -> ArmSpec | None:
        """The model and how it is served, as arms have it; none for an endpoint."""
        return None if self.model is None else ArmSpec(model=self.model, serving=self.serving)

    @refuse
    def _is_one_of_both(self) -> Self:
        if (self.model is None) == (self.endpoint is None):
            raise SpecError(
                f"evaluation.embedding names {'neither' if self.model is None else 'both'} a model "
                f"{'nor' if self.model is None else 'and'} an endpoint.",
                remedy="Set evaluation.embedding.model to the model that shall be served, or "
                "evaluation.embedding.endpoint to a URL that somebody runs.",
            )
        return self

    @refuse
    def _is_served_by_vllm_on_one_accelerator(self) -> Self:
        if self.serving.engine != "vllm":
            raise SpecError(
                f"evaluation.embedding.serving.engine is {self.serving.engine!r}.",
                cause="Embedding models are served by vLLM.",
                remedy="Leave it out, or name in evaluation.embedding.endpoint what serves it.",
            )
        if self.serving.tensor_parallel_size > 1:
            raise SpecError(
                "evaluation.embedding.serving.tensor_parallel_size is above 1.",
                cause="It has one accelerator, which is also the arm's.",
                remedy="Leave it out, or serve the model by yourself and name its URL in "
                "evaluation.embedding.endpoint.",
            )
        return self
