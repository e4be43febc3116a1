"""What is packed comes out as it was meant, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.records import QuantizationScheme
from infra.models import quantization
from infra.probes.triage import packing
from infra.probes.triage.packing.words import unpack, words_for
from infra.probes.triage.tensors import Tensor, tensors_of
from tests.quantized_checkpoints import FORMATS, Format, in_words, raw, save

DECODED = {name: form for name, form in FORMATS.items() if form.decoded}
ROWS = np.array([0, 1, 7, 8, 9, 40, 126, 127])


def weight(outputs: int = 128, inputs: int = 256) -> Any:
    return np.random.default_rng(1).standard_normal((outputs, inputs)).astype(np.float32) * 0.05


def parts_of(form: Format, folder: Path, **changed: Any) -> tuple[dict[str, Tensor], Any]:
    parts, meant = form.layer(weight())
    written = {
        name: raw(value) for name, value in {**parts, **changed}.items() if value is not None
    }
    save(written, folder / "m.safetensors")
    return tensors_of([folder / "m.safetensors"]), meant


def scheme_of(form: Format, folder: Path) -> tuple[QuantizationScheme, str | None]:
    (folder / "config.json").write_text(json.dumps({"quantization_config": form.config}))
    found = quantization.of(folder)
    assert found is not None
    return found.schemes[0], found.format


@pytest.mark.parametrize("name", DECODED)
def test_weights_are_what_was_packed(name: str, tmp_path: Path) -> None:
    form = DECODED[name]
    parts, meant = parts_of(form, tmp_path)
    scheme, written = scheme_of(form, tmp_path)
    read = packing.read(parts, scheme, written)
    assert read is not None
    assert (read.shape.outputs, read.shape.inputs) == meant.shape
    assert read.shape.bits == scheme.bits
    if scheme.per == "group":
        assert read.shape.group == scheme.group_size
    sample = read.sample(ROWS)
    assert sample.values == pytest.approx(meant[ROWS], rel=1e-6, abs=1e-9)
    # The step is the distance to the next level: rounding is off by half of it at most.
    off = np.abs(sample.values - weight()[ROWS])
    inner = np.abs(sample.values) < 0.9 * np.abs(weight()).max()
    assert (off <= 0.51 * sample.steps + 1e-6)[inner].mean() > 0.99
    assert off.mean() > 0.1 * np.mean(sample.steps)


@pytest.mark.parametrize("name", DECODED)
def test_it_is_found_without_help_of_the_configuration(name: str, tmp_path: Path) -> None:
    parts, meant = parts_of(DECODED[name], tmp_path)
    read = packing.read(parts, QuantizationScheme(), None)
    assert read is not None
    assert (read.shape.outputs, read.shape.inputs) == meant.shape


@pytest.mark.parametrize("name", DECODED)
def test_a_part_that_is_missing_or_of_another_shape_fits_nothing(name: str, tmp_path: Path) -> None:
    form = DECODED[name]
    scheme, written = scheme_of(form, tmp_path)
    optional = {"g_idx", "weight_shape", "weight_global_scale", "weight_scale_2",
                "weight_zero_point", "weight_g_idx"}  # fmt: skip
    for part, value in form.layer(weight())[0].items():
        kind, array = raw(value)
        if part not in optional:
            parts, _ = parts_of(form, tmp_path, **{part: None})
            assert packing.read(parts, scheme, written) is None, part
        if np.ndim(array) == 2 and array.shape[0] > 2:
            parts, _ = parts_of(form, tmp_path, **{part: (kind, array[:-1])})
            found = packing.read(parts, scheme, written)
            assert found is None or found.shape.outputs != 128, part


def test_an_order_that_names_no_group_fits_nothing(tmp_path: Path) -> None:
    form = FORMATS["GPTQ in another order"]
    scheme, written = scheme_of(form, tmp_path)
    order = form.layer(weight())[0]["g_idx"].copy()  # type: ignore[union-attr]
    order[3] = 2
    parts, _ = parts_of(form, tmp_path, g_idx=order)
    assert packing.read(parts, scheme, written) is None


def test_zeros_of_the_first_format_are_off_by_one_in_the_second(tmp_path: Path) -> None:
    form = FORMATS["GPTQ with zero points"]
    parts, meant = parts_of(form, tmp_path)
    scheme, _ = scheme_of(form, tmp_path)
    read = packing.read(parts, scheme, "gptq_v2")
    assert read is not None
    sample = read.sample(ROWS)
    assert sample.values - sample.steps == pytest.approx(meant[ROWS], rel=1e-4, abs=1e-6)


def test_zeros_in_the_middle_are_not_looked_up(tmp_path: Path) -> None:
    form = FORMATS["GPTQ"]
    scheme, written = scheme_of(form, tmp_path)
    zeros = np.zeros_like(form.layer(weight())[0]["qzeros"])
    parts, meant = parts_of(form, tmp_path, qzeros=zeros)
    read = packing.read(parts, scheme, written)
    assert read is not None
    assert read.sample(ROWS).values == pytest.approx(meant[ROWS], rel=1e-6)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_levels_of_any_width_come_out_of_their_words(bits: int, dense: bool) -> None:
    levels = np.random.default_rng(bits).integers(0, 2**bits, (3, 70))
    words = in_words(levels, bits, dense=dense)
    assert words.shape[1] == words_for(70, bits, dense=dense)
    assert unpack(words, bits, dense=dense)[:, :70].tolist() == levels.tolist()
