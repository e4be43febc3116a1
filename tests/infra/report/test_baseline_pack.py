"""A baseline goes into one file and comes out of it, and only for a run that asks the same."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra import ENVIRONMENT
from infra.contracts.errors import PackRefused
from infra.contracts.records import Adapter, ArmResult, Checkpoint, Report, Weights
from infra.contracts.specs import BASELINE, AdapterSpec, ModelSpec, RunSpec
from infra.machine import cores
from infra.machine.device import detect
from infra.report import baseline_pack
from infra.stages.export_baseline import export
from infra.stages.run_key import INPUTS, inputs_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests import stand_in_interpreter
from tests.infra.made_runs import make_run
from tests.infra.probes.speed.made import bench as timings
from tests.infra.report.receipt.conftest import seal, with_checkpoints


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings()  # its index of tasks is one that other tests need, too


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    """Return a folder with a finished run, as a run leaves it, and with a pack of its baseline."""
    folder = tmp_path_factory.mktemp("runs")
    run = folder / "sample-1"
    run.mkdir()
    made = make_run(run, rows=40)
    small = override(
        sample(), ["serving.device=cpu", f"serving.python={stand_in_interpreter.write(folder)}"]
    )
    spec = made.spec.model_copy(update={"baseline": small.baseline, "evaluation": small.evaluation})
    server = made.baseline.server.model_copy(update={"device": detect("cpu").name})
    baseline = made.baseline.model_copy(update={"server": server, "bench": timings()})
    report = made.model_copy(update={"spec": spec, "arms": {**made.arms, "baseline": baseline}})
    (run / f"{INPUTS}.json").write_text(inputs_of(spec, settings).model_dump_json())
    seal(with_checkpoints(report, run), run)
    export(run, folder / "baseline.zip")
    return folder


@pytest.fixture
def finished(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original / "sample-1", tmp_path / "sample-1"))


@pytest.fixture
def pack(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original / "baseline.zip", tmp_path))


def spec_of(finished: Path) -> RunSpec:
    return Report.model_validate_json((finished / "report.json").read_text()).spec


def rewrite(pack: Path, **files: bytes) -> None:
    """Replace files in a pack; the name of what a pack says of itself is `pack.json`."""
    with zipfile.ZipFile(pack) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | files
    with zipfile.ZipFile(pack, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)


def edit(pack: Path, **fields: Any) -> None:
    """Replace fields of what a pack says of itself."""
    with zipfile.ZipFile(pack) as archive:
        said = json.loads(archive.read("pack.json"))
    rewrite(pack, **{"pack.json": json.dumps(said | fields).encode()})


def test_a_baseline_comes_out_as_it_went_in(
    finished: Path, pack: Path, tmp_path: Path, settings: Settings
) -> None:
    run = RunFolder(id="later", path=tmp_path / "later")
    before = Report.model_validate_json((finished / "report.json").read_text()).baseline
    found = baseline_pack.adopt(pack, spec_of(finished), run, settings)
    assert [*found.tasks] == [*before.tasks]
    for name, task in found.tasks.items():
        assert task.reused
        assert task.metrics == before.tasks[name].metrics
        assert (run.path / task.samples).read_bytes() == (finished / task.samples).read_bytes()
    assert found.bench is not None
    assert found.bench.reused


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("evaluation.seed=7", "evaluation.seed"),
        ("evaluation.chat_template=true", "evaluation.chat_template"),
        ("baseline.serving.max_model_len=1024", "baseline.serving.max_model_len"),
        ("evaluation.tasks.gsm8k.limit=5", "the questions of gsm8k"),
    ],
)
def test_a_run_that_asks_otherwise_is_refused_by_the_name_of_the_field(
    change: str, field: str, finished: Path, pack: Path, settings: Settings
) -> None:
    with pytest.raises(PackRefused, match=f"does not fit this run: {field} is "):
        baseline_pack.check(pack, override(spec_of(finished), [change]), settings)


def test_an_adapter_that_the_pack_has_not_is_refused(
    finished: Path, pack: Path, settings: Settings
) -> None:
    folder = Path(__file__).parents[3] / "infra" / "sample" / "adapter"
    spec = override(spec_of(finished), [f"baseline.adapter.id={folder}"])
    with pytest.raises(PackRefused, match=r"baseline\.adapter is None there"):
        baseline_pack.check(pack, spec, settings)


def test_edited_rows_are_other_questions(
    finished: Path, pack: Path, tmp_path: Path, settings: Settings
) -> None:
    spec = spec_of(finished)
    rows = Path(spec.evaluation.datasets["openai/gsm8k"].path) / "main" / "test.jsonl"
    other = tmp_path / "gsm8k"
    for file in rows.parents[1].rglob("*.jsonl"):
        target = other / file.relative_to(rows.parents[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text()
        target.write_text(text.replace("marbles", "pebbles") if file == rows else text)
    datasets = {
        name: {"path": str(other) if name == "openai/gsm8k" else one.path}
        for name, one in spec.evaluation.datasets.items()
    }
    spec = override(spec, [f"evaluation.datasets={json.dumps(datasets)}"])
    with pytest.raises(PackRefused, match="the questions of gsm8k"):
        baseline_pack.check(pack, spec, settings)


def test_another_engine_is_refused(
    finished: Path, pack: Path, tmp_path: Path, settings: Settings
) -> None:
    other = stand_in_interpreter.write(tmp_path, "another")
    spec = override(spec_of(finished), [f"baseline.serving.python={other}"])
    with pytest.raises(PackRefused, match=r"the engine is vLLM 0\.32\.0 there"):
        baseline_pack.check(pack, spec, settings)


def test_what_the_engines_settings_name_is_the_same(
    finished: Path, pack: Path, tmp_path: Path, settings: Settings
) -> None:
    adapter = tmp_path / "adapter"
    adapter.write_text("one")
    arguments = json.dumps(["--lora-modules", f"own={adapter}"])
    spec = override(spec_of(finished), [f"baseline.serving.extra_args={arguments}"])
    named = inputs_of(spec, settings).named
    edit(pack, named=named, baseline=spec.baseline.model_dump(mode="json"))
    baseline_pack.check(pack, spec, settings)
    adapter.write_text("two")
    with pytest.raises(PackRefused, match=f"what is in {adapter} is {named[str(adapter)][:12]}"):
        baseline_pack.check(pack, spec, settings)


def test_variables_that_reach_the_engine_and_cores_are_the_same(
    finished: Path, pack: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(finished)
    baseline_pack.check(pack, spec, settings)
    with monkeypatch.context() as changed:
        changed.setitem(ENVIRONMENT, "VLLM_ATTENTION_BACKEND", "TORCH_SDPA")
        with pytest.raises(PackRefused, match=r"VLLM_ATTENTION_BACKEND is not set there, and TORC"):
            baseline_pack.check(pack, spec, settings)
    edit(pack, cores=1000)
    with pytest.raises(PackRefused, match="the number of cores is"):
        baseline_pack.check(pack, spec, settings)


@pytest.mark.parametrize("here", [None, 1])
def test_a_container_that_may_take_less_of_its_cores_is_refused(
    finished: Path,
    pack: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    here: int | None,
) -> None:
    spec = spec_of(finished)
    assert baseline_pack.read(pack).threads == cores.count()
    if here:  # this process is the one with the limit
        edit(pack, threads=None)  # an earlier version wrote it
        monkeypatch.setattr(cores, "allowed", lambda: 64)
        edit(pack, cores=64)
        monkeypatch.setattr(cores, "quota", lambda: 1.0)
    else:
        edit(pack, threads=1000)
    with pytest.raises(PackRefused, match="the number of cores whose time may be taken is"):
        baseline_pack.check(pack, spec, settings)


@pytest.mark.parametrize("code", ["0" * 64, ""])
def test_what_another_version_served_and_asked_is_refused(
    finished: Path, pack: Path, settings: Settings, code: str
) -> None:
    spec = spec_of(finished)
    baseline_pack.check(pack, spec, settings)
    edit(pack, code=code)
    with pytest.raises(PackRefused, match="the code that serves and asks is ") as caught:
        baseline_pack.check(pack, spec, settings)
    assert "Another version of Assay" in caught.value.cause


def test_a_file_that_was_changed_or_cut_out_is_refused(
    finished: Path, pack: Path, tmp_path: Path, settings: Settings
) -> None:
    run = RunFolder(id="later", path=tmp_path / "later")
    rewrite(pack, **{"samples/baseline/gsm8k.jsonl": b"{}\n"})
    with pytest.raises(PackRefused, match=r"gsm8k\.jsonl in .* is not what the pack says of it"):
        baseline_pack.adopt(pack, spec_of(finished), run, settings)
    assert not (run.path / "samples/baseline/gsm8k.jsonl").exists()


def test_a_file_outside_of_the_runs_folder_is_refused(
    finished: Path, pack: Path, tmp_path: Path, settings: Settings
) -> None:
    run = RunFolder(id="later", path=tmp_path / "later")
    there = {"name": "../outside.jsonl", "size": 3, "sha256": "0" * 64}
    edit(pack, files=[there])
    rewrite(pack, **{"../outside.jsonl": b"{}\n"})
    with pytest.raises(PackRefused, match="would lie outside of the run's folder"):
        baseline_pack.adopt(pack, spec_of(finished), run, settings)
    assert not (tmp_path / "outside.jsonl").exists()


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_what_is_no_pack_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "file.zip"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PackRefused, match="cannot be read as a baseline pack"):
        baseline_pack.read(file)


def test_a_report_that_was_edited_is_not_exported(finished: Path, tmp_path: Path) -> None:
    file = finished / "report.json"
    file.write_text(file.read_text().replace("sample-2026", "sample-2027"))
    with pytest.raises(PackRefused, match="does not hold"):
        export(finished, tmp_path / "baseline.zip")
    assert not (tmp_path / "baseline.zip").exists()


def test_a_run_whose_rows_nobody_could_identify_is_not_exported(
    finished: Path, tmp_path: Path
) -> None:
    inputs = json.loads((finished / f"{INPUTS}.json").read_text())
    inputs["tasks"]["gsm8k"] = None
    (finished / f"{INPUTS}.json").write_text(json.dumps(inputs))
    report = Report.model_validate_json((finished / "report.json").read_text())
    seal(report, finished)
    with pytest.raises(PackRefused, match="did not keep what identifies its tasks"):
        export(finished, tmp_path / "baseline.zip")


def origin_of(
    finished: Path, pack: Path, settings: Settings, tmp_path: Path
) -> tuple[RunSpec, ArmResult, Weights, Checkpoint]:
    """Return a run, the baseline of its pack, and a candidate that comes from the same weights."""
    spec = spec_of(finished)
    later = RunFolder(id="later", path=tmp_path / "later")
    baseline = baseline_pack.adopt(pack, spec, later, settings)
    same = {"digest": baseline.checkpoint.digest, "revision": None, "files": (), "size_bytes": 1}
    here = {"path": tmp_path, "source": "local", **same}
    weights = Weights(id="model", architecture="X", **here)
    return spec, baseline, weights, Checkpoint(model="model", quantization_config=None, **here)


def test_a_candidate_of_other_weights_under_the_same_name_is_refused(
    finished: Path, pack: Path, settings: Settings, tmp_path: Path
) -> None:
    spec, baseline, weights, candidate = origin_of(finished, pack, settings, tmp_path)
    [name] = [name for name in spec.evaluated if name != BASELINE]

    def check(weights: Weights, spec: RunSpec = spec) -> None:
        baseline_pack.require_same_origin(pack, name, candidate, weights, spec, baseline)

    check(weights)
    moved = weights.model_copy(update={"digest": "f" * 64, "revision": "moved"})
    with pytest.raises(PackRefused, match=r"which .* comes from, is .* \(revision moved\) here"):
        check(moved)
    # A model of its own is another one on purpose.
    ready_made = spec.candidates[0].model_copy(
        update={"model": ModelSpec(source="local", id="another"), "quantization": None}
    )
    check(moved, spec.model_copy(update={"candidates": (ready_made,)}))


def test_an_adapter_that_moved_under_the_same_name_is_refused(
    finished: Path, pack: Path, settings: Settings, tmp_path: Path
) -> None:
    spec, baseline, weights, candidate = origin_of(finished, pack, settings, tmp_path)
    adapter = Adapter(
        path=tmp_path, source="huggingface", id="a/b", revision="old", files=(), digest="a" * 64,
        size_bytes=1, rank=8, base_model=None,
    )  # fmt: skip
    named = AdapterSpec(source="huggingface", id="a/b")
    spec = spec.model_copy(update={"baseline": spec.baseline.model_copy(update={"adapter": named})})
    changed = spec.candidates[0].model_copy(update={"adapter": named})
    spec = spec.model_copy(update={"candidates": (changed,)})
    baseline = baseline.model_copy(
        update={"checkpoint": baseline.checkpoint.model_copy(update={"adapter": adapter})}
    )
    for digest in ("a" * 64, "b" * 64):
        mine = candidate.model_copy(
            update={"adapter": adapter.model_copy(update={"digest": digest})}
        )

        def check(mine: Checkpoint = mine) -> None:
            baseline_pack.require_same_origin(pack, changed.name, mine, weights, spec, baseline)

        if digest == "a" * 64:
            check()
        else:
            with pytest.raises(PackRefused, match="the content of a/b, the adapter of"):
                check()
