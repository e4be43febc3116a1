"""The house keeps its shape: layers, names, recipes, locks."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deployments.families import MATRICES
from deployments.recipes import RECIPES
from infra.contracts.specs import MatrixSpec, RunSpec

ROOT = Path(__file__).parent.parent
FLOWS = sorted(path for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_a_flow_file_shadows_nothing(path: Path) -> None:
    """Prefect puts `flows/` first on the path and imports a flow file under its bare stem."""
    assert importlib.util.find_spec(path.stem) is None


def test_deployments_are_the_recipes() -> None:
    deployments = {
        item["name"]: item
        for item in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    assert RunSpec(**deployments["adhoc"]["parameters"]) == RECIPES["sample"]()
    recipe = RECIPES["sample-candidates"]()
    assert RunSpec(**deployments["candidates"]["parameters"]) == recipe
    for name in ("nightly", "revisions"):
        assert RunSpec(**deployments[name]["parameters"]) == RECIPES["qwen2.5-7b-instruct"]()
    matrix = MATRICES["sample-family"]()
    # The form shows what the cells will do whatever is chosen: no verdict ends the matrix.
    ungated = matrix.model_copy(
        update={"verdict": matrix.verdict.model_copy(update={"gate": "none"})}
    )
    assert MatrixSpec(**deployments["matrix"]["parameters"]) == ungated
    for name in ("nightly", "watch"):
        assert [schedule["active"] for schedule in deployments[name]["schedules"]] == [False]


def test_what_happens_to_runs_that_meet_is_declared() -> None:
    declared = {
        item["name"]: item["concurrency_limit"]["collision_strategy"]
        for item in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
        if "concurrency_limit" in item
    }
    # A night too many shows nothing new; a revision that is left out is never evaluated.
    assert declared == {"nightly": "CANCEL_NEW", "revisions": "ENQUEUE", "watch": "CANCEL_NEW"}


def test_the_run_that_the_readme_writes_out_can_be_run() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"^```json\n(\{.*?^\})\n```$", text, re.MULTILINE | re.DOTALL)
    candidates = RunSpec.model_validate_json(written).candidates
    assert len(candidates) == 7
    assert [one.name for one in candidates if one.against] == ["q4-k-m"]


def test_every_field_of_a_spec_is_described() -> None:
    schema = RunSpec.model_json_schema()
    models = {"RunSpec": schema, **schema["$defs"]}
    bare = [
        f"{model}.{name}"
        for model, definition in models.items()
        for name, field in definition.get("properties", {}).items()  # not all are records
        if not field.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize(
    "module", ["deployments.__main__", "infra.preflight", "infra.stages.run_key"]
)
def test_quick_commands_import_nothing_heavy(module: str) -> None:
    """`--help`, preflight and the reuse of a finished run must not wait for big libraries."""
    heavy = {"prefect", "torch", "vllm", "awq", "lm_eval", "datasets", "transformers", "modelscope",
             "matplotlib", "pandas", "scipy"}  # fmt: skip
    script = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy & {name.split(".")[0] for name in loaded} == set()


def test_locks_are_hashed_and_name_no_host() -> None:
    for lock in (ROOT / "infra" / "environments").glob("*.txt"):
        text = lock.read_text()
        if lock.name == "excludes.txt":
            continue
        for block in re.split(r"\n(?=[a-z0-9])", text.partition("\n\n")[2] or text):
            assert "--hash=sha256:" in block or block.startswith("#"), (lock.name, block[:80])
        assert "index-url" not in text and "://" not in text
