"""The client of an endpoint that somebody else runs asks in no way that was not shown to work."""

from __future__ import annotations

import pytest

from infra.contracts.errors import EndpointError
from infra.contracts.specs import EndpointSpec
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
