"""What an endpoint says of its models and their windows, on whichever page it says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from infra.engines.remote.asking import Asker

_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
_SAID = ("owned_by", "root", "created", "object")
_MOST = 80


def models(asker: Asker) -> dict[str, Mapping[str, Any]] | None:
    """Return the models that it lists, with what it says of each; none if it has no list.

    Raises:
        EndpointError: It does not answer at all, or not to us.
    """
    answer = asker.get("/models")
    listed = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(listed, list):
        return None
    found: dict[str, Mapping[str, Any]] = {}
    for one in listed:
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            found[one["id"]] = one
            aliases = one.get("aliases")
            found |= {str(name): one for name in aliases} if isinstance(aliases, list) else {}
    return found


def said_of(model: Mapping[str, Any]) -> dict[str, str]:
    """Return what a list of models says of one, for people."""
    return {name: str(model[name])[:_MOST] for name in _SAID if model.get(name) is not None}


def window_of(model: Mapping[str, Any]) -> int | None:
    """Return the window that a list of models tells; none where it tells none."""
    return _first([model, *(inner for inner in model.values() if isinstance(inner, dict))])


def served_window(pages: Mapping[str, Mapping[str, Any]]) -> int | None:
    """Return the window that llama.cpp and TGI tell on pages of their own; none elsewhere.

    Args:
        pages: By their paths.
    """
    for said in (pages[page] for page in ("/props", "/info") if page in pages):
        settings = said.get("default_generation_settings")
        total = said.get("max_total_tokens")
        if isinstance(total, int):
            return total
        if isinstance(settings, dict) and (window := _first([settings])):
            return window
    return None


def _first(pages: Iterable[Mapping[str, Any]]) -> int | None:
    for page in pages:
        for name in _WINDOWS:
            value = page.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
