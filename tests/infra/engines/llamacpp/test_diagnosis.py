"""What the real server says when it fails, and what is made of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingSpec
from infra.engines.diagnosis.reading import Diagnosis, diagnose
from infra.engines.llamacpp.diagnosis import FAILURES, TABLE
from infra.engines.llamacpp.log import failure, first_error, version
from infra.engines.llamacpp.program import beginning
from infra.machine.processes import run

Fail = Callable[[Path, list[str]], None]
"""Spoils a copy of the model's folder, or adds to the flags."""


def _replaced(folder: Path, old: bytes, new: bytes) -> None:
    file = folder / "model.gguf"
    data = file.read_bytes()
    assert old in data
    assert len(old) == len(new)
    file.write_bytes(data.replace(old, new))


def _gone(folder: Path, flags: list[str]) -> None:
    (folder / "model.gguf").unlink()


def _text(folder: Path, flags: list[str]) -> None:
    (folder / "model.gguf").write_text("hello")


def _empty(folder: Path, flags: list[str]) -> None:
    (folder / "model.gguf").write_bytes(b"")


def _newer(folder: Path, flags: list[str]) -> None:
    _replaced(folder, b"GGUF\x03", b"GGUF\x09")


def _torn(folder: Path, flags: list[str]) -> None:
    file = folder / "model.gguf"
    file.write_bytes(file.read_bytes()[:3_000_000])


def _tensor_lost(folder: Path, flags: list[str]) -> None:
    _replaced(folder, b"blk.3.attn_k.weight", b"blk.3.attn_q.weighx")


def _architecture(folder: Path, flags: list[str]) -> None:
    _replaced(folder, b"\x05\0\0\0\0\0\0\0qwen2", b"\x05\0\0\0\0\0\0\0qwenX")


def _tokenizer(folder: Path, flags: list[str]) -> None:
    file = folder / "model.gguf"
    data = file.read_bytes()
    place = data.index(b"qwen2", data.index(b"tokenizer.ggml.pre"))
    file.write_bytes(data[:place] + b"zzzz2" + data[place + 5 :])


def _cache(folder: Path, flags: list[str]) -> None:
    flags += ["--ctx-size", "400000", "--parallel", "4"]


def _quantized_cache(folder: Path, flags: list[str]) -> None:
    flags += ["--cache-type-v", "q8_0", "--flash-attn", "off"]


def _unknown(folder: Path, flags: list[str]) -> None:
    flags += ["--no-such-flag", "5"]


def _invalid(folder: Path, flags: list[str]) -> None:
    flags += ["--cache-type-k", "q3"]


def _too_large(folder: Path, flags: list[str]) -> None:
    flags += ["--ctx-size", "80000000000"]


WAYS: list[tuple[str, Fail, str]] = [
    ("no-weights", _gone, "model.gguf"),
    ("not-gguf", _text, "'hell'"),
    ("not-gguf", _empty, "failed to read magic"),
    ("gguf-of-another-version", _newer, "version 9"),
    ("weights-unreadable", _torn, "weight"),
    ("weights-unreadable", _tensor_lost, "blk.3.attn_k.weight"),
    ("architecture-unknown", _architecture, "qwenX"),
    ("tokenizer-unknown", _tokenizer, "zzzz2"),
    ("no-memory-for-cache", _cache, "key-value cache"),
    ("cache-needs-flash-attention", _quantized_cache, "flash attention"),
    ("argument-unknown", _unknown, "--no-such-flag 5"),
    ("argument-invalid", _invalid, "--cache-type-k"),
    ("argument-invalid", _too_large, "int32"),
]


_KIBIBYTES = 900_000


class Failing:
    """Starts the real server so that it fails."""

    def __init__(self, python: Path, model: Path, folder: Path) -> None:
        self.log = folder / "server.log"
        self._python = python
        self.folder = shutil.copytree(model, folder / "model")

    def start(self, *flags: str) -> Diagnosis:
        words = [*beginning(self._python), "--model", str(self.folder / "model.gguf")]
        words += ["--port", "0", "--verbosity", "1", "--fit", "off", *flags]
        if "--ctx-size" in flags:
            # So much memory and no more: the machine's own is not for tests to fill.
            words = ["sh", "-c", f'ulimit -v {_KIBIBYTES}; exec "$@"', "sh", *words]
        code = run(words, log=self.log, env={"PATH": os.environ["PATH"]}, timeout_seconds=60)
        found = diagnose(TABLE, self.log.read_text(), code)
        assert found is not None, self.log.read_text()
        return found


@pytest.fixture
def failing(llamacpp_environment: PythonEnvironment, gguf: Path, tmp_path: Path) -> Failing:
    return Failing(llamacpp_environment.python, gguf, tmp_path)


@pytest.mark.parametrize(("name", "spoil", "says"), WAYS)
def test_a_failure_of_the_real_server_is_named(
    failing: Failing, name: str, spoil: Fail, says: str
) -> None:
    flags: list[str] = []
    spoil(failing.folder, flags)
    found = failing.start(*flags)
    assert found.name == name
    assert says in found.fact
    assert found.cause
    assert found.remedy
    assert first_error(failing.log)


def test_a_port_that_is_taken_is_named(failing: Failing) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = failing.start("--port", str(taken.getsockname()[1]))
    assert found.name == "port-taken"


def test_an_interpreter_without_the_package_is_named(gguf: Path, tmp_path: Path) -> None:
    import sys

    found = Failing(Path(sys.executable), gguf, tmp_path).start()
    assert found.name == "library-broken"
    assert "xllamacpp" in found.fact


def test_a_death_by_a_signal_is_named() -> None:
    for code, name in ((137, "killed"), (132, "processor-too-old")):
        found = diagnose(TABLE, "", code)
        assert found is not None
        assert found.name == name


def test_every_field_that_a_remedy_names_is_one() -> None:
    fields = {f"serving.{name}" for name in ServingSpec.model_fields}
    fields |= {"model.id", "model.revision", ""}
    assert {one.field for one in FAILURES} <= fields
    assert len({one.name for one in FAILURES}) == len(FAILURES)


def test_what_an_engine_says_in_passing_is_no_failure() -> None:
    text = "version: xllamacpp 1.2\n0.00.1 W srv init: too small\n0.00.2 I srv load_model: x\n"
    assert failure(text) == "version: xllamacpp 1.2"
    assert diagnose(TABLE, text, 1) is None
    assert version(text) == "xllamacpp 1.2"
    assert version("0.00.1 I srv: version: 5") is None


def test_the_first_error_is_none_of_its_consequences(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(json.dumps("nothing"))
    assert first_error(log) == ""
    log.write_text(
        "0.1 E llama_model_load_from_file_impl: failed to load model\n"
        "0.2 E gguf_init: error of the disk\n"
    )
    assert first_error(log) == "gguf_init: error of the disk"
