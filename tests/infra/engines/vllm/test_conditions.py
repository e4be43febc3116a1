from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Adjustment, PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines import named_files
from infra.engines.port import Setup
from infra.engines.vllm import command as vllm_command
from infra.engines.vllm import conditions as engine_conditions
from infra.engines.vllm.conditions import answers_of, conditions
from infra.machine.device import Device
from tests.conftest import ROOT

MODEL = ROOT / "infra" / "sample" / "model"
CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**34)
GPU = Device(kind="cuda", name="a GPU", count=2, memory_bytes=2**36)


def key(
    *,
    digest: str = "weights",
    engine: str = "lock",
    device: Device = GPU,
    trust: bool = False,
    given: dict[str, str] | None = None,
    **serving: Any,
) -> str:
    environment = PythonEnvironment(
        name="server", python=Path("/somewhere/python"), digest=engine, provided=False
    )
    setup = Setup(MODEL, ServingSpec.model_validate(serving), environment, device, trust)
    return answers_of(conditions(setup, digest, given or {}), ())


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "others"},
        {"engine": "another lock"},
        {"device": CPU},
        {"device": GPU.model_copy(update={"name": "another GPU"})},
        {"trust": True},
        {"dtype": "float16"},
        {"max_model_len": 512},
        {"tensor_parallel_size": 2},
        {"enforce_eager": True},
        {"adjust": True},
        {"extra_args": ["--kv-cache-dtype", "fp8"]},
        {"extra_args": ["--max-num-batched-tokens=64"]},
        {"given": {"VLLM_ATTENTION_BACKEND": "TORCH_SDPA"}},
        {"given": {"NVIDIA_TF32_OVERRIDE": "1"}},
        {"given": {"OMP_NUM_THREADS": "1"}},
        {"variables": {"FLASHINFER_OF_TOMORROW": "1"}},
    ],
    ids=str,
)
def test_what_decides_an_answer_is_in_the_key(changed: dict[str, Any]) -> None:
    assert key(**changed) != key()


def _given(*arguments: str, **given: str) -> dict[str, Any]:
    return {"extra_args": list(arguments), "given": given}


@pytest.mark.parametrize(
    "naming",
    [
        lambda place: _given("--lora-modules", f"mine={place}"),
        lambda place: _given("--lora-modules", json.dumps({"name": "mine", "path": str(place)})),
        lambda place: _given(f"--speculative-config={json.dumps({'model': str(place)})}"),
        lambda place: _given("--speculative-config.model", str(place)),
        lambda place: _given(f"--middleware={place / 'weights'}"),
        lambda place: _given("--middleware", str(place / "weights")),
        lambda place: _given("--middleware", f"{place / 'weights'}:0.5"),
        lambda place: _given(VLLM_TUNED_CONFIG_FOLDER=str(place)),
        lambda place: _given(LD_PRELOAD=f"/none.so:{place / 'weights'}"),
        lambda place: {"variables": {"MY_SETTINGS": str(place / "weights")}},
    ],
)
def test_what_lies_where_settings_point_is_in_the_key(
    tmp_path: Path, naming: Callable[[Path], dict[str, Any]]
) -> None:
    place = tmp_path / "adapter"
    place.mkdir()
    (place / "weights").write_text("one")
    before = key(**naming(place))
    assert key(**naming(place)) == before
    (place / "weights").write_text("two")
    assert key(**naming(place)) != before


def test_a_repository_is_what_its_branch_is_in_the_cache(tmp_path: Path) -> None:
    naming = _given("--speculative-config", '{"model": "some/draft"}', HF_HUB_CACHE=str(tmp_path))
    absent = key(**naming)
    refs = tmp_path / "models--some--draft" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("a commit")
    before = key(**naming)
    assert key(**naming) == before != absent
    (refs / "main").write_text("another")
    assert key(**naming) != before


def test_what_is_too_much_to_look_at_is_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    naming = _given("--middleware", str(ROOT / "infra"))
    assert key(**naming) == key(**naming)
    monkeypatch.setattr(named_files, "_MOST_FILES", 3)
    assert key(**naming) != key(**naming)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--download-dir", "{}"),
        ("--download_dir={}",),
        ("--speculative-config", '{{"cache_dir": "{}"}}'),
    ],
)
def test_where_an_engine_keeps_things_is_not_looked_at(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "kept").write_text("one")
    naming = _given(*(text.format(tmp_path) for text in arguments))
    before = key(**naming)
    (tmp_path / "kept").write_text("two")
    assert key(**naming) == before


def test_folders_of_the_machines_libraries_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so").write_text("one")
    naming = _given(LD_LIBRARY_PATH=f"/none:{tmp_path}", CUDA_HOME=str(tmp_path))
    before = key(**naming)
    (tmp_path / "libcuda.so").write_text("two")
    assert key(**naming) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 5000},
        {"memory_fraction": 0.5},
        {"startup_timeout_seconds": 60},
        {"max_restarts": 0},
        {"given": {"PATH": "/bin", "HOME": "/home/ada", "CUDA_VISIBLE_DEVICES": "1"}},
        {"given": {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "eth0"}},
        {"given": {"VLLM_API_KEY": "secret", "VLLM_CACHE_ROOT": "/tmp", "TRITON_CACHE_DIR": "/t"}},
        {"device": GPU.model_copy(update={"count": 1, "driver": "581"})},
    ],
    ids=str,
)
def test_what_decides_none_is_not(changed: dict[str, Any]) -> None:
    assert key(**changed) == key()


def test_what_assay_itself_adds_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another constant in the code, as another version of it may have: another command line."""
    before = key(device=CPU)
    monkeypatch.setattr(vllm_command, "_CPU_BLOCK_TOKENS", 128)
    assert key(device=CPU) != before


def test_the_code_that_asks_and_says_what_a_server_can_do_is_in_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert {"scoring", "engines/vllm/server.py"} <= set(engine_conditions.CODE)
    before = key()
    monkeypatch.setattr(engine_conditions, "CODE", ("scoring",))
    assert key() != before


def test_what_was_adjusted_keeps_answers_of_its_own() -> None:
    def adjusted(field: str, after: str) -> str:
        made = Adjustment(field=field, before="the default", after=after, reason="no room")
        return answers_of(["conditions"], [made])

    plain = answers_of(["conditions"], [])
    assert adjusted("serving.enforce_eager", "true") != plain
    assert adjusted("serving.memory_fraction", "0.5") == plain


def test_what_is_imported_meanwhile_changes_no_key() -> None:
    """Libraries set variables for themselves; the second arm must not get other keys for that."""
    code = (
        "from infra.engines.vllm.conditions import deciding_variables as deciding\n"
        "from infra.engines.vllm.command import inherited as clean\n"
        "before = deciding(clean())\n"
        "import datasets, lm_eval.evaluator, matplotlib, scipy.stats, sklearn.metrics\n"
        "import modelscope, prefect, statsmodels, transformers\n"
        "assert deciding(clean()) == before, (before, deciding(clean()))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
