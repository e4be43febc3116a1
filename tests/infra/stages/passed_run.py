"""A run with its checkpoints, judged by a margin; and a hub that takes what is pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.contracts.records import Report
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import change_name
from infra.judging.verdict import decide
from infra.report import model_card
from infra.report.cards import card_names
from tests.infra.made_runs import make_run, overall_verdict
from tests.infra.report.receipt.conftest import seal, with_checkpoints
from tests.stub_hub import StubHub, running

SECRET = "hf_abcdefghijklmnop"


def judged(folder: Path, margin: float, candidates: int = 1, kept: float = 0.97) -> Report:
    """Write a run with checkpoints, judged by a margin, sealed."""
    report = make_run(folder, rows=120, kept=kept, candidates=candidates)
    verdict = VerdictSpec(margin_points=margin, task_margin_points=max(margin, 40))
    spec = report.spec.model_copy(update={"verdict": verdict})
    found = {
        name: one.model_copy(
            update={"verdict": decide(one.comparison, verdict, candidates=candidates,
                                      what=change_name(spec, name))}
        )
        for name, one in report.judged.items()
    }  # fmt: skip
    report = report.model_copy(
        update={"spec": spec, "judged": found, "verdict": overall_verdict(spec, found, {})}
    )
    report = with_checkpoints(report, folder)
    for pair, name in zip(report.pairs, card_names(report), strict=True):
        (folder / name).write_text(model_card(pair), encoding="utf-8")
    return seal(report, folder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    from huggingface_hub import constants

    # The stub speaks the protocol for large files that every hub speaks, and not Xet.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", SECRET)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_API_TOKEN", SECRET)
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
        hub.written.token = SECRET
        yield hub
