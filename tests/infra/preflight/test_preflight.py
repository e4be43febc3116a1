"""Single checks of the preflight, and the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import constants

from deployments.overrides import override
from deployments.recipes import sample
from infra import preflight
from infra.contracts.errors import (
    AssayError,
    EnvironmentBuildError,
    NotEnough,
    PreflightError,
)
from infra.contracts.progress import Silent
from infra.contracts.specs import BASELINE, ArmSpec, DatasetSpec, RunSpec, ServingSpec
from infra.judging.planning import planned
from infra.machine.device import Device
from infra.models.hubs.hub import connect
from infra.models.memory_need import GIB, from_name
from infra.preflight import access, interpreters, machine, model, plan, room
from infra.preflight import suite as tasks_of
from infra.preflight.findings import Finding, note, ok, problem, table
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import Leaf
from infra.suite.harness.prepared import check_suite
from infra.suite.harness.rows.sources import row_source
from infra.suite.sources import RowSource
from tests import stub_hub

GPQA = "Idavidrein/gpqa"
CANDIDATE = "awq-4bit-g128"
CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "num_attention_heads": 6,
    "num_hidden_layers": 2,
    "max_position_embeddings": 512,
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[stub_hub.StubHub]:
    with stub_hub.running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        # Of whoever runs the tests: a login, and rows that were fetched.
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
        connect("huggingface")
        yield hub


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", runs=tmp_path / "runs")


def spec(**model: object) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": model,
            "quantization": {"calibration": {"path": "calibration.jsonl"}},
            "evaluation": {"tasks": [{"name": "gsm8k"}]},
        }
    )


def arm_of(spec: RunSpec, name: str) -> ArmSpec:
    return spec.arms[name]


def statuses(found: model.Model) -> list[str]:
    return [one.status for one in found.findings]


def gpu(gibibytes: int = 80, driver: str = "580.95.05") -> Device:
    return Device(kind="cuda", name="GPU", count=1, memory_bytes=gibibytes * GIB, driver=driver)


def source(dataset: str, named: DatasetSpec | None = None) -> RowSource:
    """Return where the rows of a task come from that names a dataset."""
    given = {dataset: named} if named else {}
    return row_source(Leaf("task", None, dataset, {}, True, None), given)


# The table


def test_the_table_aligns_its_columns_and_wraps_at_100() -> None:
    error = AssayError("What is missing. " * 9, cause="Why. " * 30, remedy="What to do. " * 15)
    lines = table([ok("short", "fine"), note("a longer name", "so"), problem("x", error)]).split(
        "\n"
    )
    assert max(map(len, lines)) <= 100
    assert lines[0].index("fine") == lines[1].index("so") == lines[2].index("What is missing.")
    assert [line.split()[0] for line in lines[:3]] == ["ok", "note", "problem"]
    assert sum("cause:" in line for line in lines) == sum("remedy:" in line for line in lines) == 1
    assert lines[-1] == "1 thing is missing, of 3 looked at."


def test_the_table_says_when_nothing_is_missing() -> None:
    assert table([ok("a", "b")]).endswith("Nothing is missing; 1 things were looked at.")


def test_all_problems_are_one_error_and_notes_are_none() -> None:
    findings = [ok("a", "b"), note("c", "d")]
    preflight.refuse(findings)
    errors = [AssayError("First.", remedy="Do."), AssayError("Second.", cause="So.", remedy="Do.")]
    with pytest.raises(PreflightError, match=r"(?s)2 things.*1. First.*2. Second.*cause: So"):
        preflight.refuse([*findings, *(problem("x", error) for error in errors)])


# The machine


@pytest.mark.parametrize(
    ("lock", "cuda"),
    [
        ("torch==2.11.0 \\\n    --hash\nnvidia-cuda-runtime==13.0.96 \\\n", 13),
        ("torch==2.7.1 \\\nnvidia-cuda-runtime-cu12==12.6.77 \\\n", 12),
        ("torch==2.7.1+cu128 \\\n", 12),
        ("torch==2.13.0+cpu \\\n", None),
    ],
)
def test_the_lock_tells_its_cuda(lock: str, cuda: int | None) -> None:
    assert machine.locked_cuda(lock) == cuda


def test_a_driver_older_than_the_locked_cuda_is_refused(settings: Settings) -> None:
    serving, old = ServingSpec(), gpu(driver="550.54.15")
    assert isinstance(machine.driver(gpu(driver="580.95.05"), settings, serving), str)
    with pytest.raises(NotEnough, match=r"550\.54\.15") as error:
        machine.driver(old, settings, serving)
    assert "Update the driver" in error.value.remedy
    own = settings.model_copy(update={"interpreters": {"vllm": Path("/own/python")}})
    assert "ASSAY_VLLM_PYTHON" in str(machine.driver(old, own, serving))
    named = ServingSpec(python="/another/python")
    assert "serving.python" in str(machine.driver(old, settings, named))


def test_an_environment_whose_interpreter_is_gone_is_refused(settings: Settings) -> None:
    found, size = interpreters.environment("vllm", "cpu", settings)
    assert isinstance(found, Finding) and "first use" in found.found and size == 3 * GIB
    python = interpreters.locate("vllm", "cpu", settings)[0].python
    python.parent.mkdir(parents=True)
    python.symlink_to(settings.cache / "python-that-was")
    with pytest.raises(EnvironmentBuildError, match="is gone") as error:
        interpreters.environment("vllm", "cpu", settings)
    assert str(python.parent.parent) in error.value.remedy


# Room


def test_a_model_that_does_not_fit_a_gpu_is_refused_with_what_would() -> None:
    wanted = ServingSpec()
    shape = from_name("Qwen/Qwen2.5-32B-Instruct")
    assert shape
    assert room.serving_memory(wanted, shape, gpu(80)).status == "ok"
    small = room.serving_memory(wanted, shape, gpu(40))
    assert small.status == "problem" and "tensor_parallel_size to 2" in small.remedy
    tight = room.serving_memory(wanted, shape, gpu(72))
    assert tight.status == "problem" and "serving.max_model_len to" in tight.remedy
    assert room.serving_memory(wanted, shape, None).status == "note"


def test_a_model_that_main_memory_cannot_hold_is_refused() -> None:
    recipe = arm_of(spec(id="org/model-9000B"), CANDIDATE).quantization
    shape = from_name("org/model-9000B")
    assert shape
    assert recipe
    assert room.quantizer_memory(recipe, shape, gpu()).status == "problem"


# Hubs


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_model_on_a_hub_is_looked_at_and_not_downloaded(
    source: str, hub: stub_hub.StubHub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "SECONDS", 60.0)  # a busy machine is no hub that is away
    files = stub_hub.model_files()
    files["config.json"] = json.dumps(CONFIG).encode()
    branch = "main" if source == "huggingface" else "master"
    hub.repos["models/org/model"] = stub_hub.Repo(files, branch=branch)
    wanted = spec(id="org/model", source=source)
    assert statuses(model.on_a_hub(arm_of(wanted, BASELINE), settings)) == ["ok", "ok"]
    found = model.on_a_hub(arm_of(wanted, CANDIDATE), settings)
    assert statuses(found) == ["ok", "ok", "ok"], found.findings
    assert found.shape and not found.shape.guessed
    assert found.to_download > 1_000_000
    assert set(hub.served) == {"config.json"}
    assert not settings.cache.exists()


@pytest.mark.parametrize(
    ("change", "serving", "said"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, {}, "quantized already (awq)"),
        ({"model_type": "mamba"}, {}, "mamba"),
        ({}, {"tensor_parallel_size": 4}, "6 attention heads"),
        ({"intermediate_size": 896}, {"tensor_parallel_size": 2}, "checkpoint cannot be shared"),
        ({}, {"max_model_len": 1024}, "made for 512 tokens"),
    ],
)
def test_what_the_config_on_a_hub_rules_out_is_refused(
    change: dict[str, object],
    serving: dict[str, object],
    said: str,
    hub: stub_hub.StubHub,
    settings: Settings,
) -> None:
    files = stub_hub.model_files()
    files["config.json"] = json.dumps(CONFIG | change).encode()
    hub.repos["models/org/model"] = stub_hub.Repo(files)
    wanted = arm_of(spec(id="org/model", source="huggingface"), CANDIDATE)
    wanted = wanted.model_copy(update={"serving": wanted.serving.model_copy(update=serving)})
    found = model.on_a_hub(wanted, settings)
    refused = [one for one in found.findings if one.status == "problem"]
    assert len(refused) == 1 and said in refused[0].found and refused[0].remedy


def test_another_file_on_a_hub_that_says_it_is_quantized_is_read(
    hub: stub_hub.StubHub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "SECONDS", 60.0)
    files = stub_hub.model_files()
    files["config.json"] = json.dumps(CONFIG).encode()
    files["quantize_config.json"] = b'{"bits": 4, "group_size": 128, "desc_act": false}'
    hub.repos["models/org/model"] = stub_hub.Repo(files)
    wanted = arm_of(spec(id="org/model", source="huggingface"), CANDIDATE)
    refused = [one for one in model.on_a_hub(wanted, settings).findings if one.status == "problem"]
    assert [one.name for one in refused] == ["quantizable"]
    assert "org/model is quantized already (gptq)" in refused[0].found
    assert refused[0].cause.startswith("quantize_config.json says so")
    assert set(hub.served) == {"config.json", "quantize_config.json"}


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-32B-Instruct-AWQ", "a/b-GPTQ-Int4", "a/b-FP8"])
def test_without_a_hub_the_name_tells_that_a_model_is_quantized(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    found = model.on_a_hub(arm_of(spec(id=name), CANDIDATE), settings)
    assert statuses(found) == ["problem", "problem", "note"]
    assert "quantized already, as its name says" in found.findings[1].found
    sound = model.on_a_hub(arm_of(spec(id="Qwen/Qwen2.5-7B-Instruct"), CANDIDATE), settings)
    assert statuses(sound) == ["problem", "note", "note"]
    # As it comes it may well be quantized: nothing is made of it.
    assert statuses(model.on_a_hub(arm_of(spec(id=name), BASELINE), settings)) == [
        "problem", "note"
    ]  # fmt: skip


def test_a_gated_dataset_names_the_page_to_ask_on(
    hub: stub_hub.StubHub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"README.md": b"# Rows", "data.csv": b"a,b\n1,2\n"}
    repo = stub_hub.Repo(rows, gated_files=True)
    hub.repos[f"datasets/{GPQA}"] = repo
    page = f"{hub.url}/datasets/{GPQA}"
    with pytest.raises(AssayError, match="refuses access") as error:
        access.rows(source(GPQA), settings)
    assert page in error.value.remedy
    repo.gated_files = False
    assert repo.commit[:12] in str(access.rows(source(GPQA), settings))
    assert hub.served == {}

    monkeypatch.delenv("HF_TOKEN")
    before = len(hub.requests)
    with pytest.raises(AssayError, match="no token") as error:
        access.rows(source(GPQA), settings)
    assert page in error.value.remedy
    assert len(hub.requests) == before


def test_rows_that_were_fetched_earlier_do_without_the_hub(
    hub: stub_hub.StubHub, settings: Settings, tmp_path: Path
) -> None:
    """`datasets` writes `CohereLabs___global-mmlu-lite`."""
    wanted = source("CohereLabs/Global-MMLU-Lite")
    with pytest.raises(AssayError, match="no dataset"):
        access.rows(wanted, settings)
    hub.errors["datasets"] = [503]
    (tmp_path / "datasets" / "CohereLabs___global-mmlu-lite").mkdir(parents=True)
    found = access.rows(wanted, settings)
    assert isinstance(found, Finding) and found.status == "note"
    assert "CohereLabs___global-mmlu-lite" in found.found and "503" in found.found


def test_rows_from_another_hub_are_requested_there(
    hub: stub_hub.StubHub, settings: Settings
) -> None:
    hub.repos["datasets/org/rows"] = stub_hub.Repo({"a.jsonl": b"{}"}, branch="master")
    elsewhere = DatasetSpec(path="org/rows", source="modelscope")
    assert "org/rows@" in str(access.rows(source("openai/gsm8k", elsewhere), settings))
    assert hub.served == {}
    with pytest.raises(AssayError, match="no dataset org/none"):
        access.rows(source("x", DatasetSpec(path="org/none", source="modelscope")), settings)


# What the run can show


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, Settings]:
    """The sample's tasks, cut short and loaded: 5 rows, and 2 of each of six subjects."""
    folder = tmp_path_factory.mktemp("loaded")
    tasks = [{"name": "gsm8k", "limit": 5}, {"name": "global_mmlu_en", "limit": 2}]
    here = Settings(cache=folder / "cache", runs=folder / "runs")
    wanted = override(sample(), [f"evaluation.tasks={json.dumps(tasks)}"])
    assert planned(wanted, here) is None
    check_suite(wanted.evaluation, settings=here, progress=Silent())
    return wanted, here


def test_the_plan_knows_the_rows_of_loaded_tasks(loaded: tuple[RunSpec, Settings]) -> None:
    power = planned(*loaded)
    assert power is not None
    rows = {name: task.rows for name, task in power.tasks.items()}
    assert rows == {"gsm8k": 5, "global_mmlu_en": 12}
    assert power.rows == 17


def test_a_margin_that_the_rows_cannot_resolve_is_refused_or_widened(
    loaded: tuple[RunSpec, Settings],
) -> None:
    spec, here = loaded
    refuse = override(spec, ["verdict.if_unresolvable=refuse", "verdict.flip_rate=null"])
    refused, tasks = plan.look_at(refuse, here, Silent())
    # (1.644854 + 0.841621) sqrt(0.1 / 17) is 19.07 points; 10 points take 61.8 rows
    assert refused.status == "problem"
    assert "10 points cannot be resolved by 17 rows" in refused.found
    assert "19.1 points" in refused.found and "10 %" in refused.cause
    assert "62 rows, 45 more" in refused.remedy and "margin_points to 19.1," in refused.remedy
    assert tasks.status == "ok" and "global_mmlu_en 53.5 (12 rows)" in tasks.found
    with pytest.raises(PreflightError, match="cannot be resolved"):
        preflight.refuse([refused, tasks])

    widen = override(refuse, ["verdict.if_unresolvable=widen"])
    widened = plan.look_at(widen, here, Silent())[0]
    assert widened.status == "note"
    assert "widened from 10 points to 19.1 points" in widened.found
    enough = override(refuse, ["verdict.task_margin_points=50", "verdict.margin_points=19.1"])
    assert plan.look_at(enough, here, Silent())[0].status == "ok"


def test_the_plan_says_what_repeats_buy(loaded: tuple[RunSpec, Settings]) -> None:
    spec, here = loaded
    sampling = '{"repeats": 4, "temperature": 0.7}'
    again = override(
        spec, [f"evaluation.tasks.gsm8k.sampling={sampling}", "verdict.flip_rate=null"]
    )
    check_suite(again.evaluation, settings=here, progress=Silent())
    first, tasks, bought, *_ = plan.look_at(again, here, Silent())
    assert first.found.startswith("17 questions, asked up to 4 times each.")
    assert "(5 questions, asked 4 times each)" in tasks.found
    assert "(12 rows)" in tasks.found
    assert bought.found.startswith("gsm8k: 5 questions, asked 4 times each, show as much as 8")
    assert "correlation 0.5, assumed" in bought.found
    assert "20 different questions would take as long and show as much as 20" in bought.found


def test_choices_are_not_sampled(loaded: tuple[RunSpec, Settings]) -> None:
    spec, here = loaded
    drawn = override(spec, ['evaluation.tasks.global_mmlu_en.sampling={"temperature": 0.7}'])
    found = tasks_of.read(drawn.evaluation, here, Silent()).findings
    [refused] = [one for one in found if one.status == "problem"]
    assert "lets the model write nothing, but evaluation.tasks has sampling" in refused.found
    assert "no draw changes" in refused.cause
    assert refused.remedy.startswith("Leave sampling out of global_mmlu_en")


def test_the_guard_of_the_tasks_is_named_where_it_would_be_too_narrow(
    loaded: tuple[RunSpec, Settings],
) -> None:
    spec, here = loaded
    narrow = override(spec, ["verdict.if_unresolvable=refuse"])  # 30 % flip: 33.1 points
    assert "task_margin_points to no less" in plan.look_at(narrow, here, Silent())[0].remedy
    wide = override(narrow, ["verdict.task_margin_points=40"])
    assert "task_margin_points" not in plan.look_at(wide, here, Silent())[0].remedy


def test_earlier_runs_tell_how_many_rows_flip(
    loaded: tuple[RunSpec, Settings], tmp_path: Path
) -> None:
    spec, here = loaded
    settings = here.model_copy(update={"runs": tmp_path})
    spec = override(spec, ["verdict.flip_rate=null", "results.label=earlier"])
    columns = "run_id,label,model,primary,arm,task,n,lost,gained"
    rows = [
        f"run,earlier,{spec.baseline.model.id},True,{arm},{task},{n},{n // 2},0"
        for arm in ("baseline", "quantized")
        for task, n in (("gsm8k", 30), ("global_mmlu_en", 38))
    ]
    (tmp_path / "history.csv").write_text("\n".join([columns, *rows]))
    power, _ = plan.look_at(spec, settings, Silent())
    # 15 of 30 rows and 19 of 38, each drawn towards 10 %, weighted by 5 and 12 rows
    assert "20.5 % of them" in power.found and "learned from 1 earlier run" in power.found


def test_rows_that_are_not_here_are_planned_later(
    hub: stub_hub.StubHub, settings: Settings, tmp_path: Path
) -> None:
    rows = {"README.md": b"# Rows", "data/test.parquet": b"PAR1"}
    hub.repos["datasets/openai/gsm8k"] = stub_hub.Repo(rows)
    findings = preflight.survey(
        spec(id="m", source="local"), settings=settings, progress=Silent(), configured=lambda: None
    )
    (said,) = [one for one in findings if one.name == "power"]
    assert said.status == "note"
    assert "gsm8k are downloaded" in said.found and "takes 6,183 rows" in said.found


def test_rows_that_fall_back_to_the_hub_beside_named_ones_are_noted(
    hub: stub_hub.StubHub, settings: Settings
) -> None:
    hub.repos["datasets/openai/gsm8k"] = stub_hub.Repo({"test.parquet": b"PAR1"})
    for named, status in (({}, "ok"), ({GPQA: DatasetSpec(path="rows")}, "note")):
        evaluation = spec(id="m").evaluation.model_copy(update={"datasets": named})
        with ThreadPoolExecutor(1) as pool:
            tasks = tasks_of.read(evaluation, settings, Silent())
            requests = tasks_of.ask_for_rows(tasks, settings, pool)
            found, _ = tasks_of.rows(requests, evaluation)
        assert found[0].status == status
        assert "evaluation.datasets does not name it" in found[0].found
