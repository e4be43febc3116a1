"""What vLLM calls its metrics."""

from __future__ import annotations

from infra.engines.load import Names

NAMES = Names(
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    cache="vllm:kv_cache_usage_perc",
    preemptions="vllm:num_preemptions_total",
    computed=frozenset(
        [
            "vllm:prompt_tokens_total",
            "vllm:generation_tokens_total",
            "vllm:request_success_total",
            "vllm:iteration_tokens_total_count",
        ]
    ),
)
