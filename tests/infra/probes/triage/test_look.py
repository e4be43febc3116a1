"""The look at real servers: the sample model, its real checkpoint, and that with layers swapped."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.progress import Silent
from infra.contracts.records import Check, Checkpoint, PythonEnvironment, Triage, Weights
from infra.contracts.specs import BASELINE
from infra.engines.live import LiveServer
from infra.models.weights import as_it_came
from infra.probes.subject import Subject
from infra.probes.triage import Look, look_at_files, served
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from tests.broken_checkpoints import spoil, write_garbage
from tests.exactness import served as serve_for_test
from tests.infra.probes.subjects import result_of, subject_of
from tests.infra.probes.triage.conftest import CANDIDATE, make_spec
from tests.shared_servers import Served

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Bench:
    """The servers of one module, and a cache that only it uses."""

    servers: dict[str, LiveServer]
    settings: Settings
    weights: Weights
    checkpoint: Checkpoint
    folder: Path

    def look(
        self, arm: str, run: RunFolder, spec: Any = None, baseline: Any = "as it came"
    ) -> Look:
        def subject(arm: str, checkpoint: Checkpoint, *conditions: object) -> Subject:
            return subject_of(
                spec or make_spec(), checkpoint, self.folder, arm, conditions=conditions,
                run=run, settings=self.settings,
            )  # fmt: skip

        whole = as_it_came(self.weights)
        if arm == BASELINE:
            return Look(subject(arm, whole, baseline), baseline=None)
        return Look(
            subject(arm, self.checkpoint, "candidate", str(run.path)),
            baseline=result_of(subject(BASELINE, whole, baseline)),
        )


@pytest.fixture(scope="module")
def bench(
    weights: Weights,
    checkpoint: Checkpoint,
    server_environment: PythonEnvironment,
    sample_server: Served,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    work = tmp_path_factory.mktemp("triage")
    folders = {
        "sound": checkpoint.path,
        "swapped": spoil(checkpoint.path, work / "swapped", "layers swapped"),
    }
    # Side by side: a start is mostly imports on one core.
    with ExitStack() as stack, ThreadPoolExecutor() as pool:

        def start(name: str) -> LiveServer:
            running = serve_for_test(
                folders[name], "auto", server_environment, work / f"{name}.log", max_model_len=512
            )
            return stack.enter_context(running)

        servers = dict(zip(folders, pool.map(start, folders), strict=True))
        servers["baseline"] = sample_server.server
        found = Bench(servers, Settings(cache=work / "cache"), weights, checkpoint, work)
        garbage = write_garbage(work / "garbage.jsonl", 40)
        for spec in (make_spec(), make_spec(garbage)):
            before = RunFolder(id="baseline", path=work / "baseline-run")
            found.look(BASELINE, before, spec).take(servers["baseline"])
        yield found


def checks_of(triage: Triage | None) -> dict[str, Check]:
    assert triage is not None
    return {check.name: check for check in triage.checks}


def test_a_sound_checkpoint_passes_and_its_record_is_kept(bench: Bench, run: RunFolder) -> None:
    look_at_files(
        CANDIDATE, bench.checkpoint, bench.weights, make_spec().evaluation.triage,
        run=run, progress=Silent(),
    )  # fmt: skip
    look = bench.look(CANDIDATE, run)
    assert look.found() is None
    look.take(bench.servers["sound"])
    triage = look.found()
    checks = checks_of(triage)
    assert triage == Triage.model_validate_json((run.path / f"triage-{CANDIDATE}.json").read_text())
    assert len(checks) == 7 + 6  # of the files, and of the answers
    assert all(check.ok for check in checks.values())
    assert checks[served.KERNEL].value == "CPUWNA16LinearKernel"
    assert "to the baseline" in checks[served.CALIBRATION].value
    print(*checks.values(), sep="\n")
    assert triage is not None
    assert triage.agreement is not None
    assert triage.agreement > 0.9
    # Another run, which asks nothing since all scores are there, still has it.
    assert bench.look(CANDIDATE, run).found() == triage
    assert bench.look(CANDIDATE, run, make_spec(enabled=False)).found() is None
    assert bench.look(BASELINE, run).found() is None


def test_swapped_layers_are_stopped(bench: Bench, run: RunFolder) -> None:
    look = bench.look(CANDIDATE, run)
    with pytest.raises(BrokenCheckpoint) as caught:
        look.take(bench.servers["swapped"])
    print(caught.value)
    assert served.AGREEMENT in caught.value.checks
    assert "loaded layers wrongly or exchanged" in caught.value.cause
    assert look.found() is None  # what was stopped is looked at again
    assert (run.path / f"triage-{CANDIDATE}.json").is_file()


def test_calibration_on_noise_is_stopped(bench: Bench, run: RunFolder) -> None:
    look = bench.look(CANDIDATE, run, make_spec(bench.folder / "garbage.jsonl"))
    with pytest.raises(BrokenCheckpoint) as caught:
        look.take(bench.servers["sound"])
    print(caught.value)
    assert caught.value.checks == (served.CALIBRATION,)
    assert "conversations are noise" in caught.value.cause


def test_answers_to_earlier_prompts_do_as_well(bench: Bench, run: RunFolder) -> None:
    look = bench.look(CANDIDATE, run, make_spec(prompts=8))
    look.take(bench.servers["sound"])
    triage = look.found()
    assert triage is not None
    assert triage.agreement is not None
    assert "to the candidate" in checks_of(triage)[served.CALIBRATION].value


def test_without_the_answers_of_the_baseline_it_says_so(bench: Bench, run: RunFolder) -> None:
    look = bench.look(CANDIDATE, run, make_spec(prompts=8), baseline="never served")
    look.take(bench.servers["sound"])
    triage = look.found()
    assert triage is not None
    assert triage.agreement is None
    assert "not kept" in checks_of(triage)[served.AGREEMENT].value
    assert checks_of(triage)[served.CALIBRATION].ok


def test_switched_off_it_asks_nothing(bench: Bench, run: RunFolder) -> None:
    look = bench.look(CANDIDATE, run, make_spec(enabled=False))
    look.take(bench.servers["swapped"])
    assert look.found() is None
    assert not run.path.exists()


def test_the_baseline_answers_once(bench: Bench, run: RunFolder) -> None:
    kept = sorted(bench.settings.triage.rglob("*.json"))
    times = [path.stat().st_mtime_ns for path in kept]
    bench.look(BASELINE, run).take(bench.servers["baseline"])
    assert [path.stat().st_mtime_ns for path in kept] == times
