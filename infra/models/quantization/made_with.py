"""The program that quantized a checkpoint, if its configuration says which."""

from __future__ import annotations

from infra.models.quantization.fields import Fields


def made_with(fields: Fields, method: str) -> str | None:
    """Return program and version, as far as they are stated.

    Args:
        fields: The configuration.
        method: The engine's name of the method.
    """
    producer = fields.object("producer") if isinstance(fields.raw("producer"), dict) else None
    if producer:
        return _with(producer.text("name"), producer.text("version"))
    if stated := fields.object("meta").texts("quantizer"):  # GPTQModel: `gptqmodel:5.6.0`
        return ", ".join(one.replace(":", " ", 1) for one in stated)
    if version := fields.text("autoround_version"):
        return _with("AutoRound", version)
    if provider := fields.text("provider", "quantizer", "producer"):
        return _with(provider, None)
    if method == "compressed-tensors" and (version := fields.text("version")):
        # The version of the format's library: programs that use it leave no name.
        return _with("compressed-tensors", version)
    return None


def _with(name: str | None, version: str | None) -> str | None:
    return " ".join(part for part in (name, version) if part) or None
