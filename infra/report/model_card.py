"""What a run found, as part of a model card on Hugging Face.

A card is read by strangers: no folder of this machine, no host and no address stands in it.
"""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

from infra.contracts import wording
from infra.contracts.records import MetricComparison, Pair
from infra.engines.registry import engine_of, title
from infra.judging.comparison import decisive
from infra.report import prose, tables
from infra.report.changed import changed
from infra.report.grid import grid, table
from infra.report.public import public
from infra.report.summary import summarize
from infra.report.text import code, coded, escaped, printable

"""Packages that made the candidate's checkpoint."""

_RUN_BY = ("transformers", "lm-eval")
"""Packages of the run."""


def model_card(pair: Pair) -> str:
    """Return front matter and a section for the README of the candidate."""
    pair = public(pair)
    model, summary = code(pair.spec.baseline.model.id), summarize(pair)
    server = pair.candidate.server
    parts = [
        f"---\n{_front_matter(pair)}---",
        f"## What {_what(pair)} cost, and what it bought",
        f"**{summary.status}.** {escaped(summary.headline)} {escaped(summary.margin)}",
        f"{model}, {escaped(summary.subject)}. {escaped(' '.join(summary.bought))}",
        "\n".join(f"- {escaped(line)}" for line in summary.caveats),
        "### Quality",
        grid(_tasks(pair)),
        escaped(prose.interval_note(pair, decisive(pair.comparison), p_values=False)),
        *_titled("Fidelity", tables.fidelity(pair), prose.fidelity_note(pair)),
        *_titled("Speed", tables.speed(pair), prose.speed_note(pair)),
        *_recipe(pair),
        *_calibration(pair),
        escaped(prose.overlap_note(pair)),
        "### How to serve it",
        f"```sh\n{_serve(pair)}\n```",
        f"{title(server.engine)} reads from the model's own files that it is quantized."
        if pair.candidate.checkpoint.quantization
        else "",
        "### Versions",
        grid(_versions(pair)),
        f"Measured by Assay on {pair.report.created:%Y-%m-%d}, run {code(pair.report.run_id)}; "
        f"{escaped(changed(pair))}.",
    ]
    return str(printable("\n\n".join(part for part in parts if part) + "\n"))


def _front_matter(pair: Pair) -> str:
    import yaml

    base: dict[str, Any] = {}
    recipe = pair.arm.quantization
    model = pair.arm.model if recipe else pair.spec.baseline.model
    engine = pair.candidate.server.engine
    if model.source != "local":
        base = {"base_model": model.id}
        if _is_another(pair) and pair.candidate.checkpoint.quantization:
            base["base_model_relation"] = "quantized"
    matter = {
        **base,
        "pipeline_tag": "text-generation",
        "tags": [*(recipe.tags if recipe else ()), str(engine)],
        "model-index": [{
            "name": _model_name(pair),
            "results": [_result(pair, metric) for metric in decisive(pair.comparison)],
        }],
    }  # fmt: skip
    return str(yaml.safe_dump(_plain(matter), allow_unicode=True, sort_keys=False, width=1000))


def _result(pair: Pair, metric: MetricComparison) -> dict[str, Any]:
    dataset = pair.baseline.tasks[metric.task].dataset
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": metric.task, "type": dataset.split(" ")[0] or metric.task},
        "metrics": [{
            "type": metric.metric.partition(",")[0],
            "value": round(metric.candidate.value, 6),
            "name": f"{metric.metric} (baseline: {metric.baseline.value:.6g})",
        }],
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Make every text within fit for a file."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return printable(value)


def _tasks(pair: Pair) -> list[dict[str, str]]:
    rows = []
    if pooled := pair.comparison.pooled:
        rows.append({
            "Task": "All rows", "Metric": "pooled", "Rows": f"{pooled.rows:,}",
            "Baseline": "-", "Candidate": "-",
            "Difference": wording.difference(pooled.difference, "points"),
            "Interval": wording.interval(pooled.low, pooled.high, "points"),
            "Recovery": "-", "Above chance": "-",
        })  # fmt: skip
    for metric in decisive(pair.comparison):
        bounded = metric.low is not None and metric.high is not None
        ends = (metric.low or 0.0, metric.high or 0.0)
        above = metric.recovery_above_chance
        rows.append({
            "Task": metric.task,
            "Metric": metric.metric,
            "Rows": wording.times(metric.questions, metric.repeats),
            "Baseline": wording.score(metric.baseline.value, metric.unit),
            "Candidate": wording.score(metric.candidate.value, metric.unit),
            "Difference": wording.difference(metric.difference, metric.unit),
            "Interval": wording.interval(*ends, metric.unit) if bounded else "-",
            "Recovery": "-" if metric.recovery is None else wording.share(metric.recovery),
            "Above chance": "-" if above is None else wording.share(above),
        })  # fmt: skip
    return rows


def _titled(name: str, of: tables.Table | None, note: str) -> list[str]:
    return [f"### {name}", table(of), coded(note)] if of else []


def _is_another(pair: Pair) -> bool:
    """Return whether the candidate has weights of its own, and is not served otherwise alone."""
    return pair.candidate.checkpoint.identity != pair.baseline.checkpoint.identity


def _what(pair: Pair) -> str:
    return "quantization" if pair.arm.quantization else "the change"


def _recipe(pair: Pair) -> list[str]:
    recipe = pair.arm.quantization
    fields = recipe.model_dump(mode="json", exclude={"calibration"}) if recipe else {}
    made = pair.candidate.checkpoint.quantization or {}
    shown = fields | {key: value for key, value in made.items() if not isinstance(value, dict)}
    rows = [{"Field": key, "Value": _value(value)} for key, value in shown.items()]
    return ["### Recipe", grid(rows)] if rows else []


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _calibration(pair: Pair) -> list[str]:
    card = pair.candidate.checkpoint.calibration
    if card is None:
        return []
    dropped = card.dropped_too_long
    text = (
        f"The quantizer was shown {card.used:,} of {card.read:,} conversations from "
        f"{code(card.spec.path)}, "
        f"{card.tokens_min:,} to {card.tokens_max:,} tokens each (median {card.tokens_median:,}, "
        f"{card.tokens_total:,} together). {dropped:,} longer than "
        f"{card.spec.max_sequence_length:,} tokens {'was' if dropped == 1 else 'were'} left out. "
        + "".join(f"{remark[0].upper()}{remark[1:]}. " for remark in card.remarks)
        + f"Fingerprint {code(card.fingerprint)}."
    )
    return ["### Calibration", text]


def _serve(pair: Pair) -> str:
    serving, server = pair.arm.serving, pair.candidate.server
    own = pair.change.serving.changed if pair.change.serving else {}
    variables = [f"{name}={value}" for name, value in own.get("variables", {}).items()]
    command = engine_of(serving).by_hand(
        "FOLDER_OR_ID_OF_THIS_MODEL", serving, server.max_model_len, own.get("extra_args", ())
    )
    return shlex.join([*(["env", *variables] if variables else []), *command])


def _versions(pair: Pair) -> list[dict[str, str]]:
    provenance, made = pair.report.provenance, pair.candidate.checkpoint.versions
    versions: dict[str, str] = {pair.candidate.server.engine: pair.candidate.server.version}
    versions |= {name: version for name, version in made.items() if name != "python"}
    for name in _RUN_BY:
        if version := provenance.get(f"version of {name}"):
            versions[name] = version
    if driver := provenance.get("driver"):
        versions["driver"] = driver
    rows = [{"What": name, "Version": version} for name, version in versions.items()]
    rows.append({"What": "device", "Version": pair.candidate.server.device})
    if revision := pair.spec.baseline.model.revision:
        rows.append({"What": "baseline", "Version": revision})
    for arm, result in pair.arms.items():
        digest = result.checkpoint.digest
        rows.append({"What": f"weights, {arm}", "Version": f"sha256:{digest}"})
    return rows


def _model_name(pair: Pair) -> str:
    model = PurePath(pair.arm.model.id).name
    if recipe := pair.arm.quantization:
        return f"{model}-{recipe.slug}"
    return model if pair.change.model else f"{model}-{pair.name}"
