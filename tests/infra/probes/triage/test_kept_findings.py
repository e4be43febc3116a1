"""What was found of a candidate is found again only beside the same baseline and prompts."""

from __future__ import annotations

import shutil
from pathlib import Path

from infra.contracts.records import Triage
from infra.contracts.specs import BASELINE
from infra.probes.triage import Look
from infra.store.content import write_atomically
from infra.store.run_folder import RunFolder
from tests.broken_checkpoints import SAMPLE
from tests.infra.probes.subjects import checkpoint_at, result_of, subject_of
from tests.infra.probes.triage.conftest import CANDIDATE, CONVERSATIONS, make_spec

FOUND = Triage(checks=(), agreement=0.95, seconds=1.0)


def test_findings_go_by_the_baseline_the_prompts_and_their_conversations(tmp_path: Path) -> None:
    talks = Path(shutil.copy(CONVERSATIONS, tmp_path / "talks.jsonl"))

    def look(baseline: str = "one", prompts: int = 32, least: float = 0.7) -> Look:
        spec = make_spec(talks, prompts=prompts, min_agreement=least)
        beside = subject_of(spec, checkpoint_at(SAMPLE), tmp_path, BASELINE, conditions=(baseline,))
        candidate = subject_of(spec, checkpoint_at(SAMPLE, "quantized"), tmp_path, CANDIDATE)
        return Look(candidate, baseline=result_of(beside))

    write_atomically(look()._kept, FOUND.model_dump_json())
    assert look().found() == FOUND
    assert look(least=0.5).found() is not None  # judged anew by this run's bound
    assert look(baseline="another").found() is None
    assert look(prompts=16).found() is None
    talks.write_text(talks.read_text().replace("lamps", "pears"))
    assert look().found() is None


def test_where_nobody_can_tell_the_conversations_findings_are_of_one_run(tmp_path: Path) -> None:
    def look(run: str) -> Look:
        spec = make_spec(tmp_path / "missing.jsonl")
        one = RunFolder(id=run, path=tmp_path / run)
        beside = result_of(subject_of(spec, checkpoint_at(SAMPLE), tmp_path, BASELINE, run=one))
        made = checkpoint_at(SAMPLE, "quantized")
        return Look(subject_of(spec, made, tmp_path, CANDIDATE, run=one), baseline=beside)

    write_atomically(look("first")._kept, FOUND.model_dump_json())
    assert look("first").found() == FOUND
    assert look("second").found() is None
