from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.contracts.errors import BrokenCheckpoint
from infra.contracts.progress import Silent
from infra.engines.vllm.kernels import KERNELS
from infra.probes.triage import served
from infra.probes.triage.answers import Answer, Reading, loops
from infra.probes.triage.served import Baseline
from infra.probes.triage.verdict import stop_if_broken
from tests.infra.probes.subjects import checkpoint_at
from tests.infra.quantizers.test_making import Heard

VARIED = tuple(range(40))


def answer(tokens: Sequence[int] = VARIED, *, empty: bool = False, ended: bool = True) -> Answer:
    return Answer(prompt=(1, 2), tokens=tuple(tokens), empty=empty, ended=ended)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (VARIED, False),
        ([], False),
        ([7] * 15, False),  # so short a one may be a list of zeros
        ([7] * 16, True),
        ([1, 2, 3, *[7] * 16], True),
        ([*[7] * 16, 1], False),  # it found out of it
        ([1, 2, 3, 4, 5, 6, 7, 8] * 4, True),
        ([1, 2, 3, 4, 5, 6, 7, 8] * 3, False),
        ([1, 2, 3] * 6, True),
        ([9, *[1, 2, 3] * 5, 1], True),  # cut off in the middle of a round
        (list(range(9)) * 4, False),
    ],
)
def test_loops(tokens: list[int], expected: bool) -> None:
    assert loops(tokens) is expected
    assert answer(tokens).loops is expected


LOOP = answer([5] * 48, ended=False)
EMPTY = answer([0], empty=True)
ENDLESS = answer(ended=False)


@pytest.mark.parametrize(
    ("baseline", "ours", "failing"),
    [
        ([answer()] * 20, [answer()] * 20, []),
        ([answer()] * 20, [EMPTY] * 5 + [answer()] * 15, []),
        ([answer()] * 20, [EMPTY] * 6 + [answer()] * 14, [served.EMPTY]),
        # A baseline that does the same is no worse.
        ([EMPTY] * 12 + [answer()] * 8, [EMPTY] * 14 + [answer()] * 6, []),
        ([LOOP] * 20, [LOOP] * 20, []),
        ([ENDLESS] * 20, [LOOP] * 20, [served.LOOPS]),
        ([answer()] * 20, [ENDLESS] * 11 + [answer()] * 9, [served.ENDLESS]),
        ([answer()] * 20, [ENDLESS] * 10 + [answer()] * 10, []),
        # What the baseline does not end either tells nothing.
        ([ENDLESS] * 18 + [answer()] * 2, [ENDLESS] * 20, []),
        ([answer()] * 20, [LOOP] * 20, [served.LOOPS, served.ENDLESS]),
    ],
)
def test_answers_are_judged_by_those_of_the_baseline(
    baseline: list[Answer], ours: list[Answer], failing: list[str]
) -> None:
    assert [check.name for check in served.answers(baseline, ours) if not check.ok] == failing


def test_agreement_is_the_share_of_all_tokens() -> None:
    long = Reading(prompt=-4.0, prompt_tokens=4, logprobs=(-1.0,) * 6, greedy=(True,) * 6)
    short = Reading(prompt=-8.0, prompt_tokens=2, logprobs=(-5.0,) * 2, greedy=(False,) * 2)
    baseline = Baseline.of([answer()], [long])
    check, share = served.agreement(baseline, [long, short], 0.75)
    assert share == 0.75
    assert check.ok
    assert "0.750 of 8 next tokens" in check.value
    assert "-2.000, the baseline's -1.000" in check.value
    assert not served.agreement(baseline, [long, short], 0.76)[0].ok
    assert served.prompt_logprob([long, short]) == -2.0


def test_noise_is_distinguished_from_conversations() -> None:
    assert served.calibration(-3.0, "baseline").ok
    assert not served.calibration(-5.1, "baseline").ok


@pytest.mark.parametrize(
    ("name", "ok"),
    [
        ("CPUWNA16LinearKernel", True),
        ("MarlinLinearKernel", True),
        ("MacheteLinearKernel, MarlinLinearKernel", True),
        ("KernelOfTomorrow", True),
        (None, True),
        ("ExllamaLinearKernel", False),
        ("MarlinLinearKernel, TritonW4A16LinearKernel", False),
        ("CPUInt8ScaledMMLinearKernel", True),
        ("CPUWNA16LinearKernel, ChannelWiseTorchFP8ScaledMMLinearKernel", False),
    ],
)
def test_a_slow_kernel_is_said_and_stops_nothing(name: str | None, ok: bool) -> None:
    check = served.kernel(name, KERNELS)
    assert check.ok is ok
    assert (name or "not named") in check.value
    heard = Heard()
    stop_if_broken([check], checkpoint_at(Path("/checkpoint")), heard)
    assert heard.said("LinearKernel") is not ok


def test_every_failed_check_is_named_and_the_most_particular_cause_said() -> None:
    failed = [
        served.answers([answer()] * 20, [LOOP] * 20)[1],
        served.kernel("ExllamaLinearKernel", KERNELS),
        served.calibration(-12.0, "baseline"),
    ]
    with pytest.raises(BrokenCheckpoint) as caught:
        stop_if_broken(failed, checkpoint_at(Path("/checkpoint")), Silent())
    error = caught.value
    assert error.checks == (served.LOOPS, served.CALIBRATION)
    assert "20 of 20, 0 of the baseline" in error.fact
    assert "conversations are noise" in error.cause
    assert "quantization.calibration" in error.remedy
