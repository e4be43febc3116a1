from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra import ENVIRONMENT
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp import command as llamacpp_command
from infra.engines.llamacpp.command import (
    build_command,
    engine_environment,
    inherited,
    slots_that_fit,
)
from infra.engines.llamacpp.program import SCRIPT
from infra.machine.device import Device
from infra.machine.processes import run
from tests.broken_checkpoints import SAMPLE

CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**34)
GPU = Device(kind="cuda", name="a GPU", count=2, memory_bytes=2**36)
CONFIG = json.loads((SAMPLE / "config.json").read_text())
PYTHON = Path("/somewhere/python")


def built(
    *,
    python: Path = PYTHON,
    model: Path = SAMPLE,
    device: Device = CPU,
    concurrency: int | None = None,
    free: int = 2**34,
    **serving: Any,
) -> tuple[str, ...]:
    return build_command(
        python=python,
        model=model,
        served_name="baseline-1",
        port=4711,
        spec=ServingSpec.model_validate({"engine": "llamacpp"} | serving),
        device=device,
        concurrency=concurrency,
        cores=3,
        free_memory_bytes=free,
    )


def value(flag: str, command: tuple[str, ...]) -> str | None:
    return command[command.index(flag) + 1] if flag in command else None


def test_who_runs_the_server() -> None:
    assert built()[:5] == (str(PYTHON), "-I", "-u", str(SCRIPT), "--model")
    program = Path("/opt/llama-server")
    assert built(python=program)[:2] == (str(program), "--model")
    assert built(python=program)[1:] == built()[4:]


def test_it_listens_on_loopback_under_its_name() -> None:
    command = built()
    assert value("--host", command) == "127.0.0.1"
    assert value("--port", command) == "4711"
    assert value("--alias", command) == "baseline-1"
    assert value("--model", command) == str(SAMPLE / "model.gguf")
    assert not any("key" in word for word in command if word.startswith("--api"))


@pytest.mark.parametrize(
    ("given", "slots", "context"),
    [
        ({}, "4", 4 * 2048),
        ({"max_model_len": 512}, "4", 4 * 512),
        ({"max_model_len": 512, "concurrency": 7}, "7", 7 * 512),
        ({"free": 2**20}, "1", 2048),
    ],
)
def test_each_slot_has_room_for_a_window(given: dict[str, Any], slots: str, context: int) -> None:
    command = built(**given)
    assert value("--parallel", command) == slots
    assert value("--ctx-size", command) == str(context)
    assert value("--fit", command) == "off"


def test_slots_are_as_many_as_there_is_memory_for() -> None:
    # 6 layers, 2 heads of 64, key and value: 3 KiB a token in two bytes a number.
    a_window = 2 * 6 * 2 * 64 * 2 * 1000
    for slots in (1, 2, 3):
        free = int(a_window * slots / 0.3) + 1000
        assert slots_that_fit(CONFIG, 1000, "f16", free) == slots
    assert slots_that_fit(CONFIG, 1000, "f32", int(a_window * 2 / 0.3) + 1000) == 1
    assert slots_that_fit(CONFIG, 1000, "f16", 2**40) == 4
    assert slots_that_fit({}, 1000, "f16", 2**40) == 1


def test_a_model_that_does_not_say_its_window_is_served_as_its_file_says(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    command = built(model=tmp_path)
    assert "--ctx-size" not in command
    assert value("--parallel", command) == "1"


def test_float32_does_without_flash_attention() -> None:
    for dtype, kind in (("auto", "f16"), ("float16", "f16"), ("bfloat16", "bf16")):
        command = built(dtype=dtype)
        assert value("--cache-type-k", command) == value("--cache-type-v", command) == kind
        assert "--flash-attn" not in command
    command = built(dtype="float32")
    assert value("--cache-type-k", command) == "f32"
    assert value("--flash-attn", command) == "off"


def test_tokens_are_never_drawn_by_chance() -> None:
    command = built()
    wanted = {"--seed": "0", "--temp": "0", "--top-k": "0", "--top-p": "1", "--min-p": "0"}
    assert {flag: value(flag, command) for flag in wanted} == wanted


def test_processors_compute_all_and_gpus_what_the_program_gives_them() -> None:
    assert value("--n-gpu-layers", built()) == "0"
    assert "--n-gpu-layers" not in built(device=GPU)
    assert value("--threads", built()) == value("--threads-batch", built()) == "3"


def test_the_users_arguments_come_last() -> None:
    assert built(extra_args=["--cache-type-v", "q8_0"])[-2:] == ("--cache-type-v", "q8_0")


def test_variables_that_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "GGML_CPU_TILED_MM", "0")
    monkeypatch.setitem(ENVIRONMENT, "LLAMA_ARG_CTX_SIZE", "5")
    monkeypatch.setitem(ENVIRONMENT, "LLAMA_API_KEY", "somebody's")
    monkeypatch.setitem(ENVIRONMENT, "VLLM_ATTENTION_BACKEND", "x")
    given = inherited()
    assert given["GGML_CPU_TILED_MM"] == "0"
    assert not {"LLAMA_ARG_CTX_SIZE", "LLAMA_API_KEY", "VLLM_ATTENTION_BACKEND"} & given.keys()


def test_the_key_and_how_threads_wait_come_by_the_environment() -> None:
    ours = engine_environment("key", given={})
    assert (ours["LLAMA_API_KEY"], ours["OMP_WAIT_POLICY"]) == ("key", "passive")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        assert "OMP_WAIT_POLICY" not in engine_environment("key", given={name: "users"})


def test_the_script_knows_every_flag_that_it_is_given(
    llamacpp_environment: PythonEnvironment, tmp_path: Path
) -> None:
    """It ends because there is no file, and not because of a flag."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    log = tmp_path / "log"
    command = built(python=llamacpp_environment.python, model=tmp_path, dtype="float32")
    assert run(command, log=log, env={"PATH": os.environ["PATH"]}, timeout_seconds=60) == 1
    assert "failed to open GGUF file" in log.read_text()
    assert run([*command, "--no-such"], log=log, env={"PATH": os.environ["PATH"]}) == 2
    assert llamacpp_command.WEIGHTS == "model.gguf"


def test_the_script_tells_its_version(
    llamacpp_environment: PythonEnvironment, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = [llamacpp_environment.python, "-I", "-u", SCRIPT, "--version"]
    assert run(command, log=log, env={"PATH": os.environ["PATH"]}, timeout_seconds=60) == 0
    assert log.read_text().startswith("version: xllamacpp 20")
