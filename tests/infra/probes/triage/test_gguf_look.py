"""What triage finds in a GGUF file, sound and spoilt. The files are written by another program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from infra.contracts.progress import Silent
from infra.contracts.records import Check
from infra.models import gguf_file
from infra.probes.triage import findings, gguf_layers, gguf_look
from infra.probes.triage.layers import layers_of
from infra.probes.triage.tensors import tensors_of
from tests import gguf_files, tiny_model

Numbers = np.ndarray[Any, Any]
DOWN = "blk.1.ffn_down.weight"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "model")


def look(
    path: Path, model: Path | None, *, ready_made: bool = False, **how: Any
) -> dict[str, Check]:
    files = [model / "model.safetensors"] if model else []
    checks = gguf_look.look(path, files, Silent(), ready_made=ready_made, **how)
    return {check.name: check for check in checks}


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if not check.ok}


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_a_sound_file_passes(tmp_path: Path, model: Path, kind: str) -> None:
    checks = look(gguf_files.write(tmp_path / "a.gguf", model, kind), model)
    assert failed(checks) == set()
    assert "all 26 tensors of the baseline" in checks[findings.COMPLETE].value
    assert "of signs" in checks[findings.WEIGHTS].value
    if kind.startswith("Q"):
        assert checks[findings.SHARE].value.startswith("14 of 14 linear layers, ")
        assert checks[findings.SCALES].value == "none zero"


def test_without_a_baseline_blocks_are_compared_with_each_other(
    tmp_path: Path, model: Path
) -> None:
    checks = look(gguf_files.write(tmp_path / "a.gguf", model), None)
    assert failed(checks) == set()
    assert findings.WEIGHTS not in checks
    path = gguf_files.write(
        tmp_path / "b.gguf", model, change=lambda name, values: None if "blk.1." in name else values
    )
    assert look(path, None)[findings.COMPLETE].value == "blk.1"


def test_a_tensor_that_is_missing_is_named(tmp_path: Path, model: Path) -> None:
    path = gguf_files.write(
        tmp_path / "a.gguf", model, change=lambda name, values: None if name == DOWN else values
    )
    checks = look(path, model)
    assert failed(checks) == {findings.COMPLETE}
    assert checks[findings.COMPLETE].value == "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_numbers_that_are_not_finite_are_found(tmp_path: Path, model: Path, kind: str) -> None:
    def spoil(name: str, values: Numbers) -> Numbers:
        if name == DOWN:
            values[5, 7] = np.inf
        return values

    checks = look(gguf_files.write(tmp_path / "a.gguf", model, kind, change=spoil), model)
    assert failed(checks) == {findings.FINITE}
    assert checks[findings.FINITE].value == DOWN


def test_blocks_of_zeros_are_found(tmp_path: Path, model: Path) -> None:
    def spoil(name: str, values: Numbers) -> Numbers:
        if name == DOWN:
            values[:4] = 0
        return values

    checks = look(gguf_files.write(tmp_path / "a.gguf", model, change=spoil), model)
    assert findings.SCALES in failed(checks)
    assert checks[findings.SCALES].value.startswith(f"{DOWN} (32 of ")


def test_a_layer_of_another_model_is_named(tmp_path: Path, model: Path) -> None:
    def spoil(name: str, values: Numbers) -> Numbers:
        return values[::-1].copy() if name == DOWN else values

    path = gguf_files.write(tmp_path / "a.gguf", model, change=spoil)
    checks = look(path, model)
    assert failed(checks) == {findings.WEIGHTS}
    assert checks[findings.WEIGHTS].value.startswith(DOWN)
    why = "it says it was made from another"
    assert failed(look(path, model, ready_made=True, another_base=why)) == set()


def test_rows_that_the_converter_turned_are_the_same_rows(tmp_path: Path) -> None:
    """For some architectures it pairs numbers of a head in another way."""
    model = tiny_model.write(tmp_path / "model", hidden=256)

    def turn(name: str, values: Numbers) -> Numbers:
        heads = {"attn_q": 4, "attn_k": 1}.get(name.split(".")[2] if "blk" in name else "")
        if heads is None or values.ndim < 2:
            return values
        halves = values.reshape(heads, 2, len(values) // heads // 2, -1)
        return halves.swapaxes(1, 2).reshape(values.shape)

    path = gguf_files.write(tmp_path / "a.gguf", model, change=turn)
    checks = look(path, model)
    assert failed(checks) == set()
    file = gguf_file.read(path)
    theirs = layers_of(tensors_of([model / "model.safetensors"]), None).all
    for part, name in (("attn_q", "q_proj"), ("attn_k", "k_proj")):
        layer = theirs[f"model.layers.0.self_attn.{name}"]
        found = gguf_layers.likeness(file, file.tensors[f"blk.0.{part}.weight"], layer)
        assert found is not None and found.same

    def shuffle(name: str, values: Numbers) -> Numbers:
        return values[::-1].copy() if "attn_q" in name else values

    # Any other order is none that is known here: nothing is said of those alone.
    other = look(gguf_files.write(tmp_path / "b.gguf", model, change=shuffle), model)
    assert failed(other) == set()


def test_what_got_another_format_is_said(tmp_path: Path, model: Path) -> None:
    kinds = {DOWN: "Q4_0", "blk.0.ffn_up.weight": "F16"}
    path = gguf_files.write(tmp_path / "a.gguf", model, kinds=lambda name: kinds.get(name, "Q8_0"))
    checks = look(path, model)
    assert failed(checks) == set()
    value = checks[findings.SHARE].value
    assert value.startswith("13 of 14 linear layers, 8.")
    assert "left: blk.0.ffn_up.weight" in value
    assert f"since no block fits their rows: {DOWN} (Q4_0)" in value


def test_a_file_that_ends_too_early_is_said_once(tmp_path: Path, model: Path) -> None:
    path = gguf_files.write(tmp_path / "a.gguf", model)
    path.write_bytes(path.read_bytes()[:3000])
    checks = look(path, model)
    assert failed(checks) == {findings.SHAPES} and len(checks) == 1
    assert "cut off or damaged" in checks[findings.SHAPES].value


def test_an_architecture_that_is_not_known_is_looked_at_alone(tmp_path: Path, model: Path) -> None:
    path = gguf_files.write(tmp_path / "a.gguf", model, architecture="of-tomorrow")
    checks = look(path, model)
    assert failed(checks) == set()
    assert "of-tomorrow is not known here" in checks[findings.WEIGHTS].value


def test_grids_are_those_of_the_package() -> None:
    """Blocks, and where their scales are, by the package's own decoding."""
    for kind, (begin, count) in gguf_layers._SCALES.items():
        number = gguf.GGMLQuantizationType[kind]
        weights, size = gguf.GGML_QUANT_SIZES[number]
        block = np.random.default_rng(1).integers(0, 200, (1, size), dtype=np.uint8)
        scales = np.full(count, 0.01, np.float16).view(np.uint8)
        block[0, begin : begin + 2 * count] = scales
        assert np.isfinite(gguf.quants.dequantize(block, number)).all(), kind
        block[0, begin : begin + 2] = np.array([np.inf], np.float16).view(np.uint8)
        with np.errstate(all="ignore"):
            assert not np.isfinite(gguf.quants.dequantize(block, number)).all(), kind
        assert weights % gguf_layers._GRIDS[kind][0] == 0
        assert re.fullmatch(r"Q\d_[01K]", kind)
