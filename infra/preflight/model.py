"""The model and the conversations: whole, of a kind that the quantizer takes, and how large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.contracts.errors import AssayError, Unservable
from infra.contracts.layout import IN_WORDS, Layout
from infra.contracts.progress import Progress, Silent
from infra.contracts.records import Quantization, Weights
from infra.contracts.specs import ArmSpec, CalibrationSpec, EvaluationSpec, Recipe
from infra.conversations import calibration
from infra.engines.registry import engine_of, engines
from infra.models import gguf_file, lora, weights
from infra.models.chat_template import moment_of
from infra.models.memory_need import Shape, from_config, from_name, with_weights
from infra.models.quantization import of as quantization_of
from infra.preflight import access
from infra.preflight.findings import Finding, look, note, ok, problem, problems
from infra.quantizers import methods_for, quantizer_of
from infra.quantizers.merging import recipe_of
from infra.store.settings import Settings

_MODEL, _RECIPE, _ADAPTER = "model", "quantizable", "adapter"


@dataclass(frozen=True)
class Model:
    """What is known about the model without downloading it."""

    findings: list[Finding]
    shape: Shape | None
    to_download: int
    """Bytes."""
    folder: Path | None
    """Where it is, if it is here and sound."""
    window: int | None = None
    """Tokens that will be served, if they are known."""


def here(spec: ArmSpec, settings: Settings, progress: Progress) -> Model:
    """Look at a model in a folder."""
    shape = from_name(spec.model.id)
    try:
        found = weights.inspect_spec(spec.model, settings=settings, progress=progress)
    except AssayError as error:
        return Model([problem(_MODEL, error)], shape, 0, None)
    config = json.loads((found.path / "config.json").read_text(encoding="utf-8"))
    shape = from_config(config, found.size_bytes) or shape
    findings = [ok(_MODEL, f"{found.path}, {found.architecture}, {found.size_bytes / 1e9:.2f} GB")]
    findings += _adapter(spec, found, settings, progress)
    if problems(findings):
        return Model(findings, shape, 0, None)
    if spec.quantization:
        try:
            quantizer_of(spec.quantization).check(found, spec.quantization)
        except AssayError as error:
            return Model([*findings, problem(_RECIPE, error)], shape, 0, None)
        findings.append(_supported(spec.quantization, config))
    window = spec.serving.max_model_len or (shape.window if shape else None)
    return Model(
        [*findings, _servable(spec, shape, config, found.path)], shape, 0, found.path, window
    )


def on_a_hub(spec: ArmSpec, settings: Settings) -> Model:
    """Ask the hub about a model; where it does not answer, see what the name tells."""
    shape = from_name(spec.model.id)
    to_download = shape.parameters * 2 if shape else 0
    try:
        found, size = access.model(spec.model, settings)
    except AssayError as error:
        findings = [problem(_MODEL, error), *_quantizable(spec, None, None)]
        return Model([*findings, _servable(spec, shape, {})], shape, to_download, None)
    config = size.config
    if config is not None:
        shape = from_config(config, size.weight_bytes) or shape
    if shape and shape.guessed and size.weight_bytes:
        shape = with_weights(shape, size.weight_bytes)
    findings = [
        look(_MODEL, lambda: found),
        *_adapter(spec, None, settings, Silent()),
        *_quantizable(spec, config, size.quantization),
        _servable(spec, shape, config or {}),
    ]
    whole = size.folder if not problems(findings) else None
    window = spec.serving.max_model_len or (shape.window if shape else None)
    return Model(findings, shape, size.bytes, whole, window)


def look_at_conversations(
    name: str,
    wanted: CalibrationSpec,
    spec: EvaluationSpec,
    trust_remote_code: bool,
    model: Model,
    settings: Settings,
    progress: Progress,
    on_hub: Future[tuple[str, bool]] | None,
    *,
    for_quantizer: bool,
) -> Finding:
    """Check the conversations; render them where the model's template and tokenizer are at hand.

    Args:
        name: What the finding is called.
        wanted: The conversations.
        spec: What templates get.
        trust_remote_code: Allow a tokenizer that is code of the repository.
        model: What is known of the model.
        settings: Where datasets of a hub are kept.
        progress: Hears how many are rendered.
        on_hub: The hub's answer about a dataset there: what was found, and whether it is here.
        for_quantizer: They are joined and cut into blocks, of which they have to fill one.
    """

    def check() -> Finding | str:
        if on_hub:
            found, is_here = on_hub.result()
            if not is_here:
                return found
        if model.folder is None:
            total = calibration.check_unrendered(wanted, settings=settings)
            return f"{total} conversations in {wanted.path}; the model's template is not here yet"
        card = calibration.prepare(
            model.folder,
            wanted,
            moment=moment_of(spec),
            variables=spec.chat_template_kwargs,
            settings=settings,
            progress=progress,
            trust_remote_code=trust_remote_code,
            for_quantizer=for_quantizer,
        ).card
        found = f"{card.used} of {card.read} conversations, {card.tokens_total} tokens"
        return note(name, "; ".join([found, *card.remarks])) if card.remarks else found

    return look(name, check)


def _adapter(
    spec: ArmSpec, weights: Weights | None, settings: Settings, progress: Progress
) -> list[Finding]:
    """Look at an adapter: whole, of a kind that can be put on, made for these weights."""
    if (wanted := spec.adapter) is None:
        return []

    def check() -> Finding | str:
        engine = engine_of(spec.serving)
        largest = engine.largest_rank
        if not wanted.merge and largest is None:
            raise Unservable(
                f"{engine.title} applies no adapter as it serves.",
                remedy="Set adapter.merge to true, or serving.engine to one that does.",
            )
        if wanted.source != "local":
            return note(_ADAPTER, f"{wanted.id}; it is looked at when it is here")
        found = lora.inspect_local(wanted, settings=settings, progress=progress)
        if not wanted.merge and largest and found.rank > largest:
            raise Unservable(
                f"Adapter {wanted.id} has rank {found.rank}; {engine.title} applies at most "
                f"{largest}.",
                remedy="Set adapter.merge to true.",
            )
        if weights is not None:
            lora.check_fits(found, weights)
            if wanted.merge:
                quantizer_of(recipe_of(found, weights)).check_named(
                    weights.id, None, quantization_of(weights.path)
                )
        how = "merged before anything else" if wanted.merge else "applied as it is served"
        return f"{wanted.id}, rank {found.rank}, {found.size_bytes / 1e6:.1f} MB, {how}"

    return [look(_ADAPTER, check)]


def _quantizable(
    spec: ArmSpec, config: Mapping[str, Any] | None, quantization: Quantization | None
) -> list[Finding]:
    if (recipe := spec.quantization) is None:
        return []

    def check() -> Finding | str:
        quantizer_of(recipe).check_named(spec.model.id, config, quantization)
        if config is None:
            return note(_RECIPE, "unknown until config.json can be read")
        return _supported(recipe, config).found

    return [look(_RECIPE, check)]


def _supported(recipe: Recipe, config: Mapping[str, Any]) -> Finding:
    return ok(_RECIPE, f"{quantizer_of(recipe).title} knows {config.get('model_type')}")


def _servable(
    spec: ArmSpec, shape: Shape | None, config: Mapping[str, Any], folder: Path | None = None
) -> Finding:
    """Check what the engine would refuse after minutes, or only for the candidate."""

    def check() -> Finding | str:
        if spec.quantization:
            quantizer_of(spec.quantization).check_served(spec.quantization, spec.serving, shape)
        _check_layout(spec, folder)
        found = engine_of(spec.serving).check(spec.serving, shape, config)
        return found or note("servable", "unknown until config.json can be read")

    return look("servable", check)


def _check_layout(spec: ArmSpec, folder: Path | None) -> None:
    """Refuse weights of a kind that the engine does not read."""
    engine, layout = engine_of(spec.serving), _layout(spec, folder)
    if layout is None or layout == engine.reads:
        return
    what = "what is made of" if spec.quantization else "the weights of"
    others = " or ".join(repr(one.name) for one in engines() if one.reads == layout)
    made = ""
    if spec.quantization or layout == "transformers":  # nothing is made of a GGUF file
        made = f", or quantization.method to {' or '.join(methods_for(engine.reads))}"
    raise Unservable(
        f"{engine.title} cannot read {what} {spec.model.id}.",
        cause=f"They are {IN_WORDS[layout]}, and it reads weights that are "
        f"{IN_WORDS[engine.reads]}.",
        remedy=f"Set serving.engine to {others}{made}.",
    )


def _layout(spec: ArmSpec, folder: Path | None) -> Layout | None:
    """Return how the weights lie that are served; none if nobody knows yet."""
    if spec.quantization:
        return quantizer_of(spec.quantization).makes
    if folder is None:
        return None
    return "gguf" if gguf_file.find(folder) else "transformers"
