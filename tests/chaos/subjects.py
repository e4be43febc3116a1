"""What is hurt: a run of one candidate, by how it is served or timed, or its checkpoint made.

All share one baseline, so that it is evaluated once for the whole matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Device = Literal["cpu", "cuda"]

DOCUMENTS = 40
_SAMPLE = "infra/sample"
_CALIBRATION = {
    "path": f"{_SAMPLE}/data/calibration.jsonl",
    "max_samples": 16,
    "max_sequence_length": 128,
}
_SHARED: dict[str, Any] = {
    "baseline": {
        "model": {"source": "local", "id": f"{_SAMPLE}/model"},
        "serving": {
            "max_model_len": 2048,
            "enforce_eager": True,
            "hang_timeout_seconds": 15,
        },
    },
    "evaluation": {
        "tasks": [{"name": "gsm8k", "num_fewshot": 5, "limit": DOCUMENTS, "max_gen_toks": 160}],
        "datasets": {"openai/gsm8k": {"path": f"{_SAMPLE}/data/openai/gsm8k"}},
        "triage": {"enabled": False},
    },
    "fidelity": {"enabled": False},
    # So few rows show little, and what the verdict is does not matter here.
    "verdict": {"margin_points": 50, "task_margin_points": 50, "gate": "none"},
}
_LLAMACPP = {"engine": "llamacpp"}
_SERVED_ON: dict[Device, dict[str, Any]] = {
    "cpu": {"device": "cpu"},
    # The sample needs little, and several worlds may share one GPU.
    "cuda": {
        "device": "cuda",
        "memory_fraction": 0.05,
        "extra_args": ["--kv-cache-memory-bytes", "1000000000"],
    },
}
_TIMED = {
    "input_tokens": [16], "output_tokens": 64, "concurrencies": [1], "requests": 16, "precision": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """One candidate beside the baseline, and which part of its run is hurt."""

    name: str
    candidate: dict[str, Any]
    engine_child: bool = False
    """Its engine computes in a child of the server."""

    makes: frozenset[str] = field(default=frozenset())
    """Methods whose checkpoints are made while it is hurt, and are not there before. Empty: it is
    hurt while it answers."""

    phase: str = ""
    """What the method's script says when it is in the middle of its work."""

    room_kib: int = 1024
    """What a disk still holds that is too small for its checkpoint."""

    timed: bool = False
    """Its arms are timed after their tasks."""

    @property
    def undisturbed(self) -> str:
        """Name of the run that pays for what is there before."""
        return str(self.candidate["name"]) + "-timed" * self.timed

    def spec(self, device: Device) -> dict[str, Any]:
        """Return the run."""
        baseline = _SHARED["baseline"]
        serving = {**baseline["serving"], **_SERVED_ON[device]}
        return {
            **_SHARED,
            "baseline": {**baseline, "serving": serving},
            "speed": {"enabled": self.timed, **_TIMED},
            "candidates": [self.candidate],
        }


def _quantized(name: str, *, served: dict[str, Any] | None = None, **recipe: Any) -> dict[str, Any]:
    return {"name": name, "quantization": recipe, **({"serving": served} if served else {})}


_AWQ = _quantized("awq", method="awq", calibration=_CALIBRATION, group_size=128)
_MERGED = {
    **_quantized(
        "merged", served=_LLAMACPP,
        method="gguf", type="q4_k_m", importance=True, calibration=_CALIBRATION,
    ),
    "adapter": {"id": f"{_SAMPLE}/adapter", "merge": True},
}  # fmt: skip

VLLM = Subject("vllm", _AWQ, engine_child=True)
TIMED = Subject("timed", _AWQ, engine_child=True, timed=True)
LLAMACPP = Subject("llamacpp", _quantized("q8-0", served=_LLAMACPP, method="gguf", type="q8_0"))
QUANTIZERS = (
    Subject("awq", _AWQ, makes=frozenset({"awq"}), phase="quantizing"),
    Subject(
        "gptq", _quantized("gptq", method="gptq", calibration=_CALIBRATION),
        makes=frozenset({"gptq"}), phase="quantizing",
    ),
    Subject(
        "compressed",
        _quantized(
            "w8a8", method="compressed-tensors", scheme="w8a8-int8", calibration=_CALIBRATION
        ),
        makes=frozenset({"compressed-tensors"}), phase="quantizing",
    ),
    # One run, hurt in its first step and in its second: there the first has been paid for.
    Subject("merging", _MERGED, makes=frozenset({"merge", "gguf"}), phase="loading the model"),
    # llama.cpp itself is out of room, not the converter that writes what it reads.
    Subject(
        "gguf", _MERGED, makes=frozenset({"gguf"}), phase="importance matrix", room_kib=9 * 1024
    ),
)  # fmt: skip
