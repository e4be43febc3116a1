"""Which layers a configuration means."""

from __future__ import annotations

import pytest

from infra.contracts.records import Quantization, QuantizationScheme
from infra.probes.triage.targets import Schemes, Targets


def quantized(*schemes: QuantizationScheme) -> Schemes:
    return Schemes(Quantization(method="gptq", understood=True, schemes=schemes))


def test_layers_have_the_scheme_that_is_written_for_them() -> None:
    eight = QuantizationScheme(targets=(r"re:.*\.down_proj", "lm_head"), bits=8)
    four, all_linear = QuantizationScheme(bits=4), QuantizationScheme(targets=("Linear",), bits=3)
    for general in (four, all_linear):
        both = quantized(general, eight)
        assert both.of("model.layers.0.mlp.down_proj").bits == 8
        assert both.of("lm_head").bits == 8
        assert both.of("model.layers.0.mlp.up_proj").bits == general.bits
    assert quantized(eight).of("a").bits is None
    assert quantized(four, all_linear).of("a").bits is None
    assert Schemes(None).of("a").bits is None


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("model.layers.0.mlp.gate", True),
        ("layers.0.mlp.gate", True),
        ("gate", True),
        ("model.layers.0.mlp", True),  # all that is in it
        (r"re:.*mlp\.gate$", True),
        ("model.layers.*.mlp.*", True),
        ("*.gate", True),
        ("re:.*self_attn.*", False),
        ("re:mlp", False),
        ("re:(", False),
        ("[", False),
        ("ate", False),
        ("lm_head", False),
        ("", False),
    ],
)
def test_names_and_patterns_of_all_methods_mean_their_layers(target: str, meant: bool) -> None:
    assert Targets([target]).has("model.layers.0.mlp.gate") == meant


def test_some_methods_look_anywhere_in_a_name() -> None:
    assert Targets(["mlp.ga"]).has("model.layers.0.mlp.gate", anywhere=True)
    assert not Targets(["mlp.gb"]).has("model.layers.0.mlp.gate", anywhere=True)


def test_the_first_scheme_that_names_a_layer_is_its_own() -> None:
    one = QuantizationScheme(targets=("model.layers.0.mlp.experts",), bits=4)
    two = QuantizationScheme(targets=("model.layers.0.mlp.experts", "model.layers.1"), bits=8)
    both = quantized(one, two)
    assert both.of("model.layers.0.mlp.experts.7.up_proj").bits == 4
    assert both.of("model.layers.1.mlp.experts.7.up_proj").bits == 8
    assert both.of("model.layers.10.mlp.experts.7.up_proj").bits is None
