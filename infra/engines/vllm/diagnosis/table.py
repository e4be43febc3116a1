"""The failures of the engine that are recognized, by what they lie in.

A new one takes an entry in one of these lists, a way to provoke it in `tests/engine_failures.py`,
and the log that `python -m tests.capture_engine_logs NAME` then writes.
"""

from __future__ import annotations

from infra.engines.diagnosis.patterns import Table
from infra.engines.vllm import log as vllm_log
from infra.engines.vllm.diagnosis.machine import MACHINE
from infra.engines.vllm.diagnosis.models import MODELS
from infra.engines.vllm.diagnosis.out_of_memory import MEMORY

TABLE = Table((*MEMORY, *MODELS, *MACHINE), vllm_log.failure, vllm_log.first_error)
