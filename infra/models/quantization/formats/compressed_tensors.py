"""compressed-tensors: llm-compressor and others."""

from __future__ import annotations

from infra.contracts.records import QuantizationScheme
from infra.models.quantization.fields import Fields
from infra.models.quantization.formats.shared import Per, Said, cache_of, joined, shared_by

NAMES = ("compressed-tensors", "compressed_tensors")
SHOWN_BY = ("config_groups",)


def read(fields: Fields) -> Said:
    """llm-compressor and others: `config_groups`, each with its targets."""
    if not fields.raw("config_groups") and fields.raw("quantization_config"):
        fields = fields.object("quantization_config")  # one level deeper, in early versions
    schemes = groups(fields)
    if not schemes:
        fields.doubt("config_groups describe no layer")
    form, transforms = fields.text("format"), fields.object("transform_config")
    return Said(
        schemes,
        fields.texts("ignore"),
        form,
        cache_of(fields.object("kv_cache_scheme")),
        rotated=bool(transforms.object("config_groups")),
    )


def groups(fields: Fields) -> tuple[QuantizationScheme, ...]:
    """Return a scheme for each of the groups."""
    found = []
    for group in fields.objects("config_groups").values():
        weights = group.object("weights")
        if weights:
            inputs = group.object("input_activations")
            found.append(_scheme(weights, inputs, group.texts("targets")))
    schemes = joined(found)
    if len(schemes) == 1:  # it is for all that is quantized, by whatever name
        return (schemes[0].model_copy(update={"targets": ()}),)
    return schemes


def _scheme(weights: Fields, inputs: Fields, targets: tuple[str, ...]) -> QuantizationScheme:
    group, block = weights.integer("group_size"), weights.pair("block_structure")
    strategy = (weights.text("strategy") or "").lower()
    named: dict[str, Per] = {
        "tensor": "tensor", "channel": "channel", "group": "group", "tensor_group": "group",
        "block": "block",
    }  # fmt: skip
    if strategy and strategy not in named:
        weights.doubt(f"strategy is unknown: {strategy!r}")
    order = weights.raw("actorder")
    dynamic = inputs.raw("dynamic")
    return QuantizationScheme(
        targets=targets,
        bits=weights.integer("num_bits"),
        number=(weights.text("type") or "int").lower(),
        per=named.get(strategy)
        or shared_by(group, "channel")[0]
        or ("tensor" if not strategy else None),
        group_size=group if group and group > 0 else None,
        block=block,
        symmetric=True if (flag := weights.flag("symmetric")) is None else flag,
        # `weight` and `static` reorder while quantizing and store rows as they were.
        act_order=None if order is None else str(order).lower() in {"group", "dynamic", "true"},
        activation_bits=inputs.integer("num_bits") if inputs else None,
        activation_number=(inputs.text("type") or "int").lower() if inputs else None,
        activation_dynamic=bool(dynamic) if inputs and dynamic is not None else None,
    )
