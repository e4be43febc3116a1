"""The whole table of a run with several arms, on the sample's model and rows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra import preflight
from infra.contracts.progress import Silent
from infra.contracts.specs import (
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    EvaluationSpec,
    GptqSpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
    TaskSpec,
)
from infra.models.memory_need import GIB, from_name
from infra.preflight import arms
from infra.preflight.arms import Arms, conversations_of
from infra.preflight.findings import Finding
from infra.preflight.model import Model
from infra.quantizers.awq import memory
from infra.store.settings import Settings
from tests import tiny_model
from tests.broken_checkpoints import SAMPLE
from tests.conftest import ROOT

TALKS = CalibrationSpec(path=str(SAMPLE.parent / "data" / "calibration.jsonl"), max_samples=32)
CACHE = CandidateSpec(
    name="fp8-cache", serving=ServingChanges(extra_args=("--kv-cache-dtype", "fp8"))
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(ROOT)
    cache = tmp_path / "cache"
    cache.mkdir()
    shared = Settings().environments
    shared.mkdir(parents=True, exist_ok=True)
    (cache / "environments").symlink_to(shared)
    return Settings(cache=cache, runs=tmp_path / "runs")


def run(*candidates: CandidateSpec, evaluation: dict[str, Any] | None = None, **fields: Any) -> Any:
    whole = sample()
    tasks = (TaskSpec(name="gsm8k", num_fewshot=0, limit=60, max_gen_toks=160),)
    rows = {"openai/gsm8k": whole.evaluation.datasets["openai/gsm8k"]}
    changed: EvaluationSpec = whole.evaluation.model_copy(
        update={"tasks": tasks, "datasets": rows, **(evaluation or {})}
    )
    return whole.model_copy(update={"candidates": candidates, "evaluation": changed, **fields})


def recipe(name: str, group_size: int, talks: CalibrationSpec = TALKS) -> CandidateSpec:
    made = AwqSpec(calibration=talks, group_size=group_size)
    return CandidateSpec(name=name, quantization=made)


def survey(spec: RunSpec, settings: Settings) -> dict[str, Finding]:
    found = preflight.survey(spec, settings=settings, progress=Silent(), configured=lambda: None)
    lines = {finding.name: finding for finding in found}
    assert len(lines) == len(found), [finding.name for finding in found]
    return lines


def test_what_is_refused_of_one_of_several_can_be_mended_as_it_says(settings: Settings) -> None:
    exact = recipe("exact", 128).model_copy(update={"serving": ServingChanges(dtype="float32")})
    spec = run(exact, CACHE)
    refused = survey(spec, settings)["servable, exact"]
    assert refused.status == "problem"
    assert refused.error.fact.startswith("Candidate exact: candidates.exact.serving.dtype=float32")
    field = "candidates.exact.serving.dtype"
    assert f"Set {field} to auto" in refused.error.remedy
    found = survey(override(spec, [f"{field}=auto"]), settings)
    assert "servable, exact" not in found


def test_arms_that_are_alike_have_one_line_each(settings: Settings) -> None:
    found = survey(run(recipe("one", 128), recipe("two", 64), CACHE), settings)
    assert [name for name in found if "," in name] == []
    assert {"model", "quantizable", "calibration", "memory to quantize", "memory to serve",
            "BOS", "fit", "power", "disk"} <= found.keys()  # fmt: skip
    assert [one for one in found.values() if one.status == "problem"] == []


def test_a_ready_made_model_has_its_own_lines(settings: Settings, tmp_path: Path) -> None:
    """Also where its window is too short for what the baseline's holds."""
    short = tiny_model.write(tmp_path / "short")
    ready = CandidateSpec(
        name="ready-made",
        model=ModelSpec(source="local", id=str(short)),
        serving=ServingChanges(max_model_len=192),
    )
    found = survey(run(ready), settings)
    assert str(short) in found["model, ready-made"].found
    assert "quantizable" not in found
    assert "192" in found["servable, ready-made"].found
    assert found["fit"].status == "ok"
    assert found["fit, ready-made"].status == "problem"
    assert "192" in found["fit, ready-made"].found


@pytest.mark.parametrize(("tokenizer", "refused"), [("own", True), ("baseline", False)])
def test_first_questions_are_put_through_the_template_that_will_write_them(
    settings: Settings, tmp_path: Path, tokenizer: str, refused: bool
) -> None:
    folder = tmp_path / "ready-made"
    shutil.copytree(SAMPLE, folder)
    file = folder / "tokenizer_config.json"
    template = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    ready = CandidateSpec(name="ready-made", model=ModelSpec(source="local", id=str(folder)))
    chat = {"chat_template": True, "system_instruction": "Be brief.", "tokenizer": tokenizer}
    found = survey(run(ready, evaluation=chat), settings)
    assert found["prompts"].status == "ok"
    assert ("prompts, ready-made" in found) is refused
    if refused:
        assert found["prompts, ready-made"].status == "problem"
        assert "leaves out the system message" in found["prompts, ready-made"].found


def test_disk_is_counted_for_each_thing_once(settings: Settings) -> None:
    shape = from_name("Qwen/Qwen2.5-7B-Instruct")
    assert shape is not None
    checkpoint, weights = shape.parameters * 2 * memory.SHARE / GIB, 50 * 2**40 / GIB

    def needed(*candidates: CandidateSpec) -> float:
        """More than any disk has, so that the parts are named."""
        spec = run(*candidates)
        model = Model([], shape, 50 * 2**40, None)
        line = arms.disk(spec, Arms([], dict.fromkeys(spec.arms, model), {}), 0, settings)
        assert line.status == "problem"
        download, made = re.findall(r"([\d.]+) GiB (?:to download|for checkpoints)", line.cause)
        assert float(download) == pytest.approx(weights, abs=0.1)
        return float(made)

    one, two = recipe("one", 128), recipe("two", 64)
    assert needed(CACHE) == 0
    assert needed(one, CACHE) == pytest.approx(checkpoint, abs=0.1)
    assert needed(one, two) == pytest.approx(2 * checkpoint, abs=0.1)
    again = one.model_copy(update={"name": "again", "serving": CACHE.serving})
    assert needed(one, again) == needed(one)


def test_conversations_of_the_run_are_looked_at_by_the_baseline(
    settings: Settings, tmp_path: Path
) -> None:
    mine = TALKS.model_copy(update={"max_samples": 20})
    spec = run(CACHE, conversations=mine)
    assert conversations_of(spec) == {"baseline": [mine], CACHE.name: []}
    assert survey(spec, settings)["conversations"].found.startswith("20 of ")
    missing = mine.model_copy(update={"path": str(tmp_path / "none.jsonl")})
    spec = run(recipe("made", 128), conversations=missing)
    found = survey(spec, settings)
    assert found["conversations"].status == "problem"
    assert "none.jsonl" in found["conversations"].found
    assert found["calibration"].status in ("ok", "note")


BLOCK = {"max_sequence_length": 2048}
"""More tokens than three conversations have."""


def test_conversations_of_the_run_are_called_by_their_own_name(
    settings: Settings, tmp_path: Path
) -> None:
    """Also where a recipe has some of its own, and where the first to read them is a candidate."""
    few = TALKS.model_copy(update={"path": str(tmp_path / "few.jsonl"), "min_samples": 4, **BLOCK})
    rows = Path(TALKS.path).read_text().splitlines()
    Path(few.path).write_text("\n".join(rows[:3]))
    for candidates in ((CACHE,), (recipe("made", 128), CACHE)):
        spec = run(*candidates, conversations=few)
        refused = survey(spec, settings)["conversations"]
        assert refused.status == "problem"
        assert refused.error.fact.startswith(few.path)
        assert "conversations.min_samples asks for 4" in refused.found
        assert "lower conversations.min_samples" in refused.remedy
        assert "quantization" not in str(refused.error)
        # Three need not fill a block of a quantizer that does not read them.
        mended = override(spec, ["conversations.min_samples=3"])
        assert survey(mended, settings)["conversations"].status == "ok"


def test_conversations_that_a_checkpoint_is_made_from_fill_a_block(
    settings: Settings, tmp_path: Path
) -> None:
    rows = Path(TALKS.path).read_text().splitlines()
    (tmp_path / "few.jsonl").write_text("\n".join(rows[:3]))
    few = TALKS.model_copy(update={"path": str(tmp_path / "few.jsonl"), "min_samples": 3, **BLOCK})
    refused = survey(run(recipe("made", 128, few), CACHE), settings)["calibration, made"]
    assert refused.status == "problem"
    assert "fewer than one block" in refused.found
    field = "candidates.made.quantization.calibration.max_sequence_length"
    assert f"lower {field}" in refused.remedy
    mended = override(run(recipe("made", 128, few), CACHE), [f"{field}=512"])
    assert survey(mended, settings)["calibration"].status == "ok"
    whole = CandidateSpec(name="made", quantization=GptqSpec(calibration=few))
    assert survey(run(whole), settings)["calibration"].status == "ok", "no blocks are cut"


def test_a_baseline_that_is_made_here_reads_both_sets() -> None:
    made = run(CACHE, conversations=TALKS.model_copy(update={"max_samples": 16}))
    own = AwqSpec(calibration=TALKS)
    made = made.model_copy(
        update={"baseline": made.baseline.model_copy(update={"quantization": own})}
    )
    assert conversations_of(made)["baseline"] == [TALKS, made.conversations]
    assert conversations_of(made.model_copy(update={"conversations": TALKS})) == {
        "baseline": [TALKS], CACHE.name: [TALKS]
    }  # fmt: skip
