from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import ENVIRONMENT
from infra.contracts.errors import CorruptWeights, QuantizationError, UnsupportedModel
from infra.contracts.records import Checkpoint, Made, PythonEnvironment, Weights
from infra.contracts.specs import AwqSpec, CalibrationSpec
from infra.conversations import calibration
from infra.machine import preloaded
from infra.machine.device import Device, detect
from infra.machine.leases import lease
from infra.models.weights import inspect_local
from infra.quantizers import making
from infra.quantizers.awq import Awq
from infra.quantizers.gguf import Gguf
from infra.quantizers.merging import Merge
from infra.store.settings import Settings
from tests import tiny_model, two_models
from tests.conftest import MOMENT
from tests.process_marks import command_lines

ROOT = Path(__file__).parents[3]
STAND_IN = ROOT / "tests" / "stand_in_quantizer.py"
LENGTHS = [40] * 12


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.updates: list[tuple[str, int, int | None]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.updates.append((what, done, total))

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


class Bench:
    """A model, conversations and a quantizer that stands in for AutoAWQ."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(cache=folder / "cache")
        self.calibration = tiny_model.write_conversations(folder / "c.jsonl", LENGTHS)
        self.model = tiny_model.write(folder / "model")
        self.heard = Heard()

    def weights(self) -> Weights:
        return inspect_local(self.model, settings=self.settings)

    def recipe(self, **fields: Any) -> AwqSpec:
        calibration = {"path": str(self.calibration), "min_samples": 4, "max_sequence_length": 64}
        return AwqSpec(
            calibration=CalibrationSpec(**calibration | fields.pop("calibration", {})), **fields
        )

    def python(self, mode: str) -> PythonEnvironment:
        path = self.folder / f"python-{mode.replace(':', '-')}"
        if path.exists():  # Linux starts no file that somebody has open for writing
            return PythonEnvironment(name="awq", python=path, digest="", provided=True)
        words = f'exec "{sys.executable}" "{STAND_IN}" {mode} "{self.folder}" "$@"'
        path.write_text(f"#!/bin/sh\n{words}\n")
        path.chmod(0o755)
        return PythonEnvironment(name="awq", python=path, digest="", provided=True)

    def quantize(
        self,
        mode: str = "fine",
        recipe: AwqSpec | None = None,
        heard: Heard | None = None,
    ) -> tuple[Checkpoint, bool]:
        return Awq().make(
            self.weights(),
            recipe or self.recipe(),
            moment=MOMENT,
            template_variables={},
            environment=self.python(mode),
            settings=self.settings,
            progress=heard or self.heard,
            log=self.folder / "logs" / "quantize.log",
        )

    def runs(self) -> int:
        return len(list(self.folder.glob("run-*")))

    def left(self) -> list[str]:
        """What lies in the folder of checkpoints, locks aside."""
        found = self.settings.checkpoints.glob("*")
        return sorted(path.name for path in found if not path.name.endswith(".lock"))


def how_made(checkpoint: Checkpoint) -> Made:
    assert checkpoint.made is not None
    return checkpoint.made


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_device_and_the_type_of_the_search_are_in_the_key(bench: Bench) -> None:
    weights, recipe = bench.weights(), bench.recipe()
    samples = calibration.prepare(
        weights.path, recipe.calibration, moment=MOMENT, variables={},
        settings=bench.settings, progress=bench.heard,
    )  # fmt: skip
    versions, environment = {"torch": "2"}, bench.python("fine")
    devices = [
        Device(kind=kind, name=name, count=1, memory_bytes=1)
        for kind, name in (("cpu", "a processor"), ("cuda", "H100"), ("cuda", "H200"))
    ]
    keys = {
        Awq().key(weights, recipe, samples, environment, versions, device, dtype)
        for device in devices
        for dtype in ("float16", "float32")
    }
    assert len(keys) == 6
    assert [Awq().search_dtype(weights, device, versions) for device in devices] == [
        "float32", "float16", "float16"
    ]  # fmt: skip
    assert Awq().search_dtype(weights, devices[1], {"torch": "2.13.0+cpu"}) == "float32"


def test_tokens_environment_and_variables_are_in_the_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, recipe, device = bench.weights(), bench.recipe(), detect("cpu")
    samples = calibration.prepare(
        weights.path, recipe.calibration, moment=MOMENT, variables={},
        settings=bench.settings, progress=bench.heard,
    )  # fmt: skip

    def key(samples: calibration.Calibration = samples, digest: str = "") -> str:
        environment = bench.python("fine").model_copy(update={"digest": digest})
        return Awq().key(weights, recipe, samples, environment, {}, device, "float32")

    before = key()
    assert key() == before
    # The same texts, as another version of a library cuts them.
    first, *others = samples.token_ids
    assert key(replace(samples, token_ids=[first[::-1], *others])) != before
    assert key(digest="rebuilt at the same version") != before
    with monkeypatch.context() as patched:  # what a field that is left out stands for
        patched.setattr(Awq, "in_its_words", lambda self, recipe: {"q_group_size": 64})
        assert key() != before
    monkeypatch.setitem(ENVIRONMENT, "OMP_NUM_THREADS", "1")
    assert key() != before
    monkeypatch.delitem(ENVIRONMENT, "OMP_NUM_THREADS")
    monkeypatch.setitem(ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "1")
    assert key() == before


def test_a_checkpoint_is_whole_and_says_what_made_it(bench: Bench) -> None:
    made, reused = bench.quantize()
    assert not reused
    assert bench.left() == [made.path.name]
    on_disk = Checkpoint.model_validate_json((made.path / "manifest.json").read_text())
    assert on_disk == made
    assert {file.name for file in made.files} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert made.size_bytes == 500
    weights = bench.weights()
    assert made.origin == how_made(made).made_from == weights.digest != made.digest
    assert (made.model, made.source, made.revision) == (weights.id, "local", None)
    assert how_made(made).calibration.used == len(LENGTHS)
    assert not list(made.path.glob(".*"))
    assert bench.heard.said("calibration: 12 of 12 conversations")
    assert ("quantizing", 1, 2) in bench.heard.updates


def test_the_arms_differ_in_nothing_but_the_weights(bench: Bench) -> None:
    made, _ = bench.quantize()
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (made.path / name).read_bytes() == (bench.model / name).read_bytes()
    baseline = json.loads((bench.model / "config.json").read_text())
    config = json.loads((made.path / "config.json").read_text())
    assert config.pop("quantization_config") == made.quantization_config
    assert config.pop("torch_dtype") == config["dtype"] == "float16"
    assert config == baseline | {"dtype": "float16"}


def test_what_the_model_lacks_the_checkpoint_lacks(bench: Bench) -> None:
    """AutoAWQ writes a generation config of its own, and turns sampling on in it."""
    (bench.model / "generation_config.json").unlink()
    made, _ = bench.quantize()
    assert not (made.path / "generation_config.json").exists()


def test_the_same_is_not_made_twice_wherever_its_conversations_lie(bench: Bench) -> None:
    made, _ = bench.quantize()
    copy = bench.folder / "copy.jsonl"
    copy.write_bytes(bench.calibration.read_bytes())
    again, reused = bench.quantize(recipe=bench.recipe(calibration={"path": str(copy)}))
    assert reused
    assert bench.runs() == 1
    assert (again.path, again.digest) == (made.path, made.digest)
    how = how_made(again)
    assert how.recipe.calibration.path == how.calibration.spec.path == str(copy)
    assert bench.heard.said("reusing checkpoint")


@pytest.mark.parametrize(
    "change",
    [{"group_size": 64}, {"calibration": {"max_sequence_length": 65}},
     {"calibration": {"max_samples": 11}}],
)  # fmt: skip
def test_another_recipe_is_another_checkpoint(bench: Bench, change: dict[str, Any]) -> None:
    bench.quantize()
    _, reused = bench.quantize(recipe=bench.recipe(**change))
    assert not reused
    assert len(bench.left()) == 2


def test_other_weights_are_another_checkpoint(bench: Bench) -> None:
    bench.quantize()
    tiny_model.write(bench.model, layers=3)
    assert not bench.quantize()[1]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.safetensors", b"whole" * 99, "should have 500 bytes"),
        ("model.safetensors", b"other" * 100, "model.safetensors changed"),
        ("tokenizer.json", None, "it is missing"),
        ("manifest.json", b"{}", "damaged"),
    ],
)
def test_a_damaged_checkpoint_is_put_aside_and_made_again(
    bench: Bench, name: str, content: bytes | None, says: str
) -> None:
    made, _ = bench.quantize()
    if content is None:
        (made.path / name).unlink()
    else:
        (made.path / name).write_bytes(content)
    again, reused = bench.quantize()
    assert not reused
    assert again == made
    assert bench.heard.said(says)
    assert bench.left() == [f".{made.path.name}.damaged", made.path.name]


@pytest.mark.parametrize(
    ("mode", "raises", "says"),
    [
        ("killed", QuantizationError, "killed by SIGKILL.*memory"),
        ("silent", QuantizationError, "exit code 0"),
        ("fail:out-of-memory", QuantizationError, "went wrong.*memory.*max_samples"),
        ("fail:architecture", UnsupportedModel, "architecture"),
        ("fail:group-size", UnsupportedModel, "group_size"),
        ("fail:remote-code", UnsupportedModel, "trust_remote_code"),
        ("fail:not-finite", QuantizationError, "float16"),
        ("fail:disk-full", QuantizationError, "disk of the checkpoints is full.*ASSAY_CACHE"),
        ("fail:other", QuantizationError, "it went wrong"),
        ("drops", QuantizationError, "used 8 blocks .* not 9"),
        ("bare", QuantizationError, "lacks torch"),
        ("mute", QuantizationError, "does not answer"),
    ],
)
def test_a_failure_is_said_in_words_and_leaves_nothing(
    bench: Bench, mode: str, raises: type[Exception], says: str
) -> None:
    with pytest.raises(QuantizationError) as caught:
        bench.quantize(mode)
    assert type(caught.value) is raises
    assert re.search(says, str(caught.value).replace("\n", " "))
    assert caught.value.remedy
    if bench.runs() and mode != "drops":
        assert "WARNING something" in caught.value.cause
        assert "event" not in caught.value.cause
        assert str(bench.folder / "logs" / "quantize.log") in caught.value.remedy
    assert bench.left() == []
    assert not bench.quantize()[1]


def test_weights_that_are_overwritten_while_they_are_quantized_make_no_checkpoint(
    bench: Bench,
) -> None:
    def overwrite() -> None:
        until(lambda: bench.runs() == 1)
        (bench.model / "model.safetensors").write_bytes(b"others")
        (bench.folder / "go").touch()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(overwrite)
        with pytest.raises(CorruptWeights, match="changed since its digest was computed"):
            bench.quantize("wait")
        done.result()
    assert bench.left() == []


def test_a_recipe_that_cannot_work_starts_nothing(bench: Bench) -> None:
    tiny_model.write(bench.model, intermediate=320)
    with pytest.raises(UnsupportedModel, match="does not divide the 320 inputs"):
        bench.quantize("killed")
    assert bench.runs() == 0


def test_a_folder_that_cannot_be_written_is_one_clear_error(bench: Bench) -> None:
    bench.settings.cache.mkdir()
    bench.settings.checkpoints.write_text("a file in the way")
    with pytest.raises(QuantizationError, match="ASSAY_CACHE"):
        bench.quantize()


def test_two_at_once_make_it_once(bench: Bench) -> None:
    heard = [Heard(), Heard()]
    bench.python("wait")  # written once, before both start it
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(bench.quantize, "wait", heard=one) for one in heard]
        try:
            until(
                lambda: (
                    any(one.said("waiting for it") for one in heard)
                    or any(one.done() for one in both)
                )  # one that failed waits for nobody
            )
        finally:
            (bench.folder / "go").touch()
        results = [one.result() for one in both]
    assert sorted(reused for _, reused in results) == [False, True]
    assert results[0][0] == results[1][0]
    assert bench.runs() == 1


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def processes_of(bench: Bench) -> list[str]:
    """Driver, supervisor and worker all have a path of the bench on their command line."""
    return [line for line in command_lines(psutil.process_iter()) if str(bench.folder) in line]


DRIVER = """
    import sys
    from pathlib import Path
    from tests.infra.quantizers.test_making import MOMENT, Awq, Bench
    from infra.contracts.records import PythonEnvironment

    class Printed:
        def say(self, text): print(text, flush=True)
        def update(self, what, done, total, unit=""): print(what, done, total, flush=True)

    bench = Bench(Path(sys.argv[1]))
    Awq().make(
        bench.weights(), bench.recipe(), moment=MOMENT, template_variables={},
        settings=bench.settings, progress=Printed(),
        environment=PythonEnvironment(name="q", python=sys.argv[2], digest=sys.argv[3],
                                      provided=False),
        log=bench.folder / "killed.log",
    )
"""


@pytest.mark.engine
def test_a_killed_run_leaves_nothing_and_the_next_one_succeeds(
    bench: Bench, quantizer_environment: PythonEnvironment
) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), bench.folder, quantizer_environment.python,
         quantizer_environment.digest],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with driver:
        assert driver.stdout is not None
        reached = next(
            (line for line in driver.stdout if line.startswith("importing AutoAWQ")), None
        )
        running = processes_of(bench)
        driver.send_signal(signal.SIGKILL)
    assert reached, (bench.folder / "killed.log").read_text()
    assert len(running) >= 3, running  # driver, supervisor, worker
    until(lambda: not processes_of(bench))
    assert [name for name in bench.left() if not name.startswith(".")] == []

    from safetensors.numpy import load_file

    made, reused = Awq().make(
        bench.weights(),
        bench.recipe(),
        moment=MOMENT,
        template_variables={},
        environment=quantizer_environment,
        settings=bench.settings,
        progress=bench.heard,
        log=bench.folder / "quantize.log",
    )
    assert not reused
    assert bench.left() == [made.path.name]
    assert made.quantization_config["quant_method"] == "awq"
    how = how_made(made)
    assert how.versions["autoawq"] == "0.2.9"
    assert how.seconds > 0 and how.peak_memory_bytes > 0
    assert {(d, t) for what, d, t in bench.heard.updates if what == "quantizing"} == {
        (0, 2),
        (1, 2),
    }
    tensors = load_file(made.path / "model.safetensors")
    packed = [name for name in tensors if name.endswith(".qweight")]
    assert len(packed) == 2 * 7
    baseline = load_file(bench.model / "model.safetensors")
    name = "model.layers.1.self_attn.o_proj"
    weight = baseline[f"{name}.weight"].astype("float32")
    assert abs(unpack(tensors, name) - weight).mean() < 0.01  # a step is about 0.015


@pytest.mark.engine
def test_shards_and_what_lies_beside_make_no_other_checkpoint(
    bench: Bench, quantizer_environment: PythonEnvironment
) -> None:
    """The real AutoAWQ takes the index's shards, and nothing of an adapter or an older model."""

    def made() -> dict[str, str]:
        checkpoint, reused = Awq().make(
            bench.weights(),
            bench.recipe(),
            moment=MOMENT,
            template_variables={},
            environment=quantizer_environment,
            settings=bench.settings,
            progress=bench.heard,
            log=bench.folder / "quantize.log",
        )
        assert not reused
        return {file.name: file.sha256 for file in checkpoint.files}

    whole = made()
    two_models.split(bench.model)
    shutil.copyfile(bench.model / two_models.SHARDS[0], bench.model / "adapter_model.safetensors")
    adapter = {"base_model_name_or_path": str(bench.folder / "nowhere"), "peft_type": "LORA"}
    (bench.model / "adapter_config.json").write_text(json.dumps(adapter))
    shutil.copyfile(bench.model / two_models.SHARDS[1], bench.model / "consolidated.safetensors")
    shutil.copyfile(bench.model / two_models.SHARDS[1], bench.model / "model-3-of-3.safetensors")
    assert made() == whole


def unpack(tensors: dict[str, Any], name: str) -> Any:
    """Return the weights of an AWQ layer (GEMM layout), [outputs, inputs].

    A 32-bit word holds the columns 0, 2, 4, 6, 1, 3, 5, 7 of its eight, lowest bits first.
    """
    import numpy as np

    def columns(words: Any) -> Any:
        shifts = 4 * np.array([0, 4, 1, 5, 2, 6, 3, 7])
        return ((words[..., None] >> shifts) & 15).reshape(words.shape[0], -1)

    def rows(groups: Any) -> Any:
        return groups.repeat(128, axis=0)

    values = columns(tensors[f"{name}.qweight"])
    zeros = rows(columns(tensors[f"{name}.qzeros"]))
    return ((values - zeros) * rows(tensors[f"{name}.scales"].astype("float32"))).T


def test_what_computes_on_the_processor_takes_no_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making, "detect", lambda wanted: wanted)
    found = {
        (quantizer.title, name): quantizer.device(
            PythonEnvironment(name=name, python=Path("python"), digest="d", provided=False)
        )
        for quantizer in (Awq(), Gguf(), Merge())
        for name in ("some-cuda", "some-cpu")
    }
    assert [*found.values()] == ["auto", "cpu", "cpu", "cpu", "cpu", "cpu"]


def test_what_was_loaded_ends_where_an_accelerator_is_awaited_for_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settings = Settings(
        cache=bench.folder / "cache",
        leases=bench.folder / "leases",
        accelerators="0",
        slot_wait_seconds=60,
    )
    monkeypatch.setattr(preloaded, "_WAITING_SECONDS", 0)
    with ExitStack() as held, preloaded.Preloading():
        taken = lease(detect("cpu"), what="other", settings=bench.settings, progress=Heard())
        held.enter_context(taken)
        monkeypatch.setattr(preloaded.Preloading, "drop", lambda _: held.close())
        assert bench.quantize()[0].files
