"""A folder of the user's own: looked at, not copied, and never taken for whole when it is not."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import pytest

from infra.contracts.errors import CorruptWeights, UnsafeWeights, WeightsError
from infra.contracts.progress import Silent
from infra.contracts.specs import ModelSpec
from infra.models.remote_weights import remote_size
from infra.models.weights import as_it_came, fetch, inspect_local
from infra.store.settings import Settings
from tests.infra.models.whole import require_whole
from tests.stub_hub import model_files, safetensors


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, content in model_files(5_000).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


class Counter(Silent):
    """Counts digests that were really computed."""

    def __init__(self) -> None:
        self.updates = 0

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        self.updates += 1


def test_a_sound_folder_is_described_and_left_as_it_is(model: Path, settings: Settings) -> None:
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    spec = ModelSpec(id=str(model), source="local")
    weights = fetch(spec, settings=settings, progress=Silent())
    assert (weights.path, weights.revision, weights.source) == (model, None, "local")
    assert weights.architecture == "Qwen2ForCausalLM"
    assert weights.size_bytes == (model / "model.safetensors").stat().st_size
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before
    require_whole(weights)
    assert remote_size(spec, timeout=1).bytes == 0


def test_digests_are_remembered_until_a_file_changes(model: Path, settings: Settings) -> None:
    (model / "model.safetensors").write_bytes(safetensors({"weight": 9_000_000}))
    time.sleep(2.1)  # what was just written may be written again
    first, second, third = Counter(), Counter(), Counter()
    weights = inspect_local(model, settings=settings, progress=first)
    assert inspect_local(model, settings=settings, progress=second) == weights
    assert first.updates > 0
    assert second.updates == 0
    other = safetensors({"other!": 9_000_000})
    assert len(other) == (model / "model.safetensors").stat().st_size
    stat = (model / "model.safetensors").stat()
    (model / "model.safetensors").write_bytes(other)
    os.utime(model / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = inspect_local(model, settings=settings, progress=third)
    assert third.updates > 0
    assert changed.digest != weights.digest


def test_digests_are_computed_where_none_can_be_remembered(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    inspect_local(model, settings=Settings(cache=tmp_path / "file"))


def test_a_truncated_file_is_named_with_both_lengths(model: Path, settings: Settings) -> None:
    path = model / "model.safetensors"
    whole = path.stat().st_size
    os.truncate(path, whole - 100)
    with pytest.raises(CorruptWeights, match=f"{whole} bytes .* it has {whole - 100}"):
        inspect_local(model, settings=settings)
    os.truncate(path, 20)
    with pytest.raises(CorruptWeights, match="at least"):
        inspect_local(model, settings=settings)


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"\xff" * 64, struct.pack("<Q", 4) + b"nope", struct.pack("<Q", 2) + b"[]"],
    ids=["empty", "short", "huge header", "no JSON", "no object"],
)
def test_what_is_no_safetensors_file(model: Path, settings: Settings, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(CorruptWeights, match=r"model\.safetensors"):
        inspect_local(model, settings=settings)


def test_the_smallest_sound_file_passes(model: Path, settings: Settings) -> None:
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    assert inspect_local(model, settings=settings).size_bytes == 10


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (["config.json"], r"no config\.json"),
        (["tokenizer.json"], "no tokenizer"),
        (["model.safetensors"], "only as pickles"),
        (["model.safetensors", "pytorch_model.bin"], r"model-q4\.gguf is cut off"),
        (["model.safetensors", "pytorch_model.bin", "model-q4.gguf"], "no weights"),
    ],
)
def test_what_is_missing_is_said(
    model: Path, settings: Settings, remove: list[str], message: str
) -> None:
    for name in remove:
        (model / name).unlink()
    with pytest.raises(WeightsError, match=message):
        inspect_local(model, settings=settings)


def test_other_tokenizers_are_tokenizers(model: Path, settings: Settings) -> None:
    (model / "tokenizer.json").unlink()
    (model / "vocab.json").write_text("{}")
    with pytest.raises(CorruptWeights, match="no tokenizer"):
        inspect_local(model, settings=settings)
    (model / "merges.txt").write_text("")
    inspect_local(model, settings=settings)


@pytest.mark.parametrize(
    ("config", "message"),
    [("{", "is not JSON"), ("[]", "no JSON object"), ("{}", "no architecture")],
)
def test_a_configuration_that_says_nothing(
    model: Path, settings: Settings, config: str, message: str
) -> None:
    (model / "config.json").write_text(config)
    with pytest.raises(CorruptWeights, match=message):
        inspect_local(model, settings=settings)


def test_shards_are_all_there_with_their_tensors(model: Path, settings: Settings) -> None:
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    index = model / "model.safetensors.index.json"
    second = "model-00002-of-00002.safetensors"
    placed = {"weight": "model-00001-of-00002.safetensors", "more": second}
    index.write_text(json.dumps({"weight_map": placed}))
    with pytest.raises(CorruptWeights, match=f"{second} is missing"):
        inspect_local(model, settings=settings)
    (model / second).write_bytes(safetensors({"another": 10}))
    with pytest.raises(CorruptWeights, match="lacks the tensor more"):
        inspect_local(model, settings=settings)
    (model / second).write_bytes(safetensors({"more": 10}))
    assert len(inspect_local(model, settings=settings).files) == 7


def test_pickles_are_taken_when_the_spec_allows_it(model: Path, settings: Settings) -> None:
    (model / "model.safetensors").unlink()
    (model / "optimizer.pt").write_bytes(b"state")
    with pytest.raises(UnsafeWeights, match=r"pytorch_model\.bin"):
        inspect_local(model, settings=settings)
    weights = inspect_local(model, settings=settings, allow_pickle=True)
    assert weights.size_bytes == len(b"pickle")


def test_no_such_folder(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(WeightsError, match="There is no folder"):
        inspect_local(tmp_path / "absent", settings=settings)
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="is no folder"):
        inspect_local(tmp_path / "file", settings=settings)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}),
    ],
)
def test_what_another_file_says_of_quantization_is_seen(
    model: Path, settings: Settings, file: str, content: dict[str, object]
) -> None:
    assert as_it_came(inspect_local(model, settings=settings)).quantization_config is None
    (model / file).write_text(json.dumps(content), encoding="utf-8")
    found = as_it_came(inspect_local(model, settings=settings))
    assert found.quantization_config == content
