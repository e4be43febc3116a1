"""What an engine cannot answer is said before an accelerator is taken."""

from __future__ import annotations

import pytest

from deployments.recipes import sample
from infra.contracts.capability import Capability
from infra.contracts.progress import Silent
from infra.engines.vllm.engine import Vllm
from infra.preflight import capabilities, suite
from infra.store.settings import Settings
from tests.conftest import ROOT

ALL = frozenset(Capability)


def found(monkeypatch: pytest.MonkeyPatch, *lacks: Capability) -> list[tuple[str, str, str]]:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Vllm, "can", lambda self, serving: ALL - set(lacks))
    spec = sample()
    tasks = suite.read(spec.evaluation, Settings(), Silent())
    return [(one.found, one.cause, one.remedy) for one in capabilities.look_at(spec, tasks.lines)]


def test_an_engine_that_answers_everything_is_not_spoken_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert found(monkeypatch) == []
    # One way to score is enough.
    assert found(monkeypatch, Capability.CHOSEN_LOGPROBS, Capability.ECHO_LOGPROBS) == []


def test_tasks_that_score_need_log_probabilities_and_those_that_write_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = found(
        monkeypatch,
        Capability.CHOSEN_LOGPROBS, Capability.ECHO_LOGPROBS, Capability.FORCED_LOGPROBS,
    )  # fmt: skip
    assert [fact for fact, _, _ in said] == [
        "vLLM cannot answer global_mmlu_en.", "vLLM cannot answer gpqa_main_zeroshot."
    ]  # fmt: skip
    assert {cause.partition(": ")[2] for _, cause, _ in said} == {
        "chosen-token logprobs or echo logprobs or forced-token logprobs."
    }
    assert said[0][2].endswith("leave global_mmlu_en out of evaluation.tasks; gsm8k can run here.")


def test_without_token_prompts_no_task_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    said = found(monkeypatch, Capability.TOKEN_PROMPTS)
    assert len(said) == 3
    assert all(remedy.endswith("evaluation.tasks.") for _, _, remedy in said)
