"""Only a PASS of the very files that are here goes to a hub, through the hubs' real clients."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import (
    AssayError,
    GatedRepository,
    HubUnreachable,
    PushRefused,
    ReceiptError,
)
from infra.models.hubs.hub import Repository, Source
from infra.report import receipt
from infra.stages.pushing import Push, plan, push
from infra.store.content import digest_file
from tests.infra.report.receipt.conftest import seal
from tests.infra.stages.passed_run import SECRET, hub, judged
from tests.stub_hub import Repo, StubHub

__all__ = ["hub"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=.*:DeprecationWarning"  # Hugging Face's client, of its own way to httpx
)

NAMES = {
    "README.md", "assay/receipt.json", "assay/verdict.json", "config.json", "model.safetensors",
}  # fmt: skip
SOURCES: dict[str, Source] = {"huggingface": "huggingface", "modelscope": "modelscope"}


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, what: str, done: int, total: int | None, unit: str = "") -> None:
        pass


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sample-1"
    folder.mkdir()
    assert judged(folder, margin=20).verdict.status == "PASS"
    return folder


@pytest.fixture(scope="module")
def once(original: Path) -> Push:
    return plan(original, "hf:org/model-awq")


@pytest.fixture
def planned(once: Push, source: str) -> Push:
    """Return what is about to be pushed, for tests of how it goes."""
    return replace(once, repository=Repository(SOURCES[source], "model", "org/model-awq"))


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "sample-1"))


@pytest.fixture
def checkpoint(original: Path) -> Iterator[Path]:
    """Return the candidate's folder, and put it back as it was."""
    folder = original.parent / "quantized-checkpoint"
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    folder.mkdir(exist_ok=True)
    for path in folder.rglob("*"):
        if path not in kept:
            path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.fixture(params=[*SOURCES])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_passed_arrives_whole_with_its_card_and_its_receipt(
    planned: Push, original: Path, checkpoint: Path, hub: StubHub
) -> None:
    listener, run = Listener(), original
    address = push(planned, listener)
    repo = hub.repos["models/org/model-awq"]
    assert set(repo.files) == NAMES | {".gitattributes"}
    assert [(name, files) for name, _, files in hub.written.commits] == [
        ("org/model-awq", sorted(NAMES))
    ]  # one commit: nobody sees a half
    assert repo.files["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes()
    assert repo.files["README.md"] == (run / "model-card.md").read_bytes()
    sealed = json.loads(repo.files["assay/receipt.json"])
    assert sealed["seal"] == receipt.seal_of(run)
    assert {file["name"]: file["sha256"] for file in sealed["files"]} == {
        name: digest_file(checkpoint / name).sha256 for name in ("config.json", "model.safetensors")
    }
    verdict = json.loads(repo.files["assay/verdict.json"])
    assert (verdict["status"], [one["name"] for one in verdict["candidates"]]) == (
        "PASS", ["quantized"],
    )  # fmt: skip
    assert verdict["candidates"][0]["checkpoint_sha256"] == sealed["checkpoint_sha256"]
    assert address.startswith(hub.url) and address.endswith("org/model-awq")
    assert hub.written.visibility["org/model-awq"] in (True, "private", 1)
    assert hub.written.tokens == {SECRET}
    assert SECRET not in "".join(listener.said) and SECRET not in "".join(hub.requests)


@pytest.mark.parametrize("to", ["hf:org/model-awq", "ms:org/model-awq"])
def test_a_dry_run_sends_nothing_and_says_everything(original: Path, hub: StubHub, to: str) -> None:
    said = plan(original, to).table()
    assert hub.requests == []
    assert all(name in said for name in NAMES)
    assert "PASS" in said and "org/model-awq" in said and "5 files" in said


def test_pushing_again_changes_what_changed(planned: Push, hub: StubHub) -> None:
    push(planned, Listener())
    push(planned, Listener())
    assert set(hub.repos["models/org/model-awq"].files) == NAMES | {".gitattributes"}


def refused(
    kind: type[AssayError], match: str, path: Path, to: str = "hf:org/m", **given: Any
) -> None:
    with pytest.raises(kind, match=match) as error:
        plan(path, to, **given)
    assert error.value.remedy


@pytest.mark.parametrize(("kept", "status"), [(0.97, "INCONCLUSIVE"), (0.6, "FAIL")])
def test_what_did_not_pass_stays_here(tmp_path: Path, kept: float, status: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    assert judged(folder, margin=1.0, kept=kept).verdict.status == status
    refused(PushRefused, f"did not pass: {status}", folder)


def test_a_verdict_that_was_turned_stays_here(tmp_path: Path, hub: StubHub) -> None:
    """Also where everything was sealed again: the verdict is made once more from the rows."""
    folder = tmp_path / "run"
    folder.mkdir()
    report = judged(folder, margin=1.0)
    turned = report.verdict.model_copy(update={"status": "PASS", "headline": "PASS: good."})
    one = report.judged["quantized"].model_copy(update={"verdict": turned})
    forged = report.model_copy(update={"judged": {"quantized": one}, "verdict": turned})
    seal(forged, folder)
    refused(PushRefused, "does not hold: .*verdict", folder)
    assert hub.requests == []


def test_a_run_that_was_touched_stays_here(run: Path) -> None:
    path = run / "samples" / "quantized" / "gsm8k.jsonl"
    path.write_text(path.read_text().replace("1.0", "0.0", 1))
    refused(PushRefused, "does not hold", run)
    (run / "report.json").unlink()
    refused(ReceiptError, "cannot be read", run)


@pytest.mark.parametrize("size", ["same", "longer"])
def test_a_checkpoint_that_was_changed_since_stays_here(
    run: Path, checkpoint: Path, size: str
) -> None:
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content + b"!" * (size == "longer"))
    refused(PushRefused, r"is not what was evaluated|does not hold", run)
    weights.unlink()
    refused(PushRefused, "does not hold|is not what was evaluated", run)
    shutil.rmtree(checkpoint)
    refused(PushRefused, "is not in .* any more", run)


def test_a_file_that_was_added_since_is_not_sent(run: Path, checkpoint: Path) -> None:
    (checkpoint / "notes.txt").write_text("mine")
    assert {file.name for file in plan(run, "hf:org/m").files} == NAMES


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_it_may_change_while_it_is_sent(
    planned: Push, checkpoint: Path, hub: StubHub, name: str
) -> None:
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[:-1] + b"?")
    with pytest.raises(PushRefused, match=f"does not hold {name} as it was sent"):
        push(planned, Listener())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_the_hub_keeps_otherwise_is_noticed(planned: Push, hub: StubHub, name: str) -> None:
    hub.written.spoiled.add(name)
    with pytest.raises(PushRefused, match="as it was sent"):
        push(planned, Listener())


def test_other_weights_there_are_not_stood_beside(planned: Push, hub: StubHub, source: str) -> None:
    branch = "main" if source == "huggingface" else "master"
    hub.repos["models/org/model-awq"] = Repo({"model-00001-of-2.safetensors": b"x"}, branch=branch)
    with pytest.raises(PushRefused, match="holds other weights: model-00001-of-2"):
        push(planned, Listener())
    assert hub.written.commits == []


@pytest.mark.parametrize(
    "name",
    ["chat_template.jinja", "generation_config.json", "model.safetensors.index.json",
     "modeling_own.py", "merges.txt"],
)  # fmt: skip
def test_what_loaders_would_read_beside_it_is_not_left_there(
    planned: Push, hub: StubHub, source: str, name: str
) -> None:
    branch = "main" if source == "huggingface" else "master"
    hub.repos["models/org/model-awq"] = Repo({name: b"{}"}, branch=branch)
    with pytest.raises(PushRefused, match=f"other files that loaders read: {name}"):
        push(planned, Listener())
    assert hub.written.commits == []


def test_what_is_for_people_and_hubs_stays_beside_it(
    planned: Push, hub: StubHub, source: str
) -> None:
    branch = "main" if source == "huggingface" else "master"
    kept = dict.fromkeys(("LICENSE.txt", "configuration.json", "figures/loss.json"), b"x")
    hub.repos["models/org/model-awq"] = Repo(dict(kept), branch=branch)
    push(planned, Listener())
    assert kept.items() <= hub.repos["models/org/model-awq"].files.items()


def test_without_a_token_of_the_environment_nothing_is_sent(
    planned: Push, hub: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(PushRefused, match="There is no token"):
        push(planned, Listener())
    assert hub.requests == []


def test_a_token_that_may_not_write_is_named_without_being_shown(
    planned: Push, hub: StubHub
) -> None:
    hub.written.token = "another"
    with pytest.raises(GatedRepository, match="refuses access") as error:
        push(planned, Listener())
    assert "may write to org/model-awq" in str(error.value)
    assert SECRET not in str(error.value)


def test_a_hub_that_breaks_is_named(once: Push, hub: StubHub) -> None:
    hub.errors["/api/repos/create"] = [500] * 20
    with pytest.raises(HubUnreachable, match="HTTP 500"):
        push(once, Listener())


def test_a_card_that_the_hub_does_not_take_publishes_nothing(once: Push, hub: StubHub) -> None:
    hub.written.refuses_cards = True
    with pytest.raises(PushRefused, match="does not take what it is sent"):
        push(once, Listener())
    assert hub.written.commits == []


@pytest.mark.parametrize(
    "to", ["org/model", "hf:model", "hf:", "s3:org/model", "hf:a/b/c", "hf:../x"]
)
def test_what_names_no_repository_is_refused(original: Path, to: str) -> None:
    with pytest.raises(AssayError, match=r"names no repository|is no repository id"):
        plan(original, to)


def test_of_several_candidates_one_is_named_and_only_it_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    report = judged(folder, margin=20, candidates=2)
    refused(PushRefused, "has 2 candidates", folder)
    refused(PushRefused, "no result of a candidate 'other'", folder, candidate="other")
    assert report.judged["quantized"].verdict.status == "PASS"
    planned = plan(folder, "hf:org/m", "quantized")
    verdict = json.loads(planned.texts["assay/verdict.json"])
    assert [one["name"] for one in verdict["candidates"]] == ["quantized"]
    assert planned.texts["README.md"] == (folder / "model-card-quantized.md").read_text()
