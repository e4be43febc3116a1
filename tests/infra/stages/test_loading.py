"""Which engine is loaded while something else is done for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.recipes import sample
from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import BASELINE, RunSpec
from infra.machine.device import Device, Gpu
from infra.machine.environments import locate
from infra.machine.preloaded import Preloading, here
from infra.stages import loading as module
from infra.stages.loading import load, load_next, loading, loading_first
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "infra" / "sample" / "model"
GPU = Device(kind="cuda", name="a GPU", count=1, memory_bytes=2**37)
CPU = Device(kind="cpu", name="a processor", count=1, memory_bytes=2**34)
ENVIRONMENT = PythonEnvironment(
    name="vllm", python=Path("/nowhere/bin/python"), digest="0", provided=True
)


class Asked:
    """What a run wants to have loaded, on a machine with a GPU."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.begun: list[tuple[str, str]] = []
        self.spec = sample()
        self.python = ENVIRONMENT.python

    def begin(self, command: list[str], *, env: dict[str, str], log: Path) -> None:
        assert command[0] == str(self.python) and "VLLM_API_KEY" not in env
        self.begun.append((log.stem, env.get("VLLM_WORKER_MULTIPROC_METHOD", "")))

    def more(self, **changes: Any) -> RunSpec:
        """Return the sample with a second candidate, which is served in another way."""
        fields = self.spec.model_dump(mode="json", exclude_defaults=True)
        second = {**fields["candidates"][0], "name": "second"}
        fields["candidates"].append({**second, **changes})
        return RunSpec.model_validate(fields)

    def load_next(self, name: str, spec: RunSpec, *, repeat: bool = False) -> list[str]:
        self.begun.clear()
        load_next(name, repeat, MODEL, spec=spec, environment=ENVIRONMENT, run=self.run)
        return [stem.removeprefix("loading-") for stem, _ in self.begun]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked(RunFolder(id="r", path=tmp_path))
    monkeypatch.setattr(module, "detect", lambda _: GPU)
    monkeypatch.setattr(module.cores, "to_spare", lambda: True)
    monkeypatch.setattr(module, "main_memory", lambda: (2**37, 2**36))
    monkeypatch.setattr(Preloading, "begin", found.begin)
    return found


def test_the_arm_that_comes_next_is_loaded(asked: Asked) -> None:
    spec = asked.more()
    first, second = (one.name for one in spec.candidates)
    with loading():
        assert asked.load_next(BASELINE, spec) == [first]
        assert asked.load_next(first, spec) == [second]
        assert asked.load_next(second, spec) == []


def test_a_repeat_of_the_baseline_comes_before_the_candidates(asked: Asked) -> None:
    noisy = asked.spec.evaluation.model_copy(update={"noise_floor": True})
    spec = asked.spec.model_copy(update={"evaluation": noisy})
    with loading():
        assert asked.load_next(BASELINE, spec) == [BASELINE]
        assert asked.load_next(BASELINE, spec, repeat=True) == [spec.candidates[0].name]


def test_it_is_loaded_with_the_variables_that_it_is_served_with(asked: Asked) -> None:
    fork = {"VLLM_WORKER_MULTIPROC_METHOD": "fork"}
    serving = asked.spec.baseline.serving.model_copy(update={"variables": fork})
    baseline = asked.spec.baseline.model_copy(update={"serving": serving})
    spec = asked.spec.model_copy(update={"baseline": baseline})
    with loading():
        log = asked.run.log("loading-baseline")
        load(BASELINE, MODEL, spec=spec, environment=ENVIRONMENT, log=log)
    assert asked.begun == [("loading-baseline", "fork")]


@pytest.mark.parametrize(
    ("model", "built", "loaded"),
    [
        ({"source": "local", "id": str(MODEL)}, True, ["null"]),
        ({"source": "local", "id": str(MODEL)}, False, []),
        ({"source": "local", "id": "/nowhere/model"}, True, []),
        ({"source": "huggingface", "id": "a/model", "revision": "main"}, True, []),
    ],
)
def test_the_first_arm_is_loaded_while_a_run_is_looked_at_if_all_of_it_is_here(
    asked: Asked,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: dict[str, str],
    built: bool,
    loaded: list[str],
) -> None:
    fields = asked.spec.model_dump(mode="json", exclude_defaults=True)
    fields["baseline"]["model"] = model
    monkeypatch.chdir(tmp_path)
    Path("a/model").mkdir(parents=True)
    settings = Settings(cache=tmp_path)
    environment, _ = locate("vllm", "cuda", settings)
    asked.python = environment.python
    if built:
        environment.python.parent.mkdir(parents=True)
    with loading_first(RunSpec.model_validate(fields), settings):
        assert [stem for stem, _ in asked.begun] == loaded


@pytest.mark.parametrize("own", ["of the run", "of the machine"])
def test_an_interpreter_of_the_users_is_not_asked_before_the_run_is_looked_at(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    python = Path("/nowhere/bin/python")
    settings, spec = Settings(cache=tmp_path), asked.spec
    if own == "of the run":
        serving = spec.baseline.serving.model_copy(update={"python": str(python)})
        baseline = spec.baseline.model_copy(update={"serving": serving})
        spec = spec.model_copy(update={"baseline": baseline})
    else:
        settings.interpreters["vllm"] = python
    monkeypatch.setattr(module, "locate", lambda *_: pytest.fail("it is asked"))
    with loading_first(spec, settings):
        assert asked.begun == []


def test_nothing_is_located_for_a_processor(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "detect", lambda _: CPU)
    monkeypatch.setattr(module, "locate", lambda *_: pytest.fail("it is located"))
    with loading_first(asked.spec, Settings(cache=tmp_path)):
        assert asked.begun == []


def test_what_fails_before_the_run_is_looked_at_is_left_to_who_looks(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: object) -> None:
        b"\xff".decode()

    monkeypatch.setattr(module, "locate", torn)
    with loading_first(asked.spec, Settings(cache=tmp_path)):
        assert asked.begun == []


def test_a_flow_goes_on_with_what_was_loaded_before_it(asked: Asked, tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path)
    environment, _ = locate("vllm", "cuda", settings)
    asked.python = environment.python
    environment.python.parent.mkdir(parents=True)
    with loading_first(asked.spec, settings):
        found = here()
        with loading_first(asked.spec, settings):
            assert here() is found is not None
        assert here() is found
    assert here() is None
    assert len(asked.begun) == 1


def test_an_engine_of_another_place_is_not_loaded(asked: Asked) -> None:
    other = asked.spec.baseline.serving.model_copy(update={"python": "/other/bin/python"})
    spec = asked.more(serving=other.model_dump(mode="json", exclude_defaults=True))
    with loading():
        assert asked.load_next(spec.candidates[0].name, spec) == []


@pytest.mark.parametrize(("names", "loaded"), [(("H200", "H200"), True), (("H200", "L4"), False)])
def test_nothing_is_loaded_for_one_of_unlike_gpus(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], loaded: bool
) -> None:
    there = [Gpu(uuid=str(n), visible=str(n), name=name, memory_bytes=1, driver="1")
             for n, name in enumerate(names)]  # fmt: skip
    monkeypatch.setattr(module, "gpus", lambda: there)
    with loading():
        assert bool(asked.load_next(BASELINE, asked.spec)) is loaded


def test_nothing_is_loaded_where_it_would_slow_what_is_done(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked.load_next(BASELINE, asked.spec) == [], "the run loads nothing ahead"
    with loading():
        monkeypatch.setattr(module, "detect", lambda _: CPU)
        assert asked.load_next(BASELINE, asked.spec) == []
    for memory in ((2**33, 2**33), (2**37, 2**32)):
        monkeypatch.setattr(module, "main_memory", lambda found=memory: found)
        with loading():
            assert here() is None
    monkeypatch.setattr(module, "main_memory", lambda: (2**37, 2**36))
    monkeypatch.setattr(module.cores, "to_spare", lambda: False)
    with loading():
        assert here() is None
