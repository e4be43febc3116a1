"""What llama.cpp's server calls its metrics."""

from __future__ import annotations

from infra.engines.load import Names

NAMES = Names(
    running="llamacpp:requests_processing",
    waiting="llamacpp:requests_deferred",
    cache="",
    preemptions="",
    computed=frozenset(
        [
            "llamacpp:n_decode_total",
            "llamacpp:prompt_tokens_total",
            "llamacpp:tokens_predicted_total",
        ]
    ),
)
"""It says nothing of its cache, and throws no sequence out of it: every slot has its own part."""
