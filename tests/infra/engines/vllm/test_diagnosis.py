"""Failures are recognized in logs of the real engine, see `tests/capture_engine_logs.py`."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from infra.contracts.errors import PortTaken, ServerDied, ServerError, ServerNotReady
from infra.contracts.records import Adjustment, PythonEnvironment
from infra.contracts.specs import ArmSpec, ServingSpec
from infra.engines.diagnosis.messages import explained
from infra.engines.diagnosis.patterns import Value
from infra.engines.diagnosis.reading import Diagnosis, diagnose, find
from infra.engines.live import LiveServer
from infra.engines.vllm.diagnosis.adjusting import MOST_ADJUSTMENTS, adjusted, adjusting
from infra.engines.vllm.diagnosis.table import TABLE
from infra.engines.vllm.server import serve, serve_command
from infra.machine import ports
from infra.machine.device import detect
from tests.engine_failures import CASES, ON_CUDA
from tests.process_marks import Marked

ROOT = Path(__file__).parents[4]
SERVER = ROOT / "tests" / "servers_for_tests.py"
LOGS = {path.stem: path for path in (Path(__file__).parents[2] / "engine_logs").glob("*.log")}

SAYS: dict[str, tuple[str, str, dict[str, Value] | None]] = {
    "architecture-unknown": ("model.id", "architecture Qwen9ForCausalLM", None),
    "architecture-unknown--kind": ("model.id", "architecture qwen9", None),
    "argument-invalid": ("serving.extra_args", "--max-num-seqs: invalid int value: 'many'.", None),
    "argument-invalid--block-size": ("serving.extra_args", "No common block size for 7.", None),
    "argument-invalid--choice": ("serving.extra_args", "invalid choice: 'int3'.", None),
    "argument-unknown": ("serving.extra_args", "--max-num-sequences", None),
    "cache-needs-bfloat16": ("serving.dtype", "cache in FP8 cannot be read", None),
    "chat-template-broken": ("model.revision", "unexpected 'end of template'", None),
    "compilation-failed": (
        "serving.enforce_eager", "C++ compiler", {"serving.enforce_eager": True},
    ),
    "config-unreadable": ("model.revision", "config.json is no JSON", None),
    "disk-full": ("", "disk is full", None),
    "dtype-unsupported": ("serving.dtype", "float32 does not go with awq", None),
    "dtype-unsupported--cuda": ("serving.dtype", "float32 does not go with auto_awq", None),
    "engine-process-killed": ("serving.memory_fraction", "inner process was killed", None),
    "engine-process-killed--serving": ("serving.memory_fraction", "inner process was killed", None),
    "engine-process-killed--cuda": ("serving.memory_fraction", "inner process was killed", None),
    "heads-not-divisible": ("serving.tensor_parallel_size", "4 attention heads", None),
    "killed": ("serving.memory_fraction", "killed from outside", None),
    "kv-cache-too-small": (
        "serving.max_model_len", "memory left beside the weights holds 1248 tokens",
        {"serving.max_model_len": 1248},
    ),
    "kv-cache-too-small--cuda": (
        "serving.max_model_len", "one request of 2048 tokens", {"serving.max_model_len": 1296},
    ),
    "kv-cache-too-small--worker": (
        "serving.max_model_len", "one request of 2048 tokens", {"serving.max_model_len": 1568},
    ),
    "library-broken": ("", "libtorch_cpu.so: file too short", None),
    "library-broken--engine": ("", "No module named 'vllm.entrypoints'.", None),
    "library-broken--package": ("", "'PreTrainedConfig' from 'transformers'.", None),
    "memory-fraction-refused": (
        "serving.memory_fraction", "10.34 GiB, but only 7.03", {"serving.memory_fraction": 0.62},
    ),
    "memory-fraction-refused--cuda": (
        "serving.memory_fraction", "139.8 GiB, but only 139.29", {"serving.memory_fraction": 0.94},
    ),
    "no-config": ("model.id", "no config.json that the engine understands in /models", None),
    "no-memory-for-batches": ("serving.extra_args", "30720000000 bytes more", None),
    "no-memory-for-batches--answering": ("serving.extra_args", "48.00 MiB more were", None),
    "no-memory-for-batches--cuda": ("serving.extra_args", "GiB more were refused", None),
    "no-memory-for-batches--trial": ("serving.extra_args", "as many as it may ever take", None),
    "no-memory-for-cache": ("serving.memory_fraction", "key-value cache", None),
    "no-memory-for-cache--cuda": ("serving.memory_fraction", "key-value cache", None),
    "no-memory-for-cache--blocks": ("serving.memory_fraction", "key-value cache", None),
    "no-weights": ("model.id", "no weights in /models/sample", None),
    "port-taken": ("serving.port", "The port was taken", None),
    "quantization-unsupported": ("model.id", "method: bitsandbytes.", None),
    "quantization-unsupported--bits": ("model.id", "num_bits = 3.", None),
    "quantization-unsupported--gptq": ("model.id", "(desc_act=True) is no longer", None),
    "remote-code-needed": ("model.trust_remote_code", "needs Python code", None),
    "shared-memory-too-small": ("", "need 160 MiB of shared memory; 1 MiB are free", None),
    "tokenizer-unreadable": ("model.revision", "delimiter: line 9267", None),
    "tokenizer-unreadable--kind": ("model.revision", "untagged enum ModelUntagged.", None),
    "too-few-devices": ("serving.tensor_parallel_size", "by 2 devices", None),
    "too-few-devices--cuda": ("serving.tensor_parallel_size", "by 8 devices", None),
    "too-many-open-files": ("", "as many files", None),
    "weights-do-not-fit": ("serving.tensor_parallel_size", "2199023255552 bytes", None),
    "weights-do-not-fit--cuda": ("serving.tensor_parallel_size", "2048.00 GiB", None),
    "weights-do-not-fit--worker": ("serving.tensor_parallel_size", "do not fit", None),
    "weights-of-another-shape": ("model.revision", "not those that config.json", None),
    "weights-of-another-shape--layers": ("model.revision", "not those that config.json", None),
    "weights-unreadable": ("model.revision", "incomplete metadata", None),
    "window-too-long": (
        "serving.max_model_len", "made for 2048 tokens; serving.max_model_len asks for 4096",
        {"serving.max_model_len": 2048},
    ),
    "window-too-long--cuda": (
        "serving.max_model_len", "made for 2048 tokens; serving.max_model_len asks for 4096",
        {"serving.max_model_len": 2048},
    ),
}  # fmt: skip
"""What has to be said of each log: the field, words of fact or cause, the adjustment."""


class Heard:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        pass


def captured(name: str) -> tuple[int, str]:
    """Return exit code and log of one captured failure."""
    first, _, text = LOGS[name].read_text(encoding="utf-8").partition("\n")
    return int(first.removeprefix("exit code ")), text


def diagnosed(name: str) -> Diagnosis:
    code, text = captured(name)
    found = diagnose(TABLE, text, code)
    assert found is not None
    return found


def test_every_entry_has_a_captured_log_and_every_log_an_entry() -> None:
    names = [failure.name for failure in TABLE.failures]
    assert len(set(names)) == len(names) >= 12
    assert {name.partition("--")[0] for name in LOGS} == set(names)
    assert set(LOGS) == set(SAYS)
    assert set(CASES) < set(LOGS) <= set(CASES) | set(ON_CUDA)


@pytest.mark.parametrize("name", sorted(LOGS))
def test_a_captured_failure_is_said_with_its_cause_and_field(name: str) -> None:
    found = diagnosed(name)
    field, words, adjustment = SAYS[name]
    assert found.name == name.partition("--")[0]
    assert words in f"{found.fact} {found.cause}"
    assert (found.field, found.adjustment) == (field, adjustment)
    assert field in found.remedy or not field or name == "port-taken"
    for text in (found.fact, found.cause, found.remedy):
        assert re.fullmatch(r"[^{}\n]+[^ .]\.", text), text
        assert "  " not in text


@pytest.mark.parametrize("name", sorted(LOGS))
def test_no_other_entry_matches_a_captured_log(name: str) -> None:
    code, text = captured(name)
    matching = {
        failure.name
        for failure in TABLE.failures
        if find(failure, TABLE, text) or failure.exit_code == code
    }
    assert matching == {name.partition("--")[0]}


def test_weights_that_another_loader_has_read_are_in() -> None:
    """As with `--load-format runai_streamer`, whose loader does not say how long it took."""
    code, text = captured("no-memory-for-batches--cuda")
    text, lines = re.subn(r"\n.*Loading weights took.*", "\nStarting to load model", text)
    assert lines == 1
    found = diagnose(TABLE, text, code)
    assert found is not None
    assert found.name == "no-memory-for-batches"


@pytest.mark.parametrize("failure", TABLE.failures, ids=lambda failure: failure.name)
def test_the_field_to_change_exists(failure: Any) -> None:
    names = [word.strip(",.") for word in failure.remedy.split() if word.startswith("serving.")]
    for field in filter(None, [failure.field, *names]):
        holder: type[BaseModel] = ArmSpec
        section, name = field.split(".")
        holder = holder.model_fields[section].annotation  # type: ignore[assignment]
        assert name in holder.model_fields, field


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 1),
        ("ValueError: something nobody has seen\n", 1),
        ("WARNING 11-24 11:45:03 [x.py:1] OSError: [Errno 28] No space left on device\n", 1),
    ],
)
def test_an_unknown_failure_stays_unknown(text: str, code: int) -> None:
    assert diagnose(TABLE, text, code) is None


def test_the_first_failure_counts_and_only_after_the_last_start() -> None:
    full, window = captured("disk-full")[1], captured("window-too-long")[1]
    assert getattr(diagnose(TABLE, window + full, 1), "name", None) == "window-too-long"
    assert getattr(diagnose(TABLE, full + window, 1), "name", None) == "disk-full"
    up = "INFO:     Application startup complete.\n"
    assert diagnose(TABLE, full + up, 1) is None
    assert getattr(diagnose(TABLE, full + up, 137), "name", None) == "killed"


def test_an_adjustment_is_taken_once() -> None:
    shorter = diagnosed("kv-cache-too-small")
    spec = ServingSpec(max_model_len=2048)
    once = adjusted(spec, shorter)
    assert once == ServingSpec(max_model_len=1248)
    assert adjusted(once, shorter) is None
    assert adjusted(ServingSpec(), shorter) == once
    assert adjusted(ServingSpec(max_model_len=512), shorter) is None
    smaller = diagnosed("memory-fraction-refused")
    assert adjusted(ServingSpec(), smaller) == ServingSpec(memory_fraction=0.62)
    assert adjusted(ServingSpec(memory_fraction=0.6), smaller) is None
    eager = diagnosed("compilation-failed")
    assert adjusted(ServingSpec(), eager) == ServingSpec(enforce_eager=True)
    assert adjusted(ServingSpec(enforce_eager=True), eager) is None


def test_what_no_setting_can_mend_is_not_adjusted() -> None:
    assert adjusted(ServingSpec(), diagnosed("no-weights")) is None
    nothing = diagnosed("kv-cache-too-small").model_copy(
        update={"adjustment": {"serving.max_model_len": 16}}  # less than a spec may ask for
    )
    assert adjusted(ServingSpec(), nothing) is None


class Bench:
    """Engines that print what they are given, and end; or come up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marked = Marked()
        self.heard = Heard()
        self.specs: list[ServingSpec] = []

    def serve(
        self, *command: str, port: int = 0, timeout_seconds: float = 60
    ) -> contextlib.AbstractContextManager[LiveServer]:
        return serve_command(
            command,
            env=self.marked.env | {"VLLM_API_KEY": "key"},
            port=port or ports.find_free(),
            served_name="base-1",
            api_key="key",
            chat=True,
            concurrency=1,
            device_name="a processor",
            timeout_seconds=timeout_seconds,
            log=self.folder / "server.log",
            progress=self.heard,
        )

    def fail(
        self, text: str, then: str, timeout_seconds: float = 60
    ) -> contextlib.AbstractContextManager[LiveServer]:
        """Serve with an engine that prints a text and then does what a shell would."""
        printed = self.folder / "printed"
        printed.write_text(text, encoding="utf-8")
        return self.serve("sh", "-c", f"cat {printed}; {then}", timeout_seconds=timeout_seconds)

    def adjust(
        self, spec: ServingSpec, log_of: Callable[[ServingSpec], str | None]
    ) -> contextlib.AbstractContextManager[tuple[Adjustment, ...]]:
        """Serve as the spec says, with an engine that fails with a log or, with None, comes up."""

        @contextlib.contextmanager
        def once(
            spec: ServingSpec, made: tuple[Adjustment, ...]
        ) -> Iterator[tuple[Adjustment, ...]]:
            self.specs.append(spec)
            text = log_of(spec)
            port = ports.find_free()
            good = [sys.executable, "-I", "-u", str(SERVER), str(port), "base-1"]
            server = self.fail(text, "exit 1") if text else self.serve(*good, port=port)
            with server:
                yield made

        return adjusting(spec, once, self.heard)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    assert bench.marked.living() == []


def test_a_listed_failure_is_one_error_without_a_stack_trace(bench: Bench) -> None:
    code, text = captured("window-too-long")
    with pytest.raises(ServerDied) as caught, bench.fail(text, f"exit {code}"):
        pytest.fail("it never came up")
    error = caught.value
    assert (error.diagnosis, error.exit_code) == ("window-too-long", 1)
    assert error.fact.startswith("The model was made for 2048 tokens")
    assert str(bench.folder / "server.log") in error.fact
    assert "Traceback" not in str(error)
    assert len(str(error).splitlines()) == 3


def test_a_taken_port_stays_one(bench: Bench) -> None:
    with pytest.raises(PortTaken), bench.fail(captured("port-taken")[1], "exit 1"):
        pytest.fail("it never came up")


def test_a_kill_without_a_word_is_said(bench: Bench) -> None:
    with pytest.raises(ServerDied) as caught, bench.fail(captured("killed")[1], "kill -9 $$"):
        pytest.fail("it never came up")
    assert caught.value.diagnosis == "killed"


def test_an_engine_that_failed_and_hangs_is_said(bench: Bench) -> None:
    text = captured("shared-memory-too-small")[1]
    with (
        pytest.raises(ServerNotReady) as caught,
        bench.fail(text, "exec sleep 600", timeout_seconds=2),
    ):
        pytest.fail("it never came up")
    assert caught.value.diagnosis == "shared-memory-too-small"
    assert "--shm-size" in caught.value.remedy


def test_a_broken_chat_template_explains_a_refused_chat(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text(captured("chat-template-broken")[1], encoding="utf-8")
    refused = ServerError("/v1/chat/completions answered 400.", cause="?", exit_code=3)
    error = explained(TABLE, refused, log)
    assert error.fact == refused.fact
    assert (error.diagnosis, error.exit_code) == ("chat-template-broken", 3)
    assert "chat template is broken" in error.cause
    log.write_text("")
    assert explained(TABLE, refused, log) is refused


def too_small(spec: ServingSpec) -> str | None:
    """Fail until the window is no longer than what fits."""
    fits = spec.max_model_len is not None and spec.max_model_len <= 1248
    return None if fits else captured("kv-cache-too-small")[1]


def test_what_does_not_fit_is_adjusted_where_the_spec_allows_it(bench: Bench) -> None:
    with bench.adjust(ServingSpec(adjust=True), too_small) as made:
        assert made == (
            Adjustment(
                field="serving.max_model_len", before="the default", after="1248",
                reason="The key-value cache has no room for one request of 2048 tokens.",
            ),
        )  # fmt: skip
    assert [spec.max_model_len for spec in bench.specs] == [None, 1248]
    assert bench.heard.lines[0] == (
        "The key-value cache has no room for one request of 2048 tokens. Starting again with "
        "serving.max_model_len=1248 instead of the default."
    )


def test_nothing_is_adjusted_unasked(bench: Bench) -> None:
    with pytest.raises(ServerDied), bench.adjust(ServingSpec(), too_small):
        pytest.fail("it was adjusted")
    assert len(bench.specs) == 1


def test_the_same_failure_with_its_adjustment_in_place_ends_it(bench: Bench) -> None:
    text = captured("kv-cache-too-small")[1]
    with pytest.raises(ServerDied), bench.adjust(ServingSpec(adjust=True), lambda spec: text):
        pytest.fail("it came up")
    assert [spec.max_model_len for spec in bench.specs] == [None, 1248]


def test_adjusting_comes_to_an_end(bench: Bench) -> None:
    text = captured("kv-cache-too-small")[1]

    def ever_less(spec: ServingSpec) -> str:
        fits = (spec.max_model_len or 1300) - 50
        return text.replace("model length is 1248", f"model length is {fits}")

    with pytest.raises(ServerDied), bench.adjust(ServingSpec(adjust=True), ever_less):
        pytest.fail("it came up")
    assert [spec.max_model_len for spec in bench.specs] == [None, 1250, 1200, 1150]
    assert len(bench.specs) == MOST_ADJUSTMENTS + 1


def test_what_goes_wrong_in_the_block_is_not_adjusted(bench: Bench) -> None:
    dead = ServerDied("It died.", diagnosis="kv-cache-too-small", log=Path("x"), exit_code=1)
    with (
        pytest.raises(ServerDied) as caught,
        bench.adjust(ServingSpec(adjust=True, max_model_len=512), too_small),
    ):
        raise dead
    assert caught.value is dead
    assert len(bench.specs) == 1


@pytest.mark.long
@pytest.mark.engine
def test_the_real_engine_comes_up_adjusted(
    server_environment: PythonEnvironment, tmp_path: Path
) -> None:
    """What it wrote is read above, and that whatever serves is started again is shown there."""
    spec = ServingSpec(device="cpu", adjust=True, extra_args=("--kv-cache-memory-bytes", "4000000"))
    heard = Heard()
    with serve(
        ROOT / "infra" / "sample" / "model", arm="baseline", spec=spec, concurrency=4,
        environment=server_environment, device=detect("cpu"), trust_remote_code=False,
        log=tmp_path / "server.log", progress=heard,
    ) as server:  # fmt: skip
        (change,) = server.record.adjustments
        assert (change.field, change.before) == ("serving.max_model_len", "the default")
        assert server.window == int(change.after) < 2048
    assert any("Starting again with serving.max_model_len=" in line for line in heard.lines)
