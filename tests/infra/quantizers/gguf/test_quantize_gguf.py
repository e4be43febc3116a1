from __future__ import annotations

import runpy

import pytest

from infra.quantizers.gguf import WORKER
from infra.quantizers.program import exchange

FAILED = "llama_model_quantize: failed to quantize: "


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        # On a disk that is full; llama.cpp says no more of it.
        (f"{FAILED}basic_ios::clear: iostream error", "disk-full"),
        (f"{FAILED}tensor has non-finite values", "not-finite"),
        (f"{FAILED}something else", "other"),
    ],
)
def test_what_llama_cpp_says_has_a_kind(said: str, kind: str) -> None:
    kinds = runpy.run_path(str(WORKER.script))["KINDS"]
    assert exchange.kind_of(RuntimeError(said), kinds) == kind
