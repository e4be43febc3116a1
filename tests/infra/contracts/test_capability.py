from __future__ import annotations

from infra.contracts.capability import Capability, unmet

CHOSEN, ECHO = Capability.CHOSEN_LOGPROBS, Capability.ECHO_LOGPROBS
TEXTS = frozenset([Capability.COMPLETIONS])
EITHER = frozenset([CHOSEN, ECHO])


def test_one_capability_of_a_need_is_enough() -> None:
    assert unmet([TEXTS, EITHER], {Capability.COMPLETIONS, ECHO}) == []
    assert unmet([TEXTS, EITHER], {Capability.COMPLETIONS, CHOSEN, ECHO}) == []


def test_what_is_unmet_is_named_once_and_in_order() -> None:
    assert unmet([EITHER, TEXTS, EITHER], {Capability.CHAT}) == [EITHER, TEXTS]
    assert unmet([EITHER, TEXTS], {Capability.COMPLETIONS}) == [EITHER]
