"""Two engines on one accelerator, or one processor."""

from __future__ import annotations

import pytest

from infra.contracts.errors import NotEnough
from infra.contracts.specs import ServingSpec
from infra.machine.device import Device
from infra.stages.chat.shares import Wanted, apart, of_accelerator, of_processor

GIB = 2**30
CARD = Device(kind="cuda", name="NVIDIA L4", count=1, memory_bytes=24 * GIB)


def wanted(*sizes: float, **settings: object) -> list[Wanted]:
    serving = ServingSpec.model_validate(settings)
    return [Wanted(f"arm-{at}", serving, int(size * GIB)) for at, size in enumerate(sizes)]


def test_each_gets_its_weights_and_half_of_the_rest() -> None:
    large, small = of_accelerator(wanted(10, 4, port=8000), CARD)
    assert large.memory_fraction is not None and small.memory_fraction is not None
    assert (large.memory_fraction - small.memory_fraction) * 24 == pytest.approx(6, abs=0.05)
    assert large.memory_fraction + small.memory_fraction == pytest.approx(0.9, abs=0.01)
    assert large.port is small.port is None


def test_a_share_that_the_run_names_is_what_both_have_together() -> None:
    shares = of_accelerator(wanted(4, 4, memory_fraction=0.6), CARD)
    assert [one.memory_fraction for one in shares] == [0.3, 0.3]


def test_several_accelerators_share_the_weights() -> None:
    shares = of_accelerator(wanted(20, 12, tensor_parallel_size=2), CARD)
    assert sum(one.memory_fraction or 0 for one in shares) == pytest.approx(0.9, abs=0.01)


def test_models_that_do_not_fit_are_refused_with_their_sizes() -> None:
    with pytest.raises(NotEnough, match="one NVIDIA L4") as caught:
        of_accelerator(wanted(15, 5), CARD)
    assert "arm-0 15.0 GiB and arm-1 5.0 GiB" in caught.value.cause
    assert "ASSAY_ACCELERATORS" in caught.value.remedy


def test_a_processor_needs_the_memory_for_both() -> None:
    both = wanted(3, 1, port=8000)
    assert [one.port for one in of_processor(both, 8 * GIB)] == [None, None]
    with pytest.raises(NotEnough, match=r"6.0 GiB of main memory, of which 5.0 GiB are free"):
        of_processor(both, 5 * GIB)


def test_apart_nothing_but_the_port_changes() -> None:
    both = wanted(3, 1, port=8000, memory_fraction=0.7)
    assert apart(both) == [ServingSpec(memory_fraction=0.7)] * 2
