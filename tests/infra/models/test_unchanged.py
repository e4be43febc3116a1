from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from infra.contracts.errors import CorruptWeights
from infra.contracts.progress import Silent
from infra.contracts.records import Adapter, Checkpoint
from infra.models.unchanged import Unchanged
from infra.models.weights import as_it_came, inspect_local
from infra.store.content import digest_files, digest_folder
from infra.store.settings import Settings
from tests import tiny_model


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "model")


def weights_file(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def checkpoint(folder: Path, settings: Settings) -> Checkpoint:
    return as_it_came(inspect_local(folder, settings=settings))


def looked_at(model: Checkpoint, settings: Settings) -> tuple[Unchanged, ...]:
    return Unchanged.of(model, settings=settings, progress=Silent())


def flip(file: Path) -> None:
    """Write one byte anew, and set the time back."""
    before = file.stat()
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)[0]
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_folder_that_stays_is_taken(folder: Path, settings: Settings) -> None:
    [one] = looked_at(checkpoint(folder, settings), settings)
    one.require()
    one.require()


def test_what_is_written_before_it_is_loaded_is_refused(folder: Path, settings: Settings) -> None:
    model = checkpoint(folder, settings)
    flip(weights_file(folder))
    with pytest.raises(CorruptWeights, match="changed since its digest was computed") as caught:
        looked_at(model, settings)
    assert str(weights_file(folder)) in caught.value.fact
    assert "Somebody writes" in caught.value.cause
    assert "start the run again" in caught.value.remedy


@pytest.mark.parametrize("name", ["weights", "config.json", "tokenizer.json"])
def test_what_is_written_while_it_is_loaded_is_refused(
    folder: Path, settings: Settings, name: str
) -> None:
    [one] = looked_at(checkpoint(folder, settings), settings)
    flip(weights_file(folder) if name == "weights" else folder / name)
    with pytest.raises(CorruptWeights, match="has another content"):
        one.require()


@pytest.mark.parametrize("name", ["chat_template.jinja", "added_tokens.json"])
def test_a_file_that_comes_to_the_tokenizer_is_refused(
    folder: Path, settings: Settings, name: str
) -> None:
    (folder / "._tokenizer.model").write_bytes(b"as another system leaves it beside each file")
    (folder / "trained.model").mkdir()
    model = checkpoint(folder, settings)
    (folder / "tokenizer_of_others.py").write_text("print('nobody asked for it')")
    (folder / "trainer_state.json").write_text("{}")
    [one] = looked_at(model, settings)
    one.require()
    (folder / name).write_text("{}")
    with pytest.raises(CorruptWeights, match=f"{name} was added"):
        one.require()
    with pytest.raises(CorruptWeights, match=f"{name} was added"):  # before it is loaded
        looked_at(model, settings)
    [one] = looked_at(checkpoint(folder, settings), settings)
    one.require()


def test_another_file_in_its_place_and_none_are_refused(folder: Path, settings: Settings) -> None:
    [one] = looked_at(checkpoint(folder, settings), settings)
    file = weights_file(folder)
    aside = shutil.copyfile(file, folder.parent / "aside")
    flip(aside)
    aside.replace(file)
    with pytest.raises(CorruptWeights, match="has another content"):
        one.require()
    file.unlink()
    with pytest.raises(CorruptWeights, match="it is missing"):
        one.require()


def test_what_is_touched_is_the_same(folder: Path, settings: Settings) -> None:
    model = checkpoint(folder, settings)
    weights_file(folder).touch()
    [one] = looked_at(model, settings)
    weights_file(folder).touch()
    one.require()


def test_what_lies_in_our_store_is_not_read_again_and_yet_watched(
    settings: Settings,
) -> None:
    kept = tiny_model.write(settings.checkpoints / "made")
    files = digest_folder(kept)
    model = checkpoint(kept, settings).model_copy(
        update={"files": files, "digest": digest_files(files)}
    )
    [one] = looked_at(model, settings)
    one.require()
    flip(weights_file(kept))
    with pytest.raises(CorruptWeights, match="has another content"):
        one.require()


def test_an_adapter_beside_the_model_is_watched_too(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    place = tmp_path / "adapter"
    place.mkdir()
    (place / "adapter_model.safetensors").write_bytes(b"numbers")
    files = digest_folder(place)
    adapter = Adapter(
        path=place, source="local", id="tuned", revision=None, files=files,
        digest=digest_files(files), size_bytes=7, rank=8, base_model=None, merged=False,
    )  # fmt: skip
    model = checkpoint(folder, settings).model_copy(update={"adapter": adapter})
    (place / "tokenizer.json").write_text("{}")  # as peft leaves it there, for nobody here
    _, beside = looked_at(model, settings)
    beside.require()
    flip(place / "adapter_model.safetensors")
    with pytest.raises(CorruptWeights, match="adapter tuned changed"):
        beside.require()
