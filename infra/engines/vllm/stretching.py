"""A window beyond what a model was made for: YaRN, as the engine reads it from a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.contracts.errors import Unservable

_DEFAULT_THETA = 10_000.0


def overrides(config: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the fields of a config.json that stretch its positions.

    The engine takes `max_position_embeddings` for what it is after stretching, and a tokenizer's
    own limit for the model's unless the config names one.

    Args:
        config: Of the model.
        factor: By how much.

    Raises:
        Unservable: It has no such positions, or they are stretched already.
    """
    if is_stretched(config):
        raise Unservable(
            "serving.yarn_factor is set, but the model's positions are stretched already.",
            cause="Its config.json says so (rope_scaling, rope_parameters).",
            remedy="Leave serving.yarn_factor out.",
        )
    if not isinstance(made_for := config.get("max_position_embeddings"), int):
        raise Unservable(
            "serving.yarn_factor is set, but the model does not say for how many tokens it was "
            "made.",
            cause="Its config.json has no max_position_embeddings.",
            remedy="Leave serving.yarn_factor out.",
        )
    window = int(made_for * factor)
    parameters = config.get("rope_parameters")
    said = parameters if isinstance(parameters, Mapping) else config
    return {
        "max_position_embeddings": window,
        "model_max_length": window,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": made_for,
            "rope_theta": said.get("rope_theta", _DEFAULT_THETA),
        },
    }


def is_stretched(config: Mapping[str, Any]) -> bool:
    """Return whether positions are scaled, so that the window is longer than the config says."""
    for key in ("rope_scaling", "rope_parameters"):
        scaling = config.get(key)
        if isinstance(scaling, Mapping):
            kind = scaling.get("rope_type") or scaling.get("type") or "default"
            if kind != "default":
                return True
    return False
