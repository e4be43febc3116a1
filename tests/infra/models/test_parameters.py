"""Parameters are counted alike, however they are packed."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.models import quantization
from infra.models.parameters import count
from tests import tiny_model
from tests.quantized_checkpoints import FORMATS, write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "model", layers=2)


@pytest.mark.parametrize("name", FORMATS)
def test_a_checkpoint_has_the_parameters_of_its_model(
    name: str, model: Path, tmp_path: Path
) -> None:
    folder = write(model, tmp_path / "made", FORMATS[name])
    found = count(folder, quantization.of(folder))
    # Three-bit weights in padded words: their number stands in a tensor, which is not read.
    assert found == (None if name == "int3" else count(model, None))
