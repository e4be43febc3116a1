"""What the engine would refuse after minutes, seen before anything is downloaded or started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.contracts.errors import Unservable
from infra.contracts.specs import ServingSpec
from infra.engines.vllm.command import inherited
from infra.engines.vllm.stretching import is_stretched, overrides
from infra.models.memory_need import Shape

_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_YES = ("1", "true")
"""As the engine reads its variables."""


def check(serving: ServingSpec, shape: Shape | None, config: Mapping[str, Any]) -> str | None:
    """See `port.Engine.check`."""
    if shape is None or shape.guessed:
        return None
    parts = serving.tensor_parallel_size
    if shape.heads and shape.heads % parts:
        raise Unservable(
            f"The model's {shape.heads} attention heads cannot be shared by "
            f"serving.tensor_parallel_size={parts}.",
            remedy="Set serving.tensor_parallel_size to a divisor of the heads: "
            f"{', '.join(str(n) for n in range(1, parts + 1) if shape.heads % n == 0)}.",
        )
    window, made_for = serving.max_model_len, shape.window
    if serving.yarn_factor and config:
        made_for = overrides(config, serving.yarn_factor)["max_position_embeddings"]
    longer = bool(window and made_for and window > made_for) and not is_stretched(config)
    said = (inherited() | serving.variables).get(_LONGER, "")
    if longer and said.strip().lower() not in _YES:
        raise Unservable(
            f"serving.max_model_len is {window}, but the model was made for {made_for} tokens"
            + (
                f" with serving.yarn_factor={serving.yarn_factor:g}."
                if serving.yarn_factor
                else "."
            ),
            cause="Its config.json says so (max_position_embeddings); the engine refuses more.",
            remedy=f"Set serving.max_model_len to {made_for} or less, or stretch its positions "
            "with serving.yarn_factor.",
        )
    return f"{serving.dtype}, a window of {window or made_for or 'unknown'} tokens"
