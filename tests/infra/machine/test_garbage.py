from __future__ import annotations

import gc

import pytest

from infra.machine.garbage import collected, uncollected


@pytest.mark.parametrize("before", [True, False])
def test_garbage_is_looked_for_afterwards_as_it_was_before(before: bool) -> None:
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), uncollected():
            assert not gc.isenabled()
            with collected():
                assert gc.isenabled()
            assert not gc.isenabled()
            _ = 1 / 0
        assert gc.isenabled() == before
    finally:
        gc.enable()
