"""Candidates beside one baseline, on an engine that answers at once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from infra.contracts.capability import Capability
from infra.contracts.errors import BrokenCheckpoint, CalibrationError, CorruptWeights
from infra.contracts.records import ArmResult, Checkpoint, Comparison
from infra.contracts.specs import CalibrationSpec, CandidateSpec, ModelSpec, RunSpec, ServingChanges
from infra.engines import live
from infra.engines.vllm import server
from infra.judging import evidence
from infra.machine.device import detect
from infra.models.weights import as_it_came, inspect_local
from infra.probes.triage import served
from infra.store.settings import Settings
from tests.broken_checkpoints import SAMPLE
from tests.infra.stages.conftest import (
    CACHE,
    CONVERSATIONS,
    Evaluate,
    Overwriter,
    make_spec,
    prompts_in,
    write_template,
)
from tests.infra.suite.harness.conftest import Heard

TYPE = CandidateSpec(name="float32", serving=ServingChanges(dtype="float32"))


def compare(
    baseline: ArmResult, candidate: ArmResult, name: str, spec: RunSpec, run: Path
) -> Comparison:
    return evidence.compare(baseline, candidate, name, None, spec, run, Heard())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def reused(arm: ArmResult) -> set[bool]:
    return {task.reused for task in arm.tasks.values()}


def test_a_candidate_that_changes_the_engine_alone(evaluate: Evaluate, tmp_path: Path) -> None:
    run, logs = tmp_path / "run", tmp_path / "run" / "logs"
    baseline = evaluate("run")
    candidate = evaluate("run", CACHE.name, baseline=baseline)
    # The same model, served otherwise: nothing of the one is taken for the other.
    assert candidate.checkpoint == baseline.checkpoint
    flags = ("--kv-cache-dtype", "fp8")
    assert candidate.server.command[-2:] == flags
    assert not set(flags) & set(baseline.server.command)
    assert candidate.identity != baseline.identity
    assert reused(candidate) == {False}
    assert (
        prompts_in(logs / f"server-{CACHE.name}.log")
        == prompts_in(logs / "server-baseline.log")
        != []
    )
    assert candidate.tasks["gsm8k"].samples == f"samples/{CACHE.name}/gsm8k.jsonl"
    assert candidate.reading is not None
    assert candidate.reading.file == f"readings/{CACHE.name}.npz"
    found = compare(baseline, candidate, CACHE.name, make_spec(), run)
    assert {metric.changed for metric in found.metrics} == {0}
    assert found.size_ratio == 1
    assert found.prompts_differ == {}
    assert found.fidelity is not None
    assert (found.fidelity.agreement, found.fidelity.kl_p99) == (1.0, 0.0)
    # Both are kept for later runs, each under its own conditions.
    later = evaluate("later"), evaluate("later", CACHE.name, baseline=baseline)
    assert [reused(arm) for arm in later] == [{True}, {True}]
    assert [arm.server.command[-2:] == flags for arm in later] == [False, True]


def test_two_candidates_beside_one_baseline(evaluate: Evaluate, tmp_path: Path) -> None:
    spec = make_spec(CACHE, TYPE)
    baseline = evaluate("run", spec=spec)
    arms = {
        one.name: evaluate("run", one.name, spec=spec, baseline=baseline)
        for one in spec.candidates
    }  # fmt: skip
    assert len({arm.identity for arm in (baseline, *arms.values())}) == 3
    run = tmp_path / "run"
    for name, arm in arms.items():
        assert reused(arm) == {False}
        assert prompts_in(run / "logs" / f"server-{name}.log") != []
        found = compare(baseline, arm, name, spec, run)
        assert {metric.confidence for metric in found.metrics} == {0.975}  # each has its part
    dtypes = {
        name: arm.server.command[arm.server.command.index("--dtype") + 1]
        for name, arm in {"baseline": baseline, **arms}.items()
    }
    auto = "auto" if detect("cpu").computes_float16 else "bfloat16"
    assert dtypes == {"baseline": auto, CACHE.name: auto, TYPE.name: "float32"}
    # One more candidate costs what is new of it alone.
    more = make_spec(
        CACHE, TYPE, CandidateSpec(name="both", serving=TYPE.serving, model=ModelSpec(
            source="local", id=str(SAMPLE)
        ))
    )  # fmt: skip
    again = evaluate("more", spec=more)
    assert reused(again) == {True}
    for name in (CACHE.name, TYPE.name, "both"):  # the last is the second by another name
        assert reused(evaluate("more", name, spec=more, baseline=again)) == {True}


def test_conversations_of_the_run_are_refused_by_their_own_name(evaluate: Evaluate) -> None:
    many = CONVERSATIONS.model_copy(update={"min_samples": 4096, "max_samples": 4096})
    spec = make_spec(CACHE, conditions={"triage": {"prompts": 8}}, conversations=many)
    with pytest.raises(CalibrationError, match=r"; conversations\.min_samples asks for") as caught:
        evaluate("run", spec=spec)
    assert "lower conversations.min_samples" in caught.value.remedy


@pytest.mark.parametrize("conversations", [None, CONVERSATIONS])
def test_a_candidate_is_looked_at_with_the_conversations_of_the_run(
    evaluate: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    conversations: CalibrationSpec | None,
) -> None:
    monkeypatch.setattr(served, "LEAST_READABLE", -20.0)  # to this engine all texts are noise
    looked = {"triage": {"prompts": 8}}
    spec = make_spec(CACHE, TYPE, conditions=looked, conversations=conversations)
    baseline = evaluate("run", spec=spec)
    assert baseline.triage is None
    for one in spec.candidates:
        triage = evaluate("run", one.name, spec=spec, baseline=baseline).triage
        assert triage is not None
        assert (tmp_path / "run" / f"triage-{one.name}.json").is_file()
        checks = {check.name: check.value for check in triage.checks}
        if conversations is None:  # nothing was made, so there are none to look with
            assert triage.agreement is None
            assert "not kept" in checks[served.AGREEMENT]
        else:
            assert triage.agreement == 1.0
            assert "to the baseline" in checks[served.CALIBRATION]


def test_a_candidate_whose_engine_echoes_nothing_is_not_looked_at_by_its_answers(
    evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = replace(server.MANNER, can=server.MANNER.can - {Capability.ECHO_LOGPROBS})
    monkeypatch.setattr(server, "serve_command", partial(live.serve_command, manner=deaf))
    spec = make_spec(CACHE, conditions={"triage": {}}, conversations=CONVERSATIONS)
    triage = evaluate("run", CACHE.name, spec=spec, baseline=evaluate("run", spec=spec)).triage
    assert triage is not None
    checks = {check.name: check.value for check in triage.checks}
    assert checks[served.AGREEMENT] == "not asked: vLLM has no echo logprobs"


@pytest.fixture
def ready_made(tmp_path: Path) -> Checkpoint:
    """The sample model with a chat template of its own."""
    folder = tmp_path / "ready-made"
    shutil.copytree(SAMPLE, folder)
    write_template(folder, "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %}")
    return as_it_came(inspect_local(folder, settings=Settings()))


@pytest.mark.parametrize("tokenizer", ["own", "baseline"])
def test_whose_template_writes_the_prompts_is_in_the_spec(
    evaluate: Evaluate, ready_made: Checkpoint, tmp_path: Path, tokenizer: str
) -> None:
    name = "ready-made"
    candidate = CandidateSpec(name=name, model=ModelSpec(source="local", id=str(ready_made.path)))

    chat: dict[str, Any] = {"chat_template": True, "tokenizer": tokenizer}
    spec = make_spec(candidate, conditions=chat)
    baseline = evaluate("run", spec=spec)
    arm = evaluate("run", name, model=ready_made, spec=spec, baseline=baseline)
    run = tmp_path / "run"
    theirs, ours = (
        [row["prompt"] for row in lines(run / one.tasks["gsm8k"].samples)]
        for one in (baseline, arm)
    )
    found = compare(baseline, arm, name, spec, run)
    assert {metric.pairs for metric in found.metrics} == {12}
    if tokenizer == "own":
        assert {prompt[:6] for prompt in ours} == {"<user>"}
        assert set(ours).isdisjoint(theirs)
        assert found.prompts_differ == dict.fromkeys(arm.tasks, 12)
        [how] = found.tokenizer_differs
        assert how.startswith("chat template: ")
        assert found.fidelity is not None  # texts are read without a template
    else:
        assert ours == theirs
        assert found.prompts_differ == {}
        assert found.tokenizer_differs == ()
    prompts = [
        set(prompts_in(run / "logs" / f"server-{which}.log")) for which in ("baseline", name)
    ]
    assert (prompts[0] == prompts[1]) is (tokenizer == "baseline")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja"])
def test_a_tokenizer_of_the_baselines_that_changes_meanwhile_is_noticed(
    evaluate: Evaluate, ready_made: Checkpoint, tmp_path: Path, name: str
) -> None:
    """A file of it is written, or one that was not there comes to it."""
    folder, other = tmp_path / "baseline", tmp_path / "other"
    for copy in (folder, other):
        shutil.copytree(SAMPLE, copy)
    write_template(other, "{% for m in messages %}another {{ m.content }}{% endfor %}")
    model = as_it_came(inspect_local(folder, settings=Settings(cache=tmp_path / "cache")))
    candidate = CandidateSpec(
        name="ready-made", model=ModelSpec(source="local", id=str(ready_made.path))
    )
    spec = make_spec(candidate, conditions={"chat_template": True, "tokenizer": "baseline"})
    baseline = evaluate("run", model=model, spec=spec)
    (other / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    config = folder / name
    before = config.read_bytes() if config.exists() else None
    kept = set((tmp_path / "cache" / "scores").glob("[!.]*"))

    def asked(run: str, heard: Heard) -> ArmResult:
        return evaluate(
            run, "ready-made", model=ready_made, spec=spec, baseline=baseline, heard=heard
        )

    heard = Overwriter(other / config.name, config)
    with pytest.raises(CorruptWeights, match="baseline's tokenizer changed since") as caught:
        asked("meanwhile", heard)
    assert heard.written and config.name in caught.value.fact
    assert set((tmp_path / "cache" / "scores").glob("[!.]*")) == kept
    with pytest.raises(CorruptWeights, match="baseline's tokenizer changed since"):
        asked("before", Heard())
    assert not (tmp_path / "before" / "logs" / "server-ready-made.log").exists()
    config.unlink() if before is None else config.write_bytes(before)
    assert reused(asked("again", Heard())) == {False}


def test_a_broken_ready_made_checkpoint_is_never_served(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = tmp_path / "ready-made"
    shutil.copytree(SAMPLE.with_name("model-awq"), folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.2.mlp.down_proj.scales"
    tensors[name] = tensors[name] * np.float16("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    ready = CandidateSpec(name="ready", model=ModelSpec(source="local", id=str(folder)))
    spec = make_spec(ready, conditions={"triage": {"enabled": True}})
    baseline = evaluate("run", spec=spec)
    made = as_it_came(inspect_local(folder, settings=Settings()))
    with pytest.raises(BrokenCheckpoint, match=r"layers\.2\.mlp\.down_proj") as caught:
        evaluate("run", ready.name, model=made, spec=spec, baseline=baseline)
    assert "again" in caught.value.remedy
    assert not (tmp_path / "run" / "logs" / "server-ready.log").exists()


def test_a_ready_made_file_that_rounds_nothing_is_looked_at(
    evaluate: Evaluate, gguf: Path, tmp_path: Path
) -> None:
    """A GGUF file in float32, of which nobody but triage knows whose weights they are."""
    folder = Path(shutil.copytree(gguf, tmp_path / "whole"))
    made = as_it_came(inspect_local(folder, settings=Settings()))
    assert made.quantization_config is None
    whole = CandidateSpec(name="whole", model=ModelSpec(source="local", id=str(folder)))
    spec = make_spec(whole, conditions={"triage": {"enabled": True}})
    baseline = evaluate("run", spec=spec)
    evaluate("run", whole.name, model=made, spec=spec, baseline=baseline)
    assert (tmp_path / "run" / "triage-files-whole.json").is_file()
