from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.progress import Silent
from infra.contracts.records import Checkpoint, Triage, Weights
from infra.probes.triage import files, findings, look_at_files
from infra.store.run_folder import RunFolder
from tests.broken_checkpoints import SAMPLE, SPOILERS, spoil
from tests.infra.probes.triage.conftest import CANDIDATE, make_spec
from tests.infra.scoring.checkpoints import write_awq

SPEC = make_spec().evaluation.triage
STOPPED = {
    "scales zeroed": (findings.SCALES, "Scales were zeroed", "1024 of 1024 zero"),
    "NaN in a norm": (findings.FINITE, "float16's range", "layers.3.input_layernorm"),
    "NaN in scales": (findings.FINITE, "float16's range", "layers.2.mlp.up_proj.scales"),
    "layers swapped": (findings.WEIGHTS, "Layers were exchanged", "layers.1.mlp.down_proj"),
    "one huge scale": (findings.SCALES, "Scales were zeroed or damaged", "layers.0.mlp.gate_proj"),
    "scales a hundredfold": (findings.WEIGHTS, "other weights", "layers.5.self_attn.v_proj"),
    "a layer lost": (findings.COMPLETE, "did not save", "layers.2.self_attn.k_proj"),
    "zeros of a layer lost": (findings.SHAPES, "another recipe", "layers.2.self_attn.k_proj"),
    "layers left in 16 bits": (findings.SIZE, "left in sixteen", "4.06 MB"),
    "other groups": (findings.SHAPES, "another recipe", "layers.0.mlp.down_proj"),
    "levels zeroed": (findings.WEIGHTS, "other weights", "layers.0.mlp.up_proj (0% of signs"),
}
"""How it was spoiled → check that fails, cause that is named, what the message names."""


@pytest.mark.engine
def test_a_sound_checkpoint_passes(
    checkpoint: Checkpoint, weights: Weights, run: RunFolder
) -> None:
    look_at_files(CANDIDATE, checkpoint, weights, SPEC, run=run, progress=Silent())
    found = Triage.model_validate_json((run.path / f"triage-files-{CANDIDATE}.json").read_text())
    assert [check.name for check in found.checks] == [
        findings.FINITE, findings.SHAPES, findings.SCALES, findings.SHARE, findings.COMPLETE,
        findings.WEIGHTS, findings.SIZE,
    ]  # fmt: skip
    assert all(check.ok for check in found.checks)
    assert "42 of 42 linear layers, 100.0% of their weights" in found.checks[3].value
    assert "at least 100.0% of signs" in found.checks[5].value


@pytest.mark.engine
@pytest.mark.parametrize("how", SPOILERS)
def test_a_broken_checkpoint_is_stopped_with_the_cause(
    checkpoint: Checkpoint, weights: Weights, run: RunFolder, tmp_path: Path, how: str
) -> None:
    spoiled = checkpoint.model_copy(
        update={"path": spoil(checkpoint.path, tmp_path / "spoiled", how)}
    )
    with pytest.raises(BrokenCheckpoint) as caught:
        look_at_files(CANDIDATE, spoiled, weights, SPEC, run=run, progress=Silent())
    error = pickle.loads(pickle.dumps(caught.value))
    check, cause, named = STOPPED[how]
    assert check in error.checks
    assert cause in error.cause
    assert named in error.fact
    assert str(spoiled.path) in error.remedy
    # What was found is there to be read, the good with the bad.
    kept = Triage.model_validate_json((run.path / f"triage-files-{CANDIDATE}.json").read_text())
    assert len(kept.checks) == 7


@pytest.mark.engine
def test_it_can_be_switched_off(
    checkpoint: Checkpoint, weights: Weights, run: RunFolder, tmp_path: Path
) -> None:
    path = spoil(checkpoint.path, tmp_path / "spoiled", "scales zeroed")
    off = make_spec(enabled=False).evaluation.triage
    spoiled = checkpoint.model_copy(update={"path": path})
    look_at_files(CANDIDATE, spoiled, weights, off, run=run, progress=Silent())
    assert not run.path.exists()


def test_plainly_rounded_weights_pass_too(tmp_path: Path) -> None:
    folder = write_awq(SAMPLE, tmp_path / "awq")
    checks = files.look(folder, SAMPLE.glob("*.safetensors"), Silent())
    assert [check.name for check in checks if not check.ok] == []


def test_a_baseline_of_pickles_leaves_what_needs_no_baseline(tmp_path: Path) -> None:
    folder = write_awq(SAMPLE, tmp_path / "awq")
    checks = files.look(folder, [], Silent())
    assert [check.name for check in checks] == [
        findings.FINITE, findings.SHAPES, findings.SCALES, findings.SHARE, findings.COMPLETE
    ]  # fmt: skip
    assert all(check.ok for check in checks)


def test_names_without_their_prefix_are_found(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = write_awq(SAMPLE, tmp_path / "awq")
    bare = {n.removeprefix("model."): t for n, t in load_file(SAMPLE / "model.safetensors").items()}
    save_file(bare, tmp_path / "baseline.safetensors")
    checks = files.look(folder, [tmp_path / "baseline.safetensors"], Silent())
    assert [check.name for check in checks if not check.ok] == []
    weights = next(check for check in checks if check.name == findings.WEIGHTS)
    assert "100.0%" in weights.value


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = write_awq(SAMPLE, tmp_path / "awq")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    (check,) = files.look(folder, SAMPLE.glob("*.safetensors"), Silent())
    assert not check.ok
    assert str(file) in check.value and "cut off" in check.value


def test_nothing_quantized_is_seen(tmp_path: Path) -> None:
    folder = write_awq(SAMPLE, tmp_path / "awq")
    config = json.loads((folder / "config.json").read_text())
    (folder / "model.safetensors").write_bytes((SAMPLE / "model.safetensors").read_bytes())
    assert config["quantization_config"]["group_size"] == 128
    checks = files.look(folder, SAMPLE.glob("*.safetensors"), Silent())
    failed = {check.name: check.value for check in checks if not check.ok}
    assert set(failed) == {findings.COMPLETE, findings.SIZE}
    assert "no layer is quantized" in failed[findings.COMPLETE]
