"""Looks at checkpoints that came as they are, in every format, sound and broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.progress import Silent
from infra.contracts.records import Check, Checkpoint, Made
from infra.probes.triage import files, findings, served
from infra.probes.triage.verdict import stop_if_broken
from tests import tiny_model
from tests.infra.probes.subjects import checkpoint_at
from tests.quantized_checkpoints import FORMATS, Raw, quantize, save, write, write_tensors

Tensors = dict[str, Raw]
LAYER = "model.layers.2.mlp.up_proj"


class Maker:
    """A small model, and checkpoints of it in every format, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = tiny_model.write(folder / "model", layers=6)
        self.weights = self.model / "model.safetensors"
        self._made: dict[str, tuple[Path, Tensors]] = {}

    def __call__(self, name: str) -> tuple[Path, Tensors]:
        """Return a sound checkpoint, and its tensors to change."""
        if name not in self._made:
            tensors, _ = quantize(self.model, FORMATS[name])
            folder = self.folder / str(len(self._made))
            write_tensors(self.model, folder, FORMATS[name], tensors)
            self._made[name] = folder, tensors
        folder, tensors = self._made[name]
        return folder, dict(tensors)

    def changed(self, folder: Path, name: str, tensors: Tensors) -> Path:
        return write_tensors(self.model, folder / "changed", FORMATS[name], tensors)

    def look(self, folder: Path, *, alone: bool = False, **how: Any) -> dict[str, Check]:
        baseline = [] if alone else [self.weights]
        checks = files.look(folder, baseline, Silent(), **{"ready_made": True, **how})
        return {check.name: check for check in checks}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("made"))


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if not check.ok}


@pytest.mark.parametrize("alone", [False, True], ids=["beside the baseline", "alone"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_sound_one_passes(name: str, alone: bool, made: Maker) -> None:
    checks = made.look(made(name)[0], alone=alone)
    assert failed(checks) == set()
    assert "42 of 42 linear layers, 100.0% of their weights" in checks[findings.SHARE].value
    assert ("not decoded here" in checks[findings.SHAPES].value) != FORMATS[name].decoded
    if alone:
        assert findings.WEIGHTS not in checks
    elif FORMATS[name].decoded:
        assert "times what rounding makes" in checks[findings.WEIGHTS].value
        assert "of signs" in checks[findings.WEIGHTS].value
    else:
        # The embeddings are not quantized and are compared.
        assert checks[findings.WEIGHTS].value.startswith(("100% of signs", "not compared"))


@pytest.mark.parametrize("name", [n for n, form in FORMATS.items() if form.decoded])
def test_layers_that_were_exchanged_are_seen(name: str, made: Maker, tmp_path: Path) -> None:
    _, tensors = made(name)
    one, other = "model.layers.1.", "model.layers.4."
    for key in [key for key in tensors if key.startswith(one) and "_proj." in key]:
        twin = other + key.removeprefix(one)
        tensors[key], tensors[twin] = tensors[twin], tensors[key]
    checks = made.look(made.changed(tmp_path, name, tensors))
    assert failed(checks) == {findings.WEIGHTS}
    assert "model.layers.1.mlp.down_proj (" in checks[findings.WEIGHTS].value
    assert "and 11 more" in checks[findings.WEIGHTS].value


@pytest.mark.parametrize("name", FORMATS)
def test_a_part_that_is_lost_is_seen(name: str, made: Maker, tmp_path: Path) -> None:
    _, whole = made(name)
    for part in [key.removeprefix(f"{LAYER}.") for key in whole if key.startswith(f"{LAYER}.")]:
        tensors = {key: value for key, value in whole.items() if key != f"{LAYER}.{part}"}
        checks = made.look(made.changed(tmp_path / part, name, tensors), alone=True)
        assert checks[findings.SHAPES].value.startswith(f"{LAYER} (no "), part


@pytest.mark.parametrize("alone", [False, True], ids=["beside the baseline", "alone"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_layer_that_is_lost_is_seen(name: str, alone: bool, made: Maker, tmp_path: Path) -> None:
    _, tensors = made(name)
    tensors = {key: value for key, value in tensors.items() if not key.startswith(f"{LAYER}.")}
    checks = made.look(made.changed(tmp_path, name, tensors), alone=alone)
    assert failed(checks) == {findings.COMPLETE}
    assert checks[findings.COMPLETE].value == f"{LAYER}.weight"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["AWQ", "GPTQ", "int4", "int8", "FP8 in blocks", "bitsandbytes"])
def test_scales_that_are_no_numbers_are_seen(
    name: str, value: float, made: Maker, tmp_path: Path
) -> None:
    _, tensors = made(name)
    key = next(key for key in tensors if key.startswith(LAYER) and is_scale(key))
    kind, scales = tensors[key]
    tensors[key] = kind, scales.copy()
    tensors[key][1].reshape(-1)[:2] = value
    checks = made.look(made.changed(tmp_path, name, tensors), alone=True)
    assert failed(checks) == {findings.FINITE, findings.SCALES}
    assert f"{LAYER} (2 of " in checks[findings.SCALES].value
    assert checks[findings.FINITE].value == key


@pytest.mark.parametrize(
    ("name", "byte"), [("FP8, one scale", 0x7F), ("FP8 in blocks", 0xFF), ("ModelOpt FP8", 0x7F)]
)
def test_weights_of_eight_bits_that_are_no_numbers_are_seen(
    name: str, byte: int, made: Maker, tmp_path: Path
) -> None:
    _, tensors = made(name)
    kind, bits = tensors[f"{LAYER}.weight"]
    bits = bits.copy()
    bits[0, 0] = byte
    tensors[f"{LAYER}.weight"] = kind, bits
    checks = made.look(made.changed(tmp_path, name, tensors), alone=True)
    assert checks[findings.FINITE].value == f"{LAYER}.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scales: scales * 0, "zero)"),
        (np.ones_like, "are 1)"),
        (lambda scales: np.full_like(scales, 0.0123), "are 0.012"),
    ],
    ids=["zero", "one", "equal"],
)
@pytest.mark.parametrize("name", ["AWQ", "GPTQ", "int4", "int8", "FP8, one scale a row"])
def test_scales_that_say_nothing_are_seen(
    name: str, change: Callable[[Any], Any], said: str, made: Maker, tmp_path: Path
) -> None:
    _, tensors = made(name)
    for key in [key for key in tensors if is_scale(key)]:
        kind, scales = tensors[key]
        tensors[key] = kind, change(scales).astype(scales.dtype)
    checks = made.look(made.changed(tmp_path, name, tensors), alone=True)
    assert failed(checks) == {findings.SCALES}
    assert said in checks[findings.SCALES].value


def test_some_zero_scales_are_the_rows_of_nothing(made: Maker, tmp_path: Path) -> None:
    _, tensors = made("int4")
    kind, scales = tensors[f"{LAYER}.weight_scale"]
    scales = scales.copy()
    scales[0] = 0
    tensors[f"{LAYER}.weight_scale"] = kind, scales
    checks = made.look(made.changed(tmp_path, "int4", tensors), alone=True)
    assert failed(checks) == set()
    assert checks[findings.SCALES].value.startswith("1 of ")


def test_zero_points_that_are_off_by_one_are_seen(made: Maker, tmp_path: Path) -> None:
    """As of a checkpoint of GPTQ's second format that says it is of the first."""
    name = "GPTQ, second format"
    _, tensors = made(name)
    config = {**FORMATS[name].config, "checkpoint_format": "gptq"}
    folder = made.changed(tmp_path / "all", name, tensors)
    rewrite(folder, quantization_config=config)
    checks = made.look(folder)
    # Of all layers: nobody knows what they should be, so it is said.
    assert failed(checks) == set()
    assert checks[findings.WEIGHTS].value == (
        "says nothing: 42 of 43 layers are unlike the baseline's: so it was fine-tuned for long, "
        "or is packed in another way than it says"
    )
    # Of one block.
    for key, (kind, zeros) in tensors.items():
        if key.endswith(".qzeros") and "layers.3." not in key:
            tensors[key] = kind, zeros - np.int32(0x11111111)
    folder = made.changed(tmp_path / "some", name, tensors)
    rewrite(folder, quantization_config=config)
    checks = made.look(folder)
    assert failed(checks) == {findings.WEIGHTS}
    assert "model.layers.3.mlp.down_proj (9" in checks[findings.WEIGHTS].value
    assert "and 4 more" in checks[findings.WEIGHTS].value


@pytest.mark.parametrize(
    ("name", "field", "value", "said"),
    [
        ("AWQ", "group_size", 64, "groups of 128, not 64"),
        ("AWQ", "quant_method", "gptq", "packed as AWQ"),
        ("GPTQ", "quant_method", "awq", "packed as GPTQ"),
        ("GPTQ", "bits", 8, "4 bits, not 8"),
        ("GPTQ, one scale a row", "group_size", 128, "groups of None, not 128"),
        ("GPTQ", "group_size", -1, "groups of 128, not one scale a row"),
    ],
)
def test_layers_that_are_not_what_the_configuration_says_are_seen(
    name: str, field: str, value: Any, said: str, made: Maker, tmp_path: Path
) -> None:
    folder = made.changed(tmp_path, name, made(name)[1])
    rewrite(folder, quantization_config={**FORMATS[name].config, field: value})
    checks = made.look(folder)
    assert failed(checks) == {findings.SHAPES}
    assert said in checks[findings.SHAPES].value


@pytest.mark.parametrize("name", ["GPTQ", "int4", "FP8, one scale", "bitsandbytes"])
def test_nothing_quantized_is_seen(name: str, made: Maker, tmp_path: Path) -> None:
    folder = write(made.model, tmp_path / "made", FORMATS[name])
    (folder / "model.safetensors").write_bytes(made.weights.read_bytes())
    checks = made.look(folder)
    assert failed(checks) == {findings.COMPLETE}
    assert "no layer is quantized" in checks[findings.COMPLETE].value
    assert "0 of 42 linear layers" in checks[findings.SHARE].value


def test_layers_that_are_left_are_said(made: Maker, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    _, tensors = made("int4")
    original = load_file(made.weights)
    for number in range(6):
        layer = f"model.layers.{number}.mlp.down_proj"
        tensors = {key: value for key, value in tensors.items() if not key.startswith(layer)}
        tensors[f"{layer}.weight"] = "F16", original[f"{layer}.weight"].astype(np.float16)
    folder = made.changed(tmp_path, "int4", tensors)
    checks = made.look(folder)
    assert failed(checks) == set()
    assert checks[findings.SHARE].value.startswith("36 of 42 linear layers, ")
    assert "left: model.layers.*.mlp.down_proj (6); the configuration does not name 6 of them" in (
        checks[findings.SHARE].value
    )
    config = {**FORMATS["int4"].config, "ignore": ["re:.*down_proj$", "lm_head"]}
    rewrite(folder, quantization_config=config)
    assert "does not name" not in made.look(folder)[findings.SHARE].value


def test_a_missing_block_is_seen_without_a_baseline(made: Maker, tmp_path: Path) -> None:
    _, tensors = made("GPTQ")
    tensors = {key: v for key, v in tensors.items() if not key.startswith("model.layers.5.")}
    checks = made.look(made.changed(tmp_path, "GPTQ", tensors), alone=True)
    assert checks[findings.COMPLETE].value == "model.layers.5"


def test_a_missing_shard_is_seen(made: Maker, tmp_path: Path) -> None:
    _, tensors = made("FP8 in blocks")
    folder = made.changed(tmp_path, "FP8 in blocks", tensors)
    (folder / "model.safetensors").unlink()
    first = {key: value for key, value in tensors.items() if "layers.5" not in key}
    save(first, folder / "model-00001-of-00002.safetensors")
    names = {key: f"model-0000{1 if key in first else 2}-of-00002.safetensors" for key in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (check,) = made.look(folder).values()
    assert not check.ok
    assert "model-00002-of-00002.safetensors is missing" in check.value


def test_pickles_are_not_opened(made: Maker, tmp_path: Path) -> None:
    folder = made.changed(tmp_path, "GPTQ", made("GPTQ")[1])
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (check,) = made.look(folder).values()
    assert check.ok
    assert check.value == "not looked at: they are pickles"


def test_one_of_another_model_is_no_fault_and_is_said(made: Maker, tmp_path: Path) -> None:
    """All weights are unlike: that proves no damage, for nothing says what they should be."""
    draw = np.random.default_rng(0)
    original = made.weights
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    write_tensors(made.model, other, FORMATS["int4"], {})
    config = json.loads((made.model / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config))
    shuffled = {
        name: draw.permutation(one.ravel()).reshape(one.shape)
        for name, one in load_file(original).items()
    }
    save_file(shuffled, other / "model.safetensors")
    folder = write(other, tmp_path / "made", FORMATS["int4"])
    checks = made.look(folder)
    assert failed(checks) == set()
    assert checks[findings.WEIGHTS].value.startswith("says nothing: 43 of 43 layers are unlike")
    assert "made from another model" in checks[findings.WEIGHTS].value
    # What was made here has to be the baseline's.
    here = files.look(folder, [made.weights], Silent())
    assert not next(check for check in here if check.name == findings.WEIGHTS).ok


def test_one_that_names_another_base_is_not_stopped_by_its_weights(
    made: Maker, tmp_path: Path
) -> None:
    _, tensors = made("int4")
    for part in ("weight_packed", "weight_scale"):
        one, other = (f"model.layers.{n}.mlp.up_proj.{part}" for n in (1, 4))
        tensors[one], tensors[other] = tensors[other], tensors[one]
    folder = made.changed(tmp_path, "int4", tensors)
    assert failed(made.look(folder)) == {findings.WEIGHTS}
    why = "README.md names a/b as its base model, not c/d"
    checks = made.look(folder, another_base=why)
    assert failed(checks) == set()
    assert checks[findings.WEIGHTS].value.endswith(
        f"2 of 43 layers are unlike the baseline's: {why}"
    )


def test_fine_tuning_is_no_fault_of_eight_bits_and_is_seen(made: Maker, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    draw = np.random.default_rng(0)
    tuned = tmp_path / "tuned"
    write_tensors(made.model, tuned, FORMATS["int4"], {})
    (tuned / "config.json").write_text((made.model / "config.json").read_text())
    weights = {
        name: (one + 0.1 * one.std() * draw.standard_normal(one.shape)).astype(np.float16)
        for name, one in load_file(made.weights).items()
    }
    save_file(weights, tuned / "model.safetensors")
    checks = made.look(write(tuned, tmp_path / "made", FORMATS["FP8, one scale a row"]))
    assert failed(checks) == set()
    assert "weights were changed before they were rounded" in checks[findings.WEIGHTS].value
    # Beside its own original there is nothing of that.
    own = files.look(tmp_path / "made", [tuned / "model.safetensors"], Silent(), ready_made=True)
    assert "were changed" not in next(one.value for one in own if one.name == findings.WEIGHTS)


def test_rotated_weights_are_compared_with_nothing(made: Maker, tmp_path: Path) -> None:
    _, tensors = made("int4")
    for key, (kind, array) in tensors.items():
        if key.endswith("weight_packed") and "layers.1." in key:
            tensors[key] = kind, np.roll(array, 1, axis=0)
    folder = made.changed(tmp_path, "int4", tensors)
    assert failed(made.look(folder)) == {findings.WEIGHTS}
    rotation = {"config_groups": {"R1": {"type": "hadamard", "apply": []}}}
    config = {**FORMATS["int4"].config, "transform_config": rotation}
    rewrite(folder, quantization_config=config)
    checks = made.look(folder)
    assert failed(checks) == set()
    assert "weights were rotated" in checks[findings.WEIGHTS].value


def test_two_quantized_checkpoints_are_compared_with_each_other(made: Maker) -> None:
    baseline = made("FP8 in blocks")[0] / "model.safetensors"
    checks = files.look(made("GPTQ")[0], [baseline], Silent(), ready_made=True)
    (weights,) = [check for check in checks if check.name == findings.WEIGHTS]
    assert weights.ok
    assert "of signs" in weights.value


def test_one_that_is_not_quantized_is_looked_at_too(made: Maker) -> None:
    checks = made.look(made.model)
    assert list(checks) == [findings.FINITE, findings.SHAPES, findings.COMPLETE, findings.WEIGHTS]
    assert failed(checks) == set()
    assert checks[findings.SHAPES].value == "not quantized"
    assert "100.0% of signs, 1.00 to 1.00 of the size, error at most 0" in (
        checks[findings.WEIGHTS].value
    )


def test_one_of_another_architecture_needs_none_of_the_baselines_tensors(
    made: Maker, tmp_path: Path
) -> None:
    tiny_model.write(tmp_path / "tiny", hidden=192, architectures=["OtherForCausalLM"])
    checks = made.look(tmp_path / "tiny")
    assert failed(checks) == set()
    assert "every block has what the others have" in checks[findings.COMPLETE].value
    assert "the baseline is of another architecture, Qwen2ForCausalLM" in (
        checks[findings.WEIGHTS].value
    )


def test_an_unknown_method_is_looked_at_as_far_as_it_goes(made: Maker, tmp_path: Path) -> None:
    tensors = {
        key.replace(".weight_packed", ".W_q").replace(".weight_scale", ".scale"): value
        for key, value in made("int4")[1].items()
    }
    folder = made.changed(tmp_path, "int4", tensors)
    config = {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}
    rewrite(folder, quantization_config=config)
    checks = made.look(folder)
    assert failed(checks) == set()
    assert checks[findings.SHAPES].value == "42 layers of hqq, not decoded here"
    assert "42 of 42 linear layers" in checks[findings.SHARE].value


def test_who_has_a_broken_one_gets_it_again(made: Maker, tmp_path: Path) -> None:
    _, tensors = made("GPTQ")
    for key in [key for key in tensors if key.endswith(".scales")]:
        tensors[key] = "F16", tensors[key][1] * 0
    checks = made.look(made.changed(tmp_path, "GPTQ", tensors))
    with pytest.raises(BrokenCheckpoint) as caught:
        stop_if_broken([*checks.values()], as_it_came({"quant_method": "gptq"}), Silent())
    assert "download or copy it again" in caught.value.remedy
    assert "Remove" not in caught.value.remedy
    made_here = as_it_came({"quant_method": "awq"}).model_copy(
        update={"made": Made.model_construct()}
    )
    with pytest.raises(BrokenCheckpoint) as caught:
        stop_if_broken([*checks.values()], made_here, Silent())
    assert "Remove /users/own, so that it is quantized again" in caught.value.remedy


AWQ = {"quant_method": "awq"}
OWN_WEIGHTS, TRAINED, DAMAGED = "baseline's own weights", "trained to answer otherwise", "damaged"
SERVING_BACK, AGAIN = "serving back to the baseline's", "download or copy it again"


@pytest.mark.parametrize(
    ("name", "config", "baseline", "cause", "remedy"),
    [
        (served.AGREEMENT, None, "d", OWN_WEIGHTS, SERVING_BACK),
        (served.LOOPS, None, "d", OWN_WEIGHTS, SERVING_BACK),
        (served.EMPTY, AWQ, "d", OWN_WEIGHTS, SERVING_BACK),
        (findings.FINITE, AWQ, "d", DAMAGED, AGAIN),
        (served.AGREEMENT, None, "another", TRAINED, AGAIN),
        (served.ENDLESS, None, "another", TRAINED, AGAIN),
        (served.LOOPS, AWQ, "another", DAMAGED, AGAIN),
    ],
)
def test_cause_and_remedy_are_about_what_differs_from_the_baseline(
    name: str, config: dict[str, Any] | None, baseline: str, cause: str, remedy: str
) -> None:
    check = Check(name=name, value="3", wanted="0", ok=False)
    with pytest.raises(BrokenCheckpoint) as caught:
        stop_if_broken([check], as_it_came(config), Silent(), baseline=baseline)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy
    assert "Remove" not in caught.value.remedy
    assert "calibrated on" not in caught.value.cause
    plain = config is None or baseline == "d"
    what = "The candidate served from" if plain else "The quantized checkpoint"
    assert caught.value.fact.startswith(f"{what} /users/own is not worth")


def as_it_came(config: dict[str, Any] | None) -> Checkpoint:
    return checkpoint_at(Path("/users/own")).model_copy(update={"quantization_config": config})


def is_scale(name: str) -> bool:
    return name.endswith((".scales", ".weight_scale", ".weight_scale_inv", ".absmax"))


def rewrite(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
