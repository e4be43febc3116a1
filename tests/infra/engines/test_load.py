from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.engines.load import Load, ask, read
from infra.engines.vllm.metrics import NAMES
from infra.machine import ports

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 12.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
# TYPE vllm:num_preemptions counter
vllm:num_preemptions_total{engine="0",model_name="tiny"} 1e+02
vllm:num_preemptions_created{engine="0",model_name="tiny"} 1.7e+09
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 4000.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 500.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="a, \\"b\\" {c} 7"} 60.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 7.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="tiny"} 9.0
vllm:iteration_tokens_total_count{engine="0",model_name="tiny"} 0.5
vllm:iteration_tokens_total_sum{engine="0",model_name="tiny"} 9.0
python_gc_objects_collected_total{generation="0"} 7.0
"""


def test_the_counters_are_read_from_vllms_text() -> None:
    assert read(METRICS, [NAMES]) == Load(
        running=12, waiting=3, cache=0.25, preemptions=100, computed=4567.5
    )


def test_engines_are_added_up_and_the_fullest_cache_counts() -> None:
    both = METRICS + METRICS.replace('engine="0"', 'engine="1"').replace("0.25", "0.75")
    assert read(both, [NAMES]) == Load(
        running=24, waiting=6, cache=0.75, preemptions=200, computed=9135
    )


def test_what_an_engine_does_not_count_is_nothing() -> None:
    bare = "vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n"
    assert read(bare, [NAMES]) == Load(running=1, waiting=2, cache=None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"detail": "Not Found"}',
        METRICS.replace("vllm:", "tgi_"),
        METRICS.replace("running{", "running{{"),
        METRICS.replace(" 12.0", " twelve"),
    ],
)
def test_what_is_not_vllms_says_nothing(text: str) -> None:
    assert read(text, [NAMES]) is None


@contextmanager
def shows(text: str) -> Iterator[str]:
    """Serve a text as metrics; yield the server's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.path == "/metrics" and self.headers["Authorization"] == "Bearer key"
            self.send_response(200 if allowed else 404)
            self.end_headers()
            self.wfile.write(text.encode() if allowed else b"nothing here")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_gets_what_requests_carry() -> None:
    with shows(METRICS) as root:
        assert ask(root, {"Authorization": "Bearer key"}, [NAMES]) == read(METRICS, [NAMES])
        assert ask(root, {}, [NAMES]) is None


def test_who_does_not_answer_says_nothing() -> None:
    assert ask(f"http://127.0.0.1:{ports.find_free()}", {}, [NAMES]) is None
