"""The client of an endpoint that somebody else runs asks in no way that was not shown to work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.contracts.errors import EndpointError
from infra.contracts.progress import Silent
from infra.contracts.specs import EndpointSpec, EvaluationSpec
from infra.engines.remote.asking import Asker
from infra.engines.remote.budget import Budget
from infra.engines.remote.endpoint import RemoteEndpoint
from infra.engines.remote.finding import find_out
from infra.engines.remote.ways import Tokenizing
from infra.scoring.foreign import ForeignClient, ended
from infra.scoring.pace import Pace
from infra.scoring.plan import Echo, Read, plan
from infra.scoring.protocol import Generation
from infra.scoring.tokens import pack
from infra.store.settings import Settings
from infra.suite import kind_of
from tests.foreign_endpoint import KEY, NAME, foreign, serving


def client_of(*lies: str) -> ForeignClient:
    with serving(foreign(lies)) as server:
        spec = EndpointSpec(url=server.base_url, model=NAME, key_variable="THEIR_KEY")
        asker = Asker(spec, Budget(spec), print)
        found = find_out(asker, Tokenizing(server.encode, server.encode)).found
        asker.close()
    assert found is not None
    endpoint = RemoteEndpoint.of(spec, found, Budget(spec))
    return ForeignClient(endpoint, pace=Pace(1), seed=0, timeout=1, say=print)


@pytest.mark.parametrize(
    ("lies", "reads", "echoes", "forces"),
    [
        ((), True, True, False),
        (("no-echo",), True, False, False),
        (("off-by-one",), True, False, False),
        (("no-chosen",), False, True, False),
        (("no-chosen", "off-by-one"), False, False, True),
    ],
)
def test_only_what_was_shown_is_used(
    lies: tuple[str, ...], reads: bool, echoes: bool, forces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)
    client = client_of(*lies)
    assert (client.can_read(), client.echoes, client.forces) == (reads, echoes, forces)
    # A long continuation costs less as an echo, where there is one.
    pairs = [(pack([1]), pack(range(2, 40)))]
    groups, _ = plan(pairs, reads=client.can_read() or client.forces, echoes=client.echoes)
    assert {type(item) for group in groups for item in group.items} == {Echo if echoes else Read}


def test_without_any_way_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)
    with pytest.raises(EndpointError, match="no log-probabilities of given tokens"):
        client_of("no-read", "off-by-one").can_read()


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("4\n\nQuestion: 5", '["Question:", "\\n\\n"]', ("4", "stop")),
        ("4", '["Question:"]', ("4", "length")),
        ("4 Question", "null", ("4 Question", "length")),
        ("4 Question", '"Q"', ("4 ", "stop")),
        ("4 Question", '[""]', ("4 Question", "length")),
    ],
)
def test_a_text_ends_before_the_first_stop_string(
    text: str, stop: str, left: tuple[str, str]
) -> None:
    question = Generation(pack([1]), f'{{"stop": {stop}}}')
    assert ended(question, (text, "length")) == left


@pytest.mark.parametrize("chat", [True, False])
def test_functions_are_called_there_within_what_was_counted_before(
    chat: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", KEY)
    value = {"type": "object", "properties": {"value": {"type": "integer"}}}
    row = {
        "question": "Show two.",
        "tools": [{"name": "show", "parameters": value}],
        "must_call": [{"name": "show", "arguments": {"value": 2}}],
        "results": ["shown"],
        "final": "shown",
    }
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    spec = EvaluationSpec.model_validate(
        {"tasks": [{"name": "mine", "file": str(tmp_path / "mine.jsonl")}], "chat_template": chat}
    )
    suite = kind_of(spec).prepare(
        spec, settings=Settings(cache=tmp_path / "cache"), progress=Silent()
    )
    with serving(foreign(("no-ids",))) as server:
        of = EndpointSpec(url=server.base_url, model=NAME, key_variable="THEIR_KEY")
        asker = Asker(of, Budget(of), print)
        found = find_out(asker, None).found
        asker.close()
        assert found is not None
        endpoint = RemoteEndpoint.of(of, found, Budget(of))
        counted, samples = endpoint.rehearsed(), tmp_path / "samples.jsonl"
        suite.ask("mine", counted, None, samples, Silent())
        assert counted.rehearsal is not None
        assert counted.rehearsal.estimate.requests == 2
        scores = suite.ask("mine", endpoint, None, samples, Silent())
        assert endpoint.budget.spent.requests == 2
    assert scores.metrics["right_calls,none"].value == 1
    assert scores.metrics["all_right,none"].value == 0  # it calls again, and says nothing
