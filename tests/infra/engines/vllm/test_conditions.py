from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Adjustment, PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.port import Setup
from infra.engines.vllm import command as vllm_command
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
    ],
    ids=str,
)
def test_what_decides_an_answer_is_in_the_key(changed: dict[str, Any]) -> None:
    assert key(**changed) != key()


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 5000},
        {"memory_fraction": 0.5},
        {"startup_timeout_seconds": 60},
        {"max_restarts": 0},
        {"given": {"PATH": "/bin", "HOME": "/home/ada", "CUDA_VISIBLE_DEVICES": "1"}},
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


def test_what_was_adjusted_keeps_answers_of_its_own() -> None:
    def adjusted(field: str, after: str) -> str:
        made = Adjustment(field=field, before="the default", after=after, reason="no room")
        return answers_of(["asked"], [made])

    plain = answers_of(["asked"], [])
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
