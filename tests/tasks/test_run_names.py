"""What a flow run is called by what it does."""

from __future__ import annotations

import pytest

from deployments.endpoints import endpoint
from deployments.families import qwen2_5_family
from deployments.recipes import qwen2_5_7b_instruct, sample, sample_candidates
from infra.contracts.specs import EndpointRunSpec, MatrixSpec, RunSpec
from infra.contracts.specs.quick import QuickSpec
from tasks.run_names import named

QUICK = QuickSpec(
    model="hf:Qwen/Qwen2.5-7B-Instruct", candidates="awq, ./mine", tasks="gsm8k", rows="standard",
    margin=1, label="", notify="team",
)  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "name", "tags"),
    [
        (sample(), "sample · awq-4bit-g128", ["sample"]),
        (
            sample_candidates(),
            "sample · awq-4bit-g128, awq-4bit-g64, awq-ready-made, 2 more · candidates",
            ["sample", "sample-candidates"],
        ),
        (
            qwen2_5_7b_instruct(),
            "qwen2.5-7b-instruct · awq-4bit-g128",
            ["qwen2.5-7b-instruct", "qwen2-5-7b-instruct"],
        ),
        (
            QUICK.run,
            "qwen2.5-7b-instruct · awq-4bit-g128, mine · standard",
            ["qwen2.5-7b-instruct", "qwen2-5-7b-instruct-standard", "assay.notify.team"],
        ),
        (
            qwen2_5_family(),
            "qwen2.5-3b, qwen2.5-7b-instruct, qwen2.5-14b-instruct, 1 more · qwen2-5-family",
            ["qwen2-5-family"],
        ),
        (endpoint(), "sample · 127.0.0.1:8080 · endpoint", ["sample", "endpoint"]),
    ],
)
def test_a_run_is_called_by_what_it_does(
    spec: RunSpec | EndpointRunSpec | MatrixSpec,
    name: str,
    tags: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    computes = [] if isinstance(spec, EndpointRunSpec) else ["cpu"]
    assert named(spec) == (name, [*computes, *tags])
