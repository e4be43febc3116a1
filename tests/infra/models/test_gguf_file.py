from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import CorruptWeights, WeightsError
from infra.models import gguf_file, parameters, quantization
from infra.models.weights import as_it_came, inspect_local
from infra.store.settings import Settings
from tests import gguf_files, tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "model")


def test_a_file_says_what_it_is(tmp_path: Path, model: Path) -> None:
    file = gguf_file.read(gguf_files.write(tmp_path / "a.gguf", model, "Q8_0"))
    assert (file.architecture, file.type, file.rounded) == ("qwen2", "Q8_0", True)
    assert file.value("{}.block_count") == 2
    assert file.weights == parameters.count(model, None)
    whole = gguf_file.read(gguf_files.write(tmp_path / "b.gguf", model, "F16"))
    assert (whole.type, whole.rounded) == ("F16", False)


def test_a_folder_of_one_gguf_file_is_a_checkpoint(tmp_path: Path, model: Path) -> None:
    folder = gguf_files.folder(tmp_path / "made", model, "Q8_0")
    weights = inspect_local(folder, settings=Settings(cache=tmp_path / "cache"))
    assert "model.gguf" in {file.name for file in weights.files}
    assert weights.size_bytes == (folder / "model.gguf").stat().st_size
    checkpoint = as_it_came(weights)
    assert checkpoint.quantization_config is not None
    assert checkpoint.quantization_config["quant_method"] == "gguf"
    found = quantization.of(folder)
    assert found is not None
    assert found.description.startswith("GGUF Q8_0, 8.5") and found.understood
    assert found.files == ("model.gguf",)
    assert found.doubts == ()
    assert parameters.count(folder, found) == parameters.count(model, None)


def test_a_file_that_rounds_nothing_is_not_quantized(tmp_path: Path, model: Path) -> None:
    folder = gguf_files.folder(tmp_path / "made", model, "F16")
    assert quantization.of(folder) is None
    weights = inspect_local(folder, settings=Settings(cache=tmp_path / "cache"))
    assert as_it_came(weights).quantization_config is None


def test_beside_safetensors_a_gguf_file_is_a_copy_for_another_engine(
    tmp_path: Path, model: Path
) -> None:
    gguf_files.write(model / "a.gguf", model)
    assert gguf_file.find(model) is None and quantization.of(model) is None
    weights = inspect_local(model, settings=Settings(cache=tmp_path / "cache"))
    assert [f.name for f in weights.files if f.name.endswith((".gguf", ".safetensors"))] == [
        "model.safetensors"
    ]


def test_several_gguf_files_are_refused_by_name(tmp_path: Path, model: Path) -> None:
    folder = gguf_files.folder(tmp_path / "made", model)
    gguf_files.write(folder / "other.gguf", model)
    with pytest.raises(WeightsError, match=r"2 GGUF files: model\.gguf, other\.gguf") as caught:
        inspect_local(folder, settings=Settings(cache=tmp_path / "cache"))
    assert "a folder of its own" in caught.value.remedy
    (folder / "model.gguf").rename(folder / "m-00001-of-00002.gguf")
    (folder / "other.gguf").rename(folder / "m-00002-of-00002.gguf")
    with pytest.raises(WeightsError, match="2 GGUF files") as caught:
        inspect_local(folder, settings=Settings(cache=tmp_path / "cache"))
    assert "Join them" in caught.value.remedy


@pytest.mark.parametrize("keep", [3, 40, 900])
def test_what_is_cut_off_or_no_gguf_file_is_refused(tmp_path: Path, model: Path, keep: int) -> None:
    path = gguf_files.write(tmp_path / "a.gguf", model)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptWeights) as caught:
        gguf_file.read(path)
    assert str(path) in caught.value.fact and caught.value.remedy
