from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from infra.housekeeping.plan import Plan
from infra.machine import lease_records, process_trees
from infra.machine.environments import current
from infra.machine.process_trees import Identity
from infra.store.runs_identity import FILE, identify, identity_of
from infra.store.shared import BROUGHT
from tests.infra.housekeeping.made_store import Made, disk_use, reasons


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def goes(plan: Plan) -> set[str]:
    return set(reasons(plan, free=True))


def test_runs_go_that_are_old_and_not_among_the_newest_of_their_label(made: Made) -> None:
    nightly = [made.run("nightly", days=days) for days in (1, 40, 50, 60)]
    seldom = made.run("seldom", days=300)
    plan = made.plan(keep_days=30, keep_runs=2)
    assert goes(plan) == {nightly[2].name, nightly[3].name}
    kept = reasons(plan, free=False)
    assert kept[nightly[0].name] == "used within 30 days"
    assert kept[nightly[1].name] == "among the newest 2 of its label"
    assert kept[seldom.name] == "among the newest 2 of its label"
    assert plan.bytes == disk_use(nightly[2], nightly[3])


def test_labels_are_kept_or_asked_for(made: Made) -> None:
    release, nightly = made.run("release", days=99), made.run("nightly", days=99)
    assert goes(made.plan(keep_runs=0, keep_labels=frozenset(["release"]))) == {nightly.name}
    assert goes(made.plan(keep_runs=0, labels=frozenset(["release"]))) == {release.name}


def test_what_has_no_report_goes_by_its_age_alone(made: Made) -> None:
    made.run(days=99)
    old, recent = made.run(days=98, finished=False), made.run(days=98, finished=False)
    (recent / "logs" / "retried.log").write_text("a moment ago")
    assert goes(made.plan(keep_runs=5)) == {old.name}


def test_what_a_matrix_shows_and_what_a_run_is_held_against_stays(made: Made) -> None:
    cell, base, lost = made.run("a", days=99), made.run("b", days=98), made.run("c", days=97)
    endpoint = made.run("d", days=1, baseline=str(base))
    table = made.runs / "family-matrix" / "matrix.json"
    table.parent.mkdir()
    table.write_text(json.dumps({"rows": [{"report": f"{cell.name}/report.html"}]}))
    plan = made.plan(keep_runs=0)
    assert goes(plan) == {lost.name}
    kept = reasons(plan, free=False)
    assert kept[cell.name] == "shown by family-matrix"
    assert kept[base.name] == "another run is held against it"
    assert kept[endpoint.name] == "used within 30 days"


def test_it_does_not_matter_where_the_earlier_run_was_named_from(made: Made) -> None:
    bases = [made.run("b", days=99), made.run("c", days=99)]
    made.run("d", days=1, baseline=f"runs/{bases[0].name}")
    made.run("e", days=1, baseline=f"{made.runs}/../runs/{bases[1].name}/")
    assert goes(made.plan(keep_runs=0)) == set()


def test_what_is_no_run_is_never_looked_at(made: Made) -> None:
    run = made.run(days=99)
    (made.runs / "notes").mkdir()
    (made.runs / "history.sqlite").write_bytes(b"x")
    (made.runs / "mine-20260101-000000-0123abcd").mkdir()  # without a spec
    (made.runs / "linked-20260101-000000-0123abcd").symlink_to(run)
    assert {item.path.name for item in made.plan(keep_runs=0).items} == {run.name}


def test_the_store_keeps_what_kept_runs_used_and_nothing_else(made: Made) -> None:
    kept, lost = made.run(days=1), made.run(days=99)
    for name in ("scores/both", "scores/kept", "scores/lost", "scores/never"):
        made.entry(name, days=99)
    made.entry("scores/young", days=2)
    made.used(kept, "scores/kept/gsm8k", "scores/both")
    made.used(lost, "scores/lost", "scores/both", days=99)
    plan = made.plan(keep_runs=1)
    listed = next(item.path.name for item in plan.freed if item.kind == "uses")
    assert goes(plan) == {lost.name, "lost", "never", listed}
    kept_why = reasons(plan, free=False)
    assert kept_why["both"] == kept_why["kept"] == "a kept run used it"
    assert kept_why["young"] == "used within 30 days"


def test_a_run_whose_folder_is_gone_needs_nothing_unless_others_may_see_it(
    made: Made, tmp_path: Path
) -> None:
    run = tmp_path / "removed" / "run"
    for name in ("here", "there", "unknown"):
        made.entry(f"scores/{name}", days=99)
    made.used(run, "scores/here", folder="0a", days=99)
    made.used(run, "scores/there", folder="0a", view="another", days=99)
    made.used(run, "scores/unknown", folder="", days=99)
    plan = made.plan()
    assert "here" in goes(plan)
    assert reasons(plan, free=False)["there"] == "a kept run used it"
    assert reasons(plan, free=False)["unknown"] == "a kept run used it"


def test_runs_of_another_machine_at_the_same_path_keep_what_they_used(made: Made) -> None:
    mine = made.run(days=99)
    theirs = made.runs / "sample-20260101-000000-0123abcd"
    for name in ("mine", "theirs", "earlier"):
        made.entry(f"scores/{name}", days=99)
    made.used(mine, "scores/mine", days=99)
    made.used(theirs, "scores/theirs", folder="0a", view="another", days=99)
    # A machine with the name of this one, whose version said nothing of folders.
    made.used(theirs, "scores/earlier", folder="", view="", days=99)
    plan = made.plan(keep_runs=0)
    assert {"mine", mine.name} <= goes(plan)
    kept = reasons(plan, free=False)
    assert kept["theirs"] == kept["earlier"] == "a kept run used it"


def test_a_folder_that_several_see_is_the_same_to_all(made: Made, tmp_path: Path) -> None:
    """Over NFS, at whatever path each has mounted it."""
    kept, gone = made.run(days=1), "sample-20260101-000000-0123abcd"
    for name in ("kept", "gone"):
        made.entry(f"scores/{name}", days=99)
    folder = identity_of(made.runs)
    for run, name in ((kept.name, "kept"), (gone, "gone")):
        path = tmp_path / "mounted" / run
        made.used(path, f"scores/{name}", folder=folder, view="another", days=99)
    plan = made.plan()
    assert "gone" in goes(plan) and "kept" not in goes(plan)


def test_lists_of_versions_that_named_no_folder_go_with_runs_that_lie_here(made: Made) -> None:
    lost = made.run(days=99)
    made.entry("scores/lost", days=99)
    listed = made.used(lost, "scores/lost", folder="", view="", days=99)
    assert goes(made.plan(keep_runs=0)) == {lost.name, "lost", listed.name}


def test_a_run_that_lies_elsewhere_keeps_what_it_used(made: Made, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    identify(elsewhere)
    (elsewhere / "run").mkdir()
    made.entry("scores/there", days=99)
    listed = made.used(elsewhere / "run", "scores/there", days=99)
    assert goes(made.plan()) == set()
    (elsewhere / "run").rmdir()
    assert goes(made.plan()) == {"there", listed.name}


@pytest.mark.parametrize("now", [None, "another", "damaged"])
def test_a_run_that_lies_elsewhere_needs_no_identity(
    made: Made, tmp_path: Path, now: str | None
) -> None:
    """A folder that was restored from a copy, which leaves the file with it out."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "run").mkdir(parents=True)
    made.entry("scores/there", days=99)
    made.used(elsewhere / "run", "scores/there", folder="0a", days=99)
    if now == "another":
        identify(elsewhere)
    if now == "damaged":
        (elsewhere / FILE).write_text("{")
    assert goes(made.plan()) == set()


def test_a_run_without_a_list_keeps_what_was_made_before_its_end(made: Made) -> None:
    """Runs of versions that wrote no lists."""
    run = made.run(days=50)
    served = made.entry("checkpoints/served", days=60)
    made.entry("checkpoints/orphaned", days=60)
    made.entry("scores/before", days=60)
    made.entry("scores/after", days=40)
    arms = {"baseline": {"checkpoint": {"path": str(served)}}}
    (run / "report.json").write_text(json.dumps({"arms": arms}))
    os.utime(run / "report.json", (run.stat().st_mtime,) * 2)
    plan = made.plan(keep_runs=1)
    assert goes(plan) == {"orphaned", "after"}
    assert reasons(plan, free=False)["before"] == "may be of a kept run that has no list"


def test_a_run_that_was_brought_from_elsewhere_used_nothing_here(made: Made) -> None:
    run = made.run(days=50)
    made.entry("scores/before", days=60)
    assert goes(made.plan(keep_runs=1)) == set()
    (run / BROUGHT).touch()
    assert goes(made.plan(keep_runs=1)) == {"before"}
    # It ran here as well: its list in the store tells of it.
    made.used(run, "scores/before", days=50)
    assert goes(made.plan(keep_runs=1)) == set()


def test_environments_stay_by_their_lock(made: Made) -> None:
    today = sorted(current())[0]
    made.entry(f"environments/{today}", days=99)
    made.entry("environments/vllm-cpu-0123456789abcdef", days=99)
    made.entry("environments/awq-cpu-0123456789abcdef", days=99)
    linked = made.entry("environments/server-cpu-0123456789abcdef", days=99)
    (made.cache / "environments" / "gguf-cpu-1").symlink_to(linked)
    # An older checkout works with it.
    made.used(made.run(days=2), "environments/awq-cpu-0123456789abcdef", days=2)
    plan = made.plan()
    assert goes(plan) == {"vllm-cpu-0123456789abcdef"}
    assert reasons(plan, free=False)[today] == "its lock is the current one"
    assert reasons(plan, free=False)[linked.name] == "a link in the store leads to it"


def test_kinds_that_were_not_asked_for_stay(made: Made) -> None:
    made.run(days=99)
    made.entry("scores/a", days=99)
    made.entry("checkpoints/b", days=99)
    plan = made.plan(keep_runs=0, kinds=frozenset(["checkpoints"]))
    assert goes(plan) == {"b"}


def lease(made: Made, *, driver: Identity, boot: str = "", command: tuple[str, ...] = ()) -> Path:
    record = lease_records.LeaseRecord(
        mark="0a1b", what="run sample-1, baseline", started=datetime.now().astimezone(),
        boot=boot or process_trees.boot_id(), namespace=process_trees.namespace(),
        driver=driver, slots=("cpu-0",), command=command,
    )  # fmt: skip
    path = made.settings.leases / "0a1b.json"
    lease_records.write(path, record)
    return path


def test_what_an_engine_serves_now_stays(made: Made) -> None:
    served = made.entry("checkpoints/served", days=99)
    mine = Identity.of(os.getpid())
    assert mine is not None
    lease(made, driver=mine, command=("vllm", "serve", str(served)))
    plan = made.plan()
    assert goes(plan) == set()
    assert reasons(plan, free=False)["served"] == "in use now"


def test_leases_of_runs_that_are_gone_go(made: Made) -> None:
    assert not psutil.pid_exists(2**22 + 1)
    path = lease(made, driver=Identity(pid=2**22 + 1, started=1.0))
    assert goes(made.plan()) == {path.name}
    path = lease(made, driver=Identity(pid=os.getpid(), started=1.0), boot="another")
    assert goes(made.plan()) == {path.name}
