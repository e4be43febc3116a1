"""Which files of a folder are the model: one answer, or a refusal whose remedy works when typed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from infra.contracts.errors import AssayError, CorruptWeights, UnsafeWeights, WeightsError
from infra.contracts.records import Weights
from infra.models.weights import inspect_local
from infra.store.settings import Settings
from tests.infra.models.test_lfs import POINTER
from tests.stub_hub import safetensors
from tests.two_models import INDEX, SHARDS, write_shards

WHOLE = "model.safetensors"
TEXTS = {
    "config.json": b'{"architectures": ["Qwen2ForCausalLM"]}',
    "tokenizer.json": b'{"model": {}}',
    "tokenizer_config.json": b"{}",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder without weights."""
    folder = tmp_path / "my model"
    folder.mkdir()
    for name, content in TEXTS.items():
        (folder / name).write_bytes(content)
    return folder


def look(model: Path, *, allow_pickle: bool = False) -> Weights:
    settings = Settings(cache=model.parent / "cache")
    return inspect_local(model, settings=settings, allow_pickle=allow_pickle)


def weights_of(found: Weights) -> list[str]:
    return [f.name for f in found.files if f.name.endswith((".safetensors", ".bin"))]


def refused(model: Path, *said: str, allow_pickle: bool = False) -> AssayError:
    with pytest.raises(WeightsError) as caught:
        look(model, allow_pickle=allow_pickle)
    assert all(word in caught.value.fact for word in said), caught.value
    assert caught.value.remedy
    return caught.value


def type_the_remedy(error: AssayError, number: int = 0) -> None:
    """Run a command of the remedy as a user types it."""
    commands = re.findall(r"`([^`]+)`", error.remedy)
    subprocess.run(["bash", "-c", commands[number]], check=True, cwd="/")


def put(model: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (model / name).write_bytes(safetensors({f"t{number}": 40}))


def sharded(model: Path) -> None:
    write_shards(model, {"a": 50, "b": 60})


def test_with_an_index_the_model_is_its_shards(model: Path) -> None:
    sharded(model)
    found = look(model)
    assert weights_of(found) == list(SHARDS)
    assert found.path == model
    assert found.size_bytes == sum((model / name).stat().st_size for name in SHARDS)


@pytest.mark.parametrize(("number", "left"), [(0, list(SHARDS)), (1, [WHOLE])])
def test_another_model_beside_the_shards_is_refused_naming_both(
    model: Path, number: int, left: list[str]
) -> None:
    sharded(model)
    put(model, WHOLE)
    error = refused(model, WHOLE, INDEX, *SHARDS)
    assert "quantizer" in error.cause and "engine" in error.cause
    type_the_remedy(error, number)
    assert weights_of(look(model)) == left


def test_an_index_left_behind_when_its_shards_were_merged(model: Path) -> None:
    sharded(model)
    for name in SHARDS:
        (model / name).unlink()
    put(model, WHOLE)
    error = refused(model, f"{SHARDS[0]} is missing")
    type_the_remedy(error)
    assert weights_of(look(model)) == [WHOLE]


def test_many_shards_are_put_aside_by_one_pattern(model: Path) -> None:
    write_shards(model, {f"t{number}": 50 for number in range(9)})
    put(model, WHOLE)
    type_the_remedy(refused(model, "9 shards"), 1)
    assert weights_of(look(model)) == [WHOLE]
    assert len(list((model / "unused").iterdir())) == 10


@pytest.mark.parametrize(
    "beside",
    ["model-00003-of-00003.safetensors", "model.fp16.safetensors", "value_head.safetensors",
     "pytorch_model.bin"],
)  # fmt: skip
def test_what_no_loader_takes_beside_an_index_is_left_alone(model: Path, beside: str) -> None:
    sharded(model)
    alone = look(model)
    put(model, beside)
    assert look(model) == alone


def test_an_index_that_names_the_whole_file_alone(model: Path) -> None:
    put(model, WHOLE)
    (model / INDEX).write_text(json.dumps({"weight_map": {"t0": WHOLE}}))
    put(model, WHOLE, SHARDS[0])
    (model / WHOLE).write_bytes(safetensors({"t0": 40}))
    assert weights_of(look(model)) == [WHOLE]


def test_an_index_that_names_the_whole_file_as_a_shard(model: Path) -> None:
    """Transformers would take it for all, and draw the other tensors by chance."""
    put(model, WHOLE, "model-2.safetensors")
    placed = {"t0": WHOLE, "t1": "model-2.safetensors"}
    (model / INDEX).write_text(json.dumps({"weight_map": placed}, indent=2))
    error = refused(model, INDEX, WHOLE, "2 shards")
    type_the_remedy(error)
    assert weights_of(look(model)) == ["model-2.safetensors", "model-first.safetensors"]


@pytest.mark.parametrize(
    "shard",
    ["sub/model.safetensors", "../model.safetensors", "/etc/passwd", "model.bin",
     "consolidated.safetensors", "adapter_model.safetensors", 5, None],
)  # fmt: skip
def test_an_index_that_names_no_file_of_the_model(model: Path, shard: object) -> None:
    put(model, *SHARDS)
    (model / INDEX).write_text(json.dumps({"weight_map": {"t0": SHARDS[0], "t1": shard}}))
    refused(model, INDEX, repr(shard))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": []}'])
def test_an_index_that_says_nothing(model: Path, text: str) -> None:
    put(model, *SHARDS)
    (model / INDEX).write_text(text)
    refused(model, INDEX)


def test_a_tensor_in_two_shards(model: Path) -> None:
    sharded(model)
    (model / SHARDS[1]).write_bytes(safetensors({"a": 50, "b": 60}))
    refused(model, "holds the tensor a", *SHARDS)


@pytest.mark.parametrize(
    "other", ["model_old.safetensors", *SHARDS, "value_head.safetensors", "model copy.safetensors"]
)
def test_two_files_without_an_index(model: Path, other: str) -> None:
    put(model, WHOLE, other)
    error = refused(model, WHOLE, other, INDEX)
    type_the_remedy(error)
    found = look(model)
    assert (weights_of(found), found.path) == ([WHOLE], model)


@pytest.mark.parametrize("count", [2, 5])
def test_shards_without_an_index_get_one_by_the_remedy(model: Path, count: int) -> None:
    write_shards(model, {f"t{number}": 50 for number in range(count)})
    (model / INDEX).unlink()
    error = refused(model, f"-of-0000{count}.safetensors", INDEX)
    type_the_remedy(error)
    assert len(weights_of(look(model))) == count


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "model.fp16.safetensors", "m (1).safetensors"]
)
def test_one_file_of_another_name(model: Path, name: str) -> None:
    put(model, name)
    type_the_remedy(refused(model, name))
    assert weights_of(look(model)) == [WHOLE]


def test_mistral_s_copy_alone_is_no_model_for_the_quantizer(model: Path) -> None:
    put(model, "consolidated.safetensors")
    error = refused(model, "no weights")
    assert "consolidated.safetensors" in error.cause


@pytest.mark.parametrize(
    "beside",
    ["adapter_model.safetensors", "adapter_config.json", "adapters.safetensors",
     "consolidated.safetensors", "consolidated-00001-of-00002.safetensors",
     "original/consolidated.safetensors", "model.fp16.safetensors"],
)  # fmt: skip
def test_loaders_get_a_folder_without_what_would_mislead_them(model: Path, beside: str) -> None:
    """An adapter beside a merged model, and copies for other programs, are no weights of it."""
    put(model, WHOLE)
    alone = look(model)
    (model / beside).parent.mkdir(exist_ok=True)
    put(model, beside)
    found = look(model)
    assert found.digest == alone.digest and found.files == alone.files
    assert found.path != model
    there = sorted(file.relative_to(found.path).as_posix() for file in found.path.rglob("*"))
    assert there == sorted(file.name for file in alone.files)
    assert all((found.path / f.name).samefile(model / f.name) for f in alone.files)
    assert look(model) == found


def test_a_view_shows_what_is_there_now(model: Path) -> None:
    put(model, WHOLE, "adapter_model.safetensors")
    first = look(model)
    (model / WHOLE).write_bytes(safetensors({"other": 90}))
    second = look(model)
    assert second.path == first.path
    assert second.digest != first.digest
    assert (second.path / WHOLE).read_bytes() == (model / WHOLE).read_bytes()


def test_a_view_that_cannot_be_made_is_one_error(model: Path) -> None:
    put(model, WHOLE, "adapter_model.safetensors")
    (model.parent / "cache").write_text("")
    error = refused(model, "cannot be written")
    assert "ASSAY_CACHE" in error.remedy


BASE = "Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("config", [False, True], ids=["alone", "with a config"])
def test_an_adapter_alone_is_recognised_as_one(model: Path, weights: str, config: bool) -> None:
    if not config:
        (model / "config.json").unlink()
    put(model, weights)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": BASE}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    error = refused(model, "adapter", BASE)
    assert not isinstance(error, UnsafeWeights)
    assert "merge_and_unload" in error.remedy and str(model / "merged") in error.remedy


def test_a_base_model_that_has_moved_is_said(model: Path) -> None:
    put(model, "adapter_model.safetensors")
    adapter = {"base_model_name_or_path": "/home/trainer/qwen"}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    assert "/home/trainer/qwen is not here" in refused(model, "adapter").cause


def test_an_adapter_that_names_no_base(model: Path) -> None:
    put(model, "adapters.safetensors")
    assert "names no base model" in refused(model, "adapter", "adapters.safetensors").cause


# Pickles, where they are allowed


def test_pickled_shards_and_their_index(model: Path) -> None:
    names = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    put(model, *names)
    error = refused(model, names[0], allow_pickle=True)  # the engine takes both, the quantizer none
    placed = {"t0": names[0], "t1": names[1]}
    index = "pytorch_model.bin.index.json"
    (model / index).write_text(json.dumps({"weight_map": placed}))
    found = look(model, allow_pickle=True)
    assert (weights_of(found), found.path) == ([*names], model)
    put(model, "pytorch_model.bin")
    error = refused(model, "pytorch_model.bin", index, *names, allow_pickle=True)
    type_the_remedy(error)
    assert weights_of(look(model, allow_pickle=True)) == [*names]


def test_the_engine_does_not_look_at_an_index_of_pickles(model: Path) -> None:
    put(model, "pytorch_model.bin", "adapter_model.bin", "adapter_model.safetensors")
    found = look(model, allow_pickle=True)
    assert weights_of(found) == ["pytorch_model.bin"]
    assert [path.name for path in found.path.glob("*.bin")] == ["pytorch_model.bin"]
    assert not list(found.path.glob("*.safetensors"))


def test_two_pickles(model: Path) -> None:
    put(model, "pytorch_model.bin", "old.bin")
    refused(model, "pytorch_model.bin", "old.bin", allow_pickle=True)


def test_pickles_beside_an_adapter_of_safetensors_are_pickles(model: Path) -> None:
    put(model, "pytorch_model.bin", "adapter_model.safetensors")
    with pytest.raises(UnsafeWeights, match=r"pytorch_model\.bin"):
        look(model)


# Files that stand for others


@pytest.mark.parametrize("name", [*TEXTS, WHOLE, "chat_template.jinja", "merges.txt"])
def test_a_pointer_is_named_with_the_command_that_fetches_it(model: Path, name: str) -> None:
    subprocess.run(["git", "init", "-q", model], check=True)
    put(model, WHOLE)
    (model / name).write_text(POINTER)
    error = refused(model, name, "Git LFS pointer")
    assert f"cd '{model}' && git lfs pull" in error.remedy


@pytest.mark.parametrize("name", [INDEX, SHARDS[1], "adapter_config.json"])
def test_a_pointer_in_place_of_what_names_others(model: Path, name: str) -> None:
    sharded(model)
    if name == "adapter_config.json":
        for path in model.glob("model*"):
            path.unlink()
    (model / name).write_text(POINTER)
    assert "git lfs pull" in refused(model, name, "Git LFS pointer").remedy


def test_a_link_that_leads_nowhere_is_said(model: Path) -> None:
    (model / WHOLE).symlink_to(model / "gone")
    refused(model, WHOLE, "a link to")
    (model / WHOLE).unlink()
    (model / WHOLE).symlink_to(".git/annex/objects/x/SHA256E-s1--0/SHA256E-s1--0")
    assert "git annex get" in refused(model, WHOLE, "git-annex").remedy


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WHOLE, INDEX])
@pytest.mark.parametrize("text", ["Entry not found", "<!doctype html><title>Sign in</title>" * 9])
def test_a_page_in_place_of_a_file_is_recognized_by_its_beginning(
    model: Path, name: str, text: str
) -> None:
    put(model, WHOLE)
    (model / name).write_text(text)
    error = refused(model, name)
    assert isinstance(error, CorruptWeights)
    assert text[:15] in error.cause


def test_how_an_embedding_model_pools_is_part_of_it(model: Path) -> None:
    put(model, WHOLE)
    pooling = model / "1_Pooling" / "config.json"
    pooling.parent.mkdir()
    pooling.write_text('{"pooling_mode_mean_tokens": true}')
    alone = look(model)
    assert not [file for file in alone.files if "/" in file.name]
    (model / "modules.json").write_text("[]")
    found = look(model)
    assert [file.name for file in found.files if "/" in file.name] == ["1_Pooling/config.json"]
    pooling.write_text('{"pooling_mode_mean_tokens": false}')
    assert look(model).digest != found.digest
