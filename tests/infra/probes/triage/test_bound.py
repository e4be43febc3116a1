"""What an earlier run found is held against the bound of this one, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.records import Check, Triage
from infra.contracts.specs import CandidateSpec, RunSpec, ServingChanges
from infra.probes.triage import Look, served
from tests.infra.probes.subjects import checkpoint_at, result_of, subject_of
from tests.infra.probes.triage.conftest import CANDIDATE, make_spec


def look(
    folder: Path, *, spec: RunSpec | None = None, baselines: str = "d", **bounds: object
) -> Look:
    spec = spec or make_spec(**bounds)
    baseline = result_of(subject_of(spec, checkpoint_at(folder, baselines), folder))
    candidate = spec.candidates[0]
    conditions = ["conditions of the candidate"]
    return Look(
        subject_of(spec, checkpoint_at(folder), folder, candidate.name, conditions=conditions),
        baseline=baseline,
    )


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    found = Triage(
        checks=(
            Check(name=served.KERNEL, value="a slow one", wanted="a fast one", ok=False),
            Check(name=served.AGREEMENT, value="0.930 of 900", wanted="at least 0.7", ok=True),
        ),
        agreement=0.93,
        seconds=2.0,
    )
    place = look(tmp_path)._kept
    place.parent.mkdir(parents=True)
    place.write_text(found.model_dump_json())
    return tmp_path


def test_a_raised_bound_is_enforced_on_what_was_found_before(kept: Path) -> None:
    look(kept).require_bound()
    raised = look(kept, min_agreement=0.95)
    with pytest.raises(BrokenCheckpoint) as refused:
        raised.require_bound()
    assert refused.value.checks == (served.AGREEMENT,)
    assert "(wanted: at least 0.95)" in refused.value.fact


def test_what_the_baseline_serves_decides_the_cause(kept: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="the baseline's own weights"):
        look(kept, min_agreement=0.95).require_bound()
    with pytest.raises(BrokenCheckpoint, match="others than the baseline's"):
        look(kept, baselines="another", min_agreement=0.95).require_bound()


def test_conversations_that_are_noise_are_corrected_where_the_run_has_them(tmp_path: Path) -> None:
    noise = Check(name=served.CALIBRATION, value="-13", wanted="-5", ok=False)
    found = Triage(checks=(noise,), agreement=0.9, seconds=2.0).model_dump_json()
    short = make_spec()
    recipe = short.arms[CANDIDATE].quantization
    assert recipe is not None
    own = short.model_copy(update={"conversations": recipe.calibration})
    several = short.model_copy(
        update={"candidates": (*short.candidates, CandidateSpec(
            name="other", serving=ServingChanges(dtype="float16")
        ))}
    )  # fmt: skip
    field = f"candidates.{CANDIDATE}.quantization.calibration"
    for spec, said in (
        (short, "quantization.calibration"),
        (own, "conversations"),
        (several, field),
    ):
        kept = look(tmp_path, spec=spec)._kept
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(found)
        with pytest.raises(BrokenCheckpoint) as caught:
            look(tmp_path, spec=spec).require_bound()
        assert caught.value.remedy.startswith(f"Correct {said}.")


def test_the_report_shows_the_bound_of_the_spec(kept: Path) -> None:
    found = look(kept, min_agreement=0.9).found()
    assert found is not None
    assert found.checks[1].wanted == "at least 0.9"
    assert found.checks[1].ok


def test_without_triage_there_is_no_bound(kept: Path) -> None:
    look(kept, min_agreement=0.95, enabled=False).require_bound()
