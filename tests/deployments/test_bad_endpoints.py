"""What a user gets wrong about an endpoint: one clear error each, and no key in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments.__main__ import main
from tests.foreign_endpoint import KEY, NAME, SAMPLE, foreign, serving

LIKE_A_KEY = "sk-proj-4f9a8c"
GSM8K = {"name": "gsm8k", "num_fewshot": 1, "limit": 2, "max_gen_toks": 16}


def given(url: str, **changes: Any) -> dict[str, Any]:
    evaluation = {
        "tasks": [GSM8K],
        "datasets": {"openai/gsm8k": {"path": str(SAMPLE / "data" / "openai" / "gsm8k")}},
        **changes.pop("evaluation", {}),
    }
    whole = {"endpoint": {"url": url, "model": NAME, "key_variable": "THEIR_KEY", **changes}}
    return {**whole, "evaluation": evaluation}


@pytest.fixture
def run(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], no_prefect_server: None,
) -> Any:  # fmt: skip
    monkeypatch.setenv("ASSAY_CACHE", str(own_cache))
    monkeypatch.setenv("ASSAY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("THEIR_KEY", KEY)

    def refused(spec: dict[str, Any]) -> str:
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(spec))
        code = main(["run", str(path)])
        said = capsys.readouterr()
        assert code == 2, said.err
        assert "report:" not in said.out and "Traceback" not in said.err
        assert KEY not in said.err and LIKE_A_KEY not in said.err
        assert not (tmp_path / "runs").exists()
        return said.err

    return refused


@pytest.mark.parametrize(
    ("url", "changes", "says"),
    [
        ("ftp://host/v1", {}, "no http or https address"),
        ("host:8000", {}, "no http or https address"),
        ("http://[::1/v1", {}, "no http or https address"),
        ("http://me:secret@host/v1", {}, "holds a user name or a password"),
        (f"http://host/v1?api_key={LIKE_A_KEY}", {}, "holds a query"),
        ("http://host/v1/chat/completions", {}, "ends in /completions"),
        ("http://host/v1", {"key_variable": LIKE_A_KEY}, "no name of an environment variable"),
        ("http://host/v1", {"key_variable": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ("http://host/v1", {"budget": {"money": 5}}, "no price is"),
        ("http://host/v1", {"budget": {"requests": 0}}, "greater than or equal to 1"),
        ("http://host/v1", {"key": LIKE_A_KEY[:0] + "x"}, "Unknown field 'endpoint.key'"),
        ("http://host/v1", {"evaluation": {"noise_floor": True}}, "evaluation.noise_floor"),
        ("http://host/v1", {"evaluation": {"concurrency": 4}}, "endpoint.concurrency"),
        ("http://host/v1", {"evaluation": {"tokenizer": "baseline"}}, "endpoint.tokenizer"),
        ("http://host/v1", {"window": 64, "evaluation": {"tasks": [{**GSM8K, "max_gen_toks": 99}]}},
         "endpoint.window is 64"),
        ("http://host/v1", {"tokenizer": {"source": "local", "id": "nowhere"}}, "no folder"),
        ("http://127.0.0.1:9/v1", {"timeout_seconds": 2}, "does not answer"),
    ],
)  # fmt: skip
def test_a_spec_that_cannot_work(url: str, changes: dict[str, Any], says: str, run: Any) -> None:
    said = run(given(url, **changes))
    assert says in said
    assert "remedy:" in said


def test_whitespace_in_a_key_is_said_without_the_key(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", f"{KEY} {KEY}")
    assert "cannot be sent as a key" in run(given("http://127.0.0.1:9/v1"))


@pytest.mark.parametrize(
    ("lies", "changes", "says"),
    [
        (("takes-no-key",), {}, "does not accept the key"),
        (("other-name",), {}, "answers as somebody-else"),
        ((), {"model": "no-such-model"}, "answers as their-model, though no-such-model"),
        ((), {"budget": {"requests": 3}}, "endpoint.budget.requests"),
        ((), {"budget": {"tokens": 500}}, "endpoint.budget.tokens"),
        ((), {"evaluation": {"tasks": [{"name": "no_such_task"}]}}, "no_such_task"),
        ((), {"evaluation": {"add_bos_token": True}}, "add_bos_token would change nothing"),
        (("no-chat",), {"evaluation": {"chat_template": True}}, "answers no chat"),
    ],
)
def test_an_endpoint_that_will_not_do(
    lies: tuple[str, ...], changes: dict[str, Any], says: str, run: Any
) -> None:
    with serving(foreign(lies)) as server:
        said = run(given(server.base_url, **changes))
    assert says in said
    assert "remedy:" in said
