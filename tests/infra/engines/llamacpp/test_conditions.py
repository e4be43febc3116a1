from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.llamacpp import conditions as llamacpp_conditions
from infra.engines.llamacpp.conditions import conditions, named
from infra.engines.llamacpp.engine import LlamaCpp
from infra.engines.port import Setup
from infra.machine.device import Device
from tests.broken_checkpoints import SAMPLE

CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**34)


def key(
    *,
    digest: str = "weights",
    engine: str = "lock",
    device: Device = CPU,
    given: dict[str, str] | None = None,
    python: str = "/somewhere/python",
    **serving: Any,
) -> str:
    environment = PythonEnvironment(
        name="llamacpp", python=Path(python), digest=engine, provided=False
    )
    spec = ServingSpec.model_validate({"engine": "llamacpp"} | serving)
    setup = Setup(SAMPLE, spec, environment, device)
    return LlamaCpp().identity(conditions(setup, digest, given or {}), ())


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "others"},
        {"engine": "another lock"},
        {"device": CPU.model_copy(update={"name": "another processor"})},
        {"dtype": "float32"},
        {"max_model_len": 512},
        {"extra_args": ["--cache-type-v", "q8_0"]},
        {"extra_args": ["--threads=1"]},
        {"given": {"GGML_CPU_TILED_MM": "0"}},
        {"given": {"OMP_NUM_THREADS": "1"}},
        {"variables": {"WHATEVER": "1"}},
    ],
    ids=str,
)
def test_what_decides_an_answer_is_in_the_key(changed: dict[str, Any]) -> None:
    assert key() == key()
    assert key(**changed) != key()
    assert key(**changed) == key(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 4711},
        {"hang_timeout_seconds": 30},
        {"python": "/elsewhere/llama-server"},
        {"given": {"LLAMA_LOG_COLORS": "1"}},
        {"given": {"CUDA_VISIBLE_DEVICES": "1"}},
    ],
    ids=str,
)
def test_what_names_or_sizes_a_start_is_not(changed: dict[str, Any]) -> None:
    assert key(**changed) == key()


def test_the_number_of_cores_decides_in_which_order_is_added_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = key()
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(77))
    assert key() != before


def test_files_that_arguments_name_count_by_their_content(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.gguf"
    arguments = {"extra_args": ["--override-kv", "a=b", "--control-vector", str(adapter)]}
    adapter.write_text("one")
    first = key(**arguments)
    assert str(adapter) in named(ServingSpec(engine="llamacpp", **arguments), {})  # type: ignore[arg-type]
    adapter.write_text("two")
    assert key(**arguments) != first


def test_the_code_that_serves_and_asks_is_in_the_key() -> None:
    code = set(llamacpp_conditions.CODE)
    assert {"scoring", "engines/live.py", "engines/llamacpp/serve_gguf.py"} <= code
