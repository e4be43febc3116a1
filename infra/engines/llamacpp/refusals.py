"""What llama.cpp would refuse, or serve otherwise, seen before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.contracts.errors import Unservable
from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp.command import cache_type
from infra.models.memory_need import Shape


def check(serving: ServingSpec, shape: Shape | None, config: Mapping[str, Any]) -> str | None:
    """See `port.Engine.check`."""
    if shape is None or shape.guessed:
        return None
    window, made_for = serving.max_model_len, shape.window
    if window and made_for and window > made_for and not _stretched(serving):
        raise Unservable(
            f"serving.max_model_len is {window}, but the model was made for {made_for} tokens.",
            cause="Its config.json says so (max_position_embeddings); llama.cpp cuts more to that.",
            remedy=f"Set serving.max_model_len to {made_for} or less.",
        )
    if not (window or made_for):
        raise Unservable(
            "It is unknown how long a window llama.cpp shall serve.",
            cause="serving.max_model_len is empty, and config.json has no max_position_embeddings.",
            remedy="Set serving.max_model_len.",
        )
    return f"a key-value cache of {cache_type(serving)}, a window of {window or made_for} tokens"


def _stretched(serving: ServingSpec) -> bool:
    return any(argument.startswith(("--rope-", "--yarn-")) for argument in serving.extra_args)
