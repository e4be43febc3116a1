"""The lines are the engine's own, most of them of vLLM 0.32, shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.engines.vllm import log as vllm_log

START = """\
(APIServer pid=7) INFO 11-21 04:09:29 [api_utils.py:286] non-default args: {'host': '127.0.0.1'}
(APIServer pid=7) INFO 11-21 04:09:49 [model.py:733] Resolved architecture: Qwen2ForCausalLM
"""
ENGINE = """\
(EngineCore pid=8) INFO 11-21 04:10:03 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with \
config: model='/m', trust_remote_code=False, dtype=torch.bfloat16, max_seq_len=2048
(Worker pid=9) INFO 11-21 04:10:28 [cpu_model_runner.py:68] Starting to load model /m...
(Worker pid=9) INFO 11-21 04:10:28 [auto_awq.py:451] Using CPUWNA16LinearKernel for \
AutoAWQMarlinLinearMethod
(Worker pid=9) INFO 11-21 04:10:28 [auto_awq.py:451] Using CPUWNA16LinearKernel for \
AutoAWQMarlinLinearMethod
"""
BAR = "\rLoading safetensors checkpoint shards:  50% Completed | 1/2 [00:03<00:03]"
FAILURE = """\
(EngineCore pid=8) ERROR 11-21 04:37:41 [core.py:1] Traceback (most recent call last):
(EngineCore pid=8) ERROR 11-21 04:37:41 [core.py:1] ValueError: No available memory for the cache.
Traceback (most recent call last):
RuntimeError: Engine core initialization failed. See root cause above.
"""
ON_GPU = """\
(Worker_TP0 pid=244) INFO 09-27 08:00:01 [gpu_model_runner.py:5355] Model loading took 67.7038 GiB \
memory and 421.882142 seconds
(Worker_TP0 pid=244) INFO 09-27 08:07:10 [gpu_worker.py:693] Available KV cache memory: 13.72 GiB
(EngineCore pid=172) INFO 09-27 08:07:12 [kv_cache_utils.py:2410] GPU KV cache size: 1,109,643 \
tokens, Maximum concurrency for 131,072 tokens per request: 8.47x
"""
ON_CPU = """\
(EngineCore pid=30300) INFO 11-24 12:27:53 [default_loader.py:501] Loading weights took 0.11 seconds
(EngineCore pid=30300) INFO 11-24 12:27:54 [cpu_worker.py:260] Explicitly set (0.25/19.71) GiB for \
KV cache on node 0.
(EngineCore pid=30300) INFO 11-24 12:27:54 [kv_cache_utils.py:2327] CPU KV cache size: 87,360 \
tokens, Maximum concurrency for 2,048 tokens per request: 42.66x
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "server.log"


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("", "loading vLLM"),
        ("some library warns\n", "loading vLLM"),
        (START, "starting the engine"),
        (START + ENGINE, "loading weights"),
        (START + ENGINE + BAR, "Loading safetensors checkpoint shards:  50% Completed"),
    ],
)
def test_the_stage_is_that_of_the_last_line_that_tells_one(
    log: Path, text: str, stage: str
) -> None:
    log.write_text(text)
    assert vllm_log.stage(log).startswith(stage)


def test_the_stage_of_a_log_that_is_not_there_yet(log: Path) -> None:
    assert vllm_log.stage(log) == "loading vLLM"


def test_kernel_and_data_type_are_those_the_engine_names() -> None:
    assert vllm_log.kernel(START + ENGINE) == "CPUWNA16LinearKernel"
    assert vllm_log.dtype(START + ENGINE) == "bfloat16"
    machete = "[auto_awq.py:451] Using MacheteLinearKernel for AutoAWQMarlinLinearMethod\n"
    assert vllm_log.kernel(machete + ENGINE) == "MacheteLinearKernel, CPUWNA16LinearKernel"
    assert vllm_log.kernel(START) is None
    assert vllm_log.dtype(START) is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (START, ""),
        (START + FAILURE, "ValueError: No available memory for the cache."),
        ("usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --x\n",
         "unrecognized arguments: --x"),
        ("Traceback\npydantic_core._pydantic_core.ValidationError: 1 validation error\n",
         "ValidationError: 1 validation error"),
        ("pydantic_core.ValidationError: 1 validation error\n  Value error, too long [type=x]\n",
         "ValidationError: 1 validation error Value error, too long [type=x]"),
    ],
)  # fmt: skip
def test_the_first_error_is_said_not_its_consequences(log: Path, text: str, error: str) -> None:
    log.write_text(text)
    assert vllm_log.first_error(log) == error


def test_news_warnings_and_frames_are_no_failure() -> None:
    text = (
        "(APIServer pid=7) WARNING 11-21 04:09:29 [a.py:1] OSError: Too many open files\n"
        "usage: api_server.py [-h]\n                     [--model MODEL]\n"
        "Traceback (most recent call last):\n"
        '  File "/envs/x.py", line 3, in x\n    raise ValueError("no: " + reason)\n'
        "ValueError: no: because\n  Value error, more\n"
    )
    lines = "Traceback (most recent call last):\nValueError: no: because\n  Value error, more"
    assert vllm_log.failure(START + text) == lines
    assert vllm_log.failure(START + FAILURE).splitlines()[1] == (
        "ValueError: No available memory for the cache."
    )


def test_a_start_that_went_well_explains_no_failure() -> None:
    up = "INFO:     Application startup complete.\n"
    assert vllm_log.failure(FAILURE + up) == ""
    assert "Engine core" in vllm_log.failure(up + FAILURE)


def test_memory_is_what_the_engine_says_it_took_on_one_accelerator() -> None:
    assert vllm_log.weights_bytes(START + ON_GPU) == round(67.7038 * 2**30)
    assert vllm_log.kv_cache_tokens(START + ON_GPU) == 1_109_643
    older = "[gpu_model_runner.py:1347] Model loading took 27.5185 GiB and 4.229864 seconds\n"
    assert vllm_log.weights_bytes(older) == round(27.5185 * 2**30)
    assert vllm_log.weights_bytes(ON_GPU + older) == round(67.7038 * 2**30)
    second = ON_GPU.replace("1,109,643", "1,109,600")
    assert vllm_log.kv_cache_tokens(ON_GPU + second) == 1_109_600


def test_on_a_processor_nobody_says_what_the_weights_take() -> None:
    assert vllm_log.weights_bytes(START + ENGINE + ON_CPU) is None
    assert vllm_log.kv_cache_tokens(START + ENGINE + ON_CPU) == 87_360
    assert vllm_log.kv_cache_tokens(START + ENGINE) is None


def test_logs_that_were_captured_tell_their_cache() -> None:
    captured = Path(__file__).parents[2] / "engine_logs" / "engine-process-killed--serving.log"
    assert vllm_log.kv_cache_tokens(captured.read_text()) == 87_360
