"""What a run found, as part of a model card on Hugging Face.

A card is read by strangers: no folder of this machine, no host and no address stands in it.
"""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

from infra.contracts import wording
from infra.contracts.records import MetricComparison, Report
from infra.judging.comparison import decisive, recipe_name
from infra.report import prose, tables
from infra.report.grid import grid, table
from infra.report.summary import summarize
from infra.report.text import code, coded, escaped, printable

_VERSIONS = ("autoawq", "torch", "transformers", "lm-eval")


def model_card(report: Report) -> str:
    """Return front matter and a section for the README of the quantized model."""
    told = summarize(report)
    spec = report.spec
    parts = [
        f"---\n{_front_matter(report)}---",
        "## What quantization cost, and what it bought",
        f"**{told.status}.** {escaped(told.headline)} {escaped(told.margin)}",
        f"{_base_name(report)}, {escaped(told.subject)}. {escaped(' '.join(told.bought))}",
        "\n".join(f"- {escaped(line)}" for line in told.caveats),
        "### Quality",
        grid(_tasks(report)),
        escaped(prose.interval_note(decisive(report.comparison), p_values=False)),
        *_titled("Fidelity", tables.fidelity(report), _fidelity_note(report)),
        *_titled("Speed", tables.speed(report), prose.speed_note(report)),
        "### Recipe",
        grid(_recipe(report)),
        "### Calibration",
        _calibration(report),
        escaped(prose.overlap_note(report)),
        "### How to serve it",
        f"```sh\n{_serve(report)}\n```",
        "vLLM reads from the model's own files that it is quantized.",
        "### Versions",
        grid(_versions(report)),
        f"Measured by Assay on {report.created:%Y-%m-%d}, run {code(report.run_id)}; "
        f"recipe {escaped(recipe_name(spec.quantization))}.",
    ]
    return str(printable("\n\n".join(part for part in parts if part) + "\n"))


def _front_matter(report: Report) -> str:
    import yaml

    spec = report.spec
    known: dict[str, Any] = {}
    if spec.model.source != "local":
        known = {"base_model": spec.model.id, "base_model_relation": "quantized"}
    matter = {
        **known,
        "pipeline_tag": "text-generation",
        "tags": [spec.quantization.method, f"{spec.quantization.bits}-bit", "vllm"],
        "model-index": [{
            "name": _model_name(report),
            "results": [_result(report, metric) for metric in decisive(report.comparison)],
        }],
    }  # fmt: skip
    return str(yaml.safe_dump(_plain(matter), allow_unicode=True, sort_keys=False, width=1000))


def _result(report: Report, metric: MetricComparison) -> dict[str, Any]:
    dataset = report.arms["base"].tasks[metric.task].dataset
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": metric.task, "type": dataset.split(" ")[0] or metric.task},
        "metrics": [{
            "type": metric.metric.partition(",")[0],
            "value": round(metric.quantized.value, 6),
            "name": f"{metric.metric} (base model: {metric.base.value:.6g})",
        }],
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Make every text within fit for a file."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return printable(value)


def _tasks(report: Report) -> list[dict[str, str]]:
    rows = []
    if pooled := report.comparison.pooled:
        rows.append({
            "Task": "All rows", "Metric": "pooled", "Rows": f"{pooled.rows:,}",
            "Base": "-", "Quantized": "-",
            "Difference": wording.difference(pooled.difference, "points"),
            "Interval": wording.interval(pooled.low, pooled.high, "points"),
            "Recovery": "-", "Above chance": "-",
        })  # fmt: skip
    for metric in decisive(report.comparison):
        known = metric.low is not None and metric.high is not None
        ends = (metric.low or 0.0, metric.high or 0.0)
        above = metric.recovery_above_chance
        rows.append({
            "Task": metric.task,
            "Metric": metric.metric,
            "Rows": f"{metric.pairs:,}",
            "Base": wording.score(metric.base.value, metric.unit),
            "Quantized": wording.score(metric.quantized.value, metric.unit),
            "Difference": wording.difference(metric.difference, metric.unit),
            "Interval": wording.interval(*ends, metric.unit) if known else "-",
            "Recovery": "-" if metric.recovery is None else wording.share(metric.recovery),
            "Above chance": "-" if above is None else wording.share(above),
        })  # fmt: skip
    return rows


def _titled(name: str, of: tables.Table | None, note: str) -> list[str]:
    return [f"### {name}", table(of), coded(note)] if of else []


def _fidelity_note(report: Report) -> str:
    note, texts = prose.fidelity_note(report), report.spec.fidelity.texts
    return note.replace(texts, PurePath(texts).name) if texts else note


def _recipe(report: Report) -> list[dict[str, str]]:
    fields = report.spec.quantization.model_dump(mode="json", exclude={"calibration"})
    made = report.arms["quantized"].checkpoint.quantization or {}
    told = fields | {key: value for key, value in made.items() if not isinstance(value, dict)}
    return [{"Field": key, "Value": _value(value)} for key, value in told.items()]


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _calibration(report: Report) -> str:
    card = report.calibration
    # The name of a file of one's own, not where it lies.
    source = card.spec.path if card.spec.source != "file" else PurePath(card.spec.path).name
    dropped = card.dropped_too_long
    return (
        f"AWQ was shown {card.used:,} of {card.read:,} conversations from {code(source)}, "
        f"{card.tokens_min:,} to {card.tokens_max:,} tokens each (median {card.tokens_median:,}, "
        f"{card.tokens_total:,} together). {dropped:,} longer than "
        f"{card.spec.max_sequence_length:,} tokens {'was' if dropped == 1 else 'were'} left out. "
        + "".join(f"{told[0].upper()}{told[1:]}. " for told in card.told)
        + f"Fingerprint {code(card.fingerprint)}."
    )


def _serve(report: Report) -> str:
    serving, server = report.spec.serving, report.arms["quantized"].server
    command = ["vllm", "serve", "FOLDER_OR_ID_OF_THIS_MODEL"]
    command += ["--max-model-len", str(server.max_model_len), "--dtype", serving.dtype]
    if serving.tensor_parallel_size > 1:
        command += ["--tensor-parallel-size", str(serving.tensor_parallel_size)]
    return shlex.join(command)


def _versions(report: Report) -> list[dict[str, str]]:
    told = report.provenance
    versions = {"vllm": report.arms["quantized"].server.version}
    for name in _VERSIONS:
        if version := told.get(f"version of {name}"):
            versions[name] = version
    if driver := told.get("driver"):
        versions["driver"] = driver
    rows = [{"What": name, "Version": version} for name, version in versions.items()]
    rows.append({"What": "device", "Version": report.arms["quantized"].server.device})
    if revision := report.spec.model.revision:
        rows.append({"What": "base model", "Version": revision})
    for arm in ("base", "quantized"):
        digest = report.arms[arm].checkpoint.digest
        rows.append({"What": f"weights, {arm}", "Version": f"sha256:{digest}"})
    return rows


def _model_name(report: Report) -> str:
    base = PurePath(report.spec.model.id).name
    return f"{base}-{report.spec.quantization.method}-{report.spec.quantization.bits}bit"


def _base_name(report: Report) -> str:
    model = report.spec.model
    return code(model.id if model.source != "local" else PurePath(model.id).name)
