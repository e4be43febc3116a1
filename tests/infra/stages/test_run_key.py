from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra import ENVIRONMENT
from infra.contracts.records import ArmResult
from infra.contracts.specs import (
    AdapterSpec,
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    ModelSpec,
    RunSpec,
    ServingChanges,
)
from infra.conversations import identity as calibration_source
from infra.engines import named_files
from infra.machine import cores
from infra.models import template_clock
from infra.models.chat_template import text_for_tools
from infra.stages import run_key as stages_run_key
from infra.stages.run_key import finished_run, inputs_of, key_of_finished, run_key
from infra.store.settings import Settings
from infra.suite.own.tools import KIND
from tests import tiny_model
from tests.conftest import ROOT
from tests.infra.made_runs import make_card, make_run
from tests.infra.stages.conftest import write_template
from tests.infra.suite.harness.own_tasks import DEFINITION, rows, write, write_rows

GSM8K = ROOT / "infra" / "sample" / "data" / "openai" / "gsm8k"


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    shutil.copytree(GSM8K, tmp_path / "gsm8k")
    datasets = json.dumps({"openai/gsm8k": {"path": str(tmp_path / "gsm8k")}})
    return override(
        sample(),
        ['evaluation.tasks=[{"name": "gsm8k", "limit": 4}]', f"evaluation.datasets={datasets}"],
    )


def test_the_key_sees_every_field_and_every_row(tmp_path: Path, spec: RunSpec) -> None:
    settings = Settings(cache=tmp_path / "cache")
    key = run_key(spec, settings)
    assert key is not None
    assert run_key(spec, settings) == key
    assert run_key(override(spec, ["results.label=other"]), settings) == key
    changes = ["evaluation.tasks.gsm8k.limit=5", "serving.dtype=float32", "evaluation.seed=1"]
    keys = {run_key(override(spec, [change]), settings) for change in changes}
    assert len(keys) == len(changes)
    assert key not in keys
    file = tmp_path / "gsm8k" / "main" / "test.jsonl"
    file.write_text(file.read_text().replace("marbles", "pebbles"))
    assert run_key(spec, settings) not in {key, None}


def test_the_key_sees_the_engines_settings_and_the_texts(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    texts = tmp_path / "texts.txt"
    texts.write_text("one")
    spec = override(spec, [f"fidelity.texts={texts}"])
    key = run_key(spec, settings)
    texts.write_text("two")
    other = run_key(spec, settings)
    monkeypatch.setitem(ENVIRONMENT, "VLLM_ATTENTION_BACKEND", "TORCH_SDPA")
    assert None not in {key, other}
    assert len({key, other, run_key(spec, settings)}) == 3
    texts.unlink()
    assert run_key(spec, settings) is None


def test_the_key_sees_how_many_cores_there_are_and_how_much_of_their_time(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp computes in as many threads, and what is timed is as fast."""
    settings = Settings(cache=tmp_path / "cache")
    monkeypatch.setattr(cores, "allowed", lambda: 64)
    monkeypatch.setattr(cores, "quota", lambda: None)
    keys = [run_key(spec, settings)]
    assert inputs_of(spec, settings).threads == 64
    monkeypatch.setattr(cores, "quota", lambda: 2.0)
    keys.append(run_key(spec, settings))
    assert (found := inputs_of(spec, settings)).threads == 2
    assert found.cores == 64
    monkeypatch.setattr(cores, "allowed", lambda: 32)
    keys.append(run_key(spec, settings))
    assert len({*keys, None}) == 4


def test_the_key_sees_what_the_engines_settings_name(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    adapter, plugin = tmp_path / "adapter", tmp_path / "plugin.so"
    adapter.mkdir()
    plugin.write_text("one")
    (adapter / "weights").write_text("one")
    monkeypatch.setitem(ENVIRONMENT, "VLLM_OWN_FILE", str(plugin))
    arguments = json.dumps(["--lora-modules", f"own={adapter}"])
    spec = override(spec, [f"serving.extra_args={arguments}"])
    key = run_key(spec, settings)
    assert run_key(spec, settings) == key is not None
    (adapter / "weights").write_text("two")
    other = run_key(spec, settings)
    plugin.write_text("two")
    assert len({key, other, run_key(spec, settings), None}) == 4
    monkeypatch.setattr(named_files, "_MOST_FILES", 0)
    assert run_key(spec, settings) is None


def test_the_key_sees_what_an_adapter_holds(tmp_path: Path, spec: RunSpec) -> None:
    settings = Settings(cache=tmp_path / "cache")
    folder = Path(shutil.copytree(ROOT / "infra" / "sample" / "adapter", tmp_path / "adapter"))
    plain = run_key(spec, settings)
    tuned = CandidateSpec(name="tuned", adapter=AdapterSpec(id=str(folder)))
    spec = spec.model_copy(update={"candidates": (tuned,)})
    key = run_key(spec, settings)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 16', '"lora_alpha": 8'))
    assert len({plain, key, run_key(spec, settings), None}) == 4


def test_the_key_sees_the_users_own_definitions(tmp_path: Path, spec: RunSpec) -> None:
    settings = Settings(cache=tmp_path / "cache")
    folder = write(tmp_path / "tasks")
    spec = override(
        spec, [f"evaluation.include_path={folder}", 'evaluation.tasks=[{"name": "house_task"}]']
    )
    key = run_key(spec, settings)
    write_rows(folder / "rows.jsonl", rows(first=50))
    others = run_key(spec, settings)
    write(folder, DEFINITION.replace("Question", "Frage"))
    assert len({key, others, run_key(spec, settings), None}) == 4


def test_a_run_at_the_time_it_starts_has_no_key_before(tmp_path: Path, spec: RunSpec) -> None:
    settings = Settings(cache=tmp_path / "cache")
    now = override(spec, ["evaluation.moment=now"])
    assert run_key(now, settings) is None
    started = now.starting(datetime(2026, 3, 1, 12, 30, 5, 77, tzinfo=UTC))
    assert started.evaluation.moment == datetime(2026, 3, 1, 12, 30, 5)
    assert spec.starting(datetime(2026, 3, 1, tzinfo=UTC)) == spec
    keys = {run_key(one, settings) for one in (spec, started)}
    assert len(keys - {None}) == 2


def quantized_with(spec: RunSpec, folder: Path, settings: Settings) -> dict[str, ArmResult]:
    """Return arms as a run leaves them whose checkpoints were made with these files."""
    made = make_run(folder / "made", rows=4)
    arms = {"baseline": made.baseline}
    for one in spec.candidates:
        assert one.quantization is not None
        source = calibration_source.identity(one.quantization.calibration, settings)
        checkpoint = made.arms["quantized"].checkpoint
        card = make_card().model_copy(update={"source": source})
        checkpoint = checkpoint.model_copy(update={"calibration": card})
        arms[one.name] = made.arms["quantized"].model_copy(update={"checkpoint": checkpoint})
    return arms


def test_chats_with_functions_that_a_server_dates_give_a_key_for_one_day(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    model = shutil.copytree(ROOT / "infra" / "sample" / "assistant", tmp_path / "assistant")
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in KIND.example))
    here = ["model.source=local", f"model.id={model}"]
    tasks = json.dumps([{"name": "mine", "file": str(file)}])
    calling = override(spec, [*here, f"evaluation.tasks={tasks}"])
    plain = override(spec, here)

    def keys_on(day: int, *changes: str) -> list[str | None]:
        class Then(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Then:
                return cls(2031, 5, day, 12, tzinfo=UTC)

        monkeypatch.setattr(template_clock, "datetime", Then)
        return [run_key(override(one, [*changes]), settings) for one in (calling, plain)]

    template = text_for_tools(model)
    assert keys_on(1) == keys_on(2)
    write_template(model, "{%- if not on is defined %}{{ strftime_now('%Y-%m-%d') }}{% endif -%}"
                   + template)  # fmt: skip
    first, second = keys_on(1), keys_on(2)
    assert first == keys_on(1)
    assert None not in first
    assert [one == other for one, other in zip(first, second, strict=True)] == [False, True]
    fixed = 'evaluation.chat_template_kwargs={"on": "1 May"}'
    assert keys_on(1, fixed) == keys_on(2, fixed)
    write_template(model, "{{ strftime_now('%H:%M') }}" + template)
    assert keys_on(1)[0] is None


@pytest.mark.parametrize("edited", ["before quantizing", "after quantizing", "never"])
def test_a_calibration_file_that_was_edited_is_not_taken_for_the_one_that_was_used(
    edited: str, tmp_path: Path, spec: RunSpec
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    file = tmp_path / "chat.jsonl"
    file.write_text((ROOT / "infra/sample/data/calibration.jsonl").read_text())
    spec = override(spec, [f"quantization.calibration.path={file}"])
    inputs = inputs_of(spec, settings)
    if edited == "before quantizing":
        file.write_text(file.read_text().replace("lamps", "pears"))
    arms = quantized_with(spec, tmp_path, settings)
    if edited == "after quantizing":
        file.write_text(file.read_text() + "\n")
    used = key_of_finished(inputs, arms, spec, settings)
    assert used == (inputs.run_key if edited == "never" else None)


def test_what_a_hub_may_have_changed_has_no_key(tmp_path: Path, spec: RunSpec) -> None:
    settings = Settings(cache=tmp_path / "cache")
    on_a_hub = ["model.source=huggingface", "model.id=some/model"]
    assert run_key(override(spec, on_a_hub), settings) is None
    pinned = override(spec, [*on_a_hub, f"model.revision={'a' * 40}"])
    assert run_key(pinned, settings) is not None
    assert run_key(override(spec, ["model.id=no/such/folder"]), settings) is None


def test_an_unfinished_or_foreign_report_is_not_taken_for_the_run(
    tmp_path: Path, spec: RunSpec
) -> None:
    settings = Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "sample-1"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("")
    (folder / "report.json").write_text("{}")
    assert finished_run(spec, settings) is None


def test_a_report_that_is_removed_while_it_is_looked_for_is_not_there(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(path: Path) -> int:
        path.unlink()
        return 0

    settings = Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "sample-1"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    monkeypatch.setattr(stages_run_key, "written_ns", removed)
    assert finished_run(spec, settings) is None
    assert not (folder / "report.json").exists()


def conversations(file: Path, text: str = "lamps") -> CalibrationSpec:
    source = (ROOT / "infra/sample/data/calibration.jsonl").read_text()
    file.write_text(source.replace("lamps", text))
    return CalibrationSpec(path=str(file))


def test_the_key_sees_every_candidate_and_all_that_it_is_made_of(
    tmp_path: Path, spec: RunSpec
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    model = tiny_model.write(tmp_path / "ready-made")
    calibration = conversations(tmp_path / "chat.jsonl")
    ready = CandidateSpec(name="ready-made", model=ModelSpec(source="local", id=str(model)))
    made = CandidateSpec(name="made", quantization=AwqSpec(calibration=calibration))
    eager = CandidateSpec(name="eager", serving=ServingChanges(enforce_eager=True))
    whole = spec.model_copy(update={"candidates": (ready, made, eager)})

    def key(*candidates: CandidateSpec, **fields: object) -> str | None:
        changed = {"candidates": candidates or whole.candidates, **fields}
        return run_key(spec.model_copy(update=changed), settings)

    first = key()
    assert first is not None
    assert key() == first
    talks = conversations(tmp_path / "talks.jsonl")
    keys = [
        first,
        key(ready, made),
        key(ready, made, eager.model_copy(update={"name": "other"})),
        key(ready, made, CandidateSpec(name="eager", serving=ServingChanges(dtype="float32"))),
        key(conversations=talks),
    ]
    conversations(tmp_path / "talks.jsonl", "pears")
    keys.append(key(conversations=talks))
    conversations(tmp_path / "chat.jsonl", "plums")
    keys.append(key())
    tiny_model.write(model, layers=3)
    keys.append(key())
    assert None not in keys
    assert len(set(keys)) == len(keys)
    gone = ready.model_copy(update={"model": ModelSpec(source="local", id=str(tmp_path / "no"))})
    assert key(gone, made, eager) is None


def test_a_set_of_any_candidate_that_was_edited_counts(tmp_path: Path, spec: RunSpec) -> None:
    settings = Settings(cache=tmp_path / "cache")
    files = [tmp_path / f"{name}.jsonl" for name in ("one", "two")]
    candidates = tuple(
        CandidateSpec(name=file.stem, quantization=AwqSpec(calibration=conversations(file, text)))
        for file, text in zip(files, ("pears", "plums"), strict=True)
    )
    spec = spec.model_copy(update={"candidates": candidates})
    inputs = inputs_of(spec, settings)
    assert inputs.run_key is not None
    arms = quantized_with(spec, tmp_path, settings)
    assert key_of_finished(inputs, arms, spec, settings) == inputs.run_key
    conversations(files[1], "figs")
    used = quantized_with(spec, tmp_path, settings)
    assert key_of_finished(inputs, used, spec, settings) is None
    conversations(files[1], "plums")
    assert key_of_finished(inputs, used, spec, settings) is None
