"""The report as one self-contained page: no script, no network, every text escaped."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import wording
from infra.comparison import effect, recipe_name
from infra.contracts.records import MetricComparison, Report
from infra.report import plots
from infra.report.engines import engine_notes
from infra.report.rows import FLIPS, rows_of

if TYPE_CHECKING:
    from markupsafe import Markup

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_STATUS = {"loss": "Loss", "no-loss-shown": "No loss shown", "gain": "Gain"}


@dataclass(frozen=True, slots=True)
class Axis:
    """The common scale of a table's interval bars, in per cent of their width."""

    low: float
    high: float

    @classmethod
    def over(cls, metrics: Iterable[MetricComparison]) -> Axis:
        """Return the scale on which all intervals and zero have room."""
        ends = [0.0]
        for metric in metrics:
            if metric.unit == "points":
                ends += [end for end in (metric.difference, metric.low, metric.high) if end]
        margin = 0.06 * (max(ends) - min(ends)) or 0.01
        return cls(min(ends) - margin, max(ends) + margin)

    def at(self, value: float) -> float:
        """Return the place of a value, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def render(report: Report, folder: Path) -> str:
    """Return the page.

    Args:
        report: What to show.
        folder: The run's folder, which holds the sample rows.

    Raises:
        ComparisonError: The sample rows are not those the report was made from.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("infra.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "size": wording.size,
        "duration": wording.duration,
        "score": wording.score,
        "difference": wording.difference,
        "interval": wording.interval,
        "effect": effect,
        "brief": _brief,
        "breakable": _breakable,
        "shell": shlex.join,
        "web": _is_web_address,
    }
    top = [metric for metric in report.comparison.metrics if metric.subtask_of is None]
    return environment.get_template("report.html.jinja").render(
        report=report,
        base=report.arms["base"],
        quantized=report.arms["quantized"],
        recipe=recipe_name(report.spec.quantization),
        headline=report.verdict.headline.partition("; "),
        status=_STATUS[report.verdict.status],
        top=top,
        axis=Axis.over(top),
        groups=_groups(report.comparison.metrics),
        figures=_figures(report),
        figure_text=plots.describe(report.comparison),
        engine_notes=engine_notes(report),
        tasks=rows_of(report, folder),
        flips_limit=FLIPS,
        stages=_stages(report),
        methods=sorted({m.method for m in report.comparison.metrics}),
        spec=json.dumps(report.spec.model_dump(mode="json"), indent=2, ensure_ascii=False),
        prefect_url=report.provenance.get("prefect_url", ""),
    )


def _groups(
    metrics: Sequence[MetricComparison],
) -> dict[str, tuple[Axis, list[MetricComparison]]]:
    groups: dict[str, list[MetricComparison]] = {}
    for metric in metrics:
        if metric.subtask_of is not None:
            groups.setdefault(metric.subtask_of, []).append(metric)
    return {name: (Axis.over(members), members) for name, members in groups.items()}


def _figures(report: Report) -> dict[str, str]:
    """Return the figure for each kind of screen, as `data:` addresses; empty without one."""
    figures = {}
    for layout in ("wide", "narrow"):
        for scheme, palette in (("light", plots.LIGHT), ("dark", plots.DARK)):
            image = plots.draw(report.comparison, layout=layout, palette=palette)
            if image is not None:
                figures[f"{layout}_{scheme}"] = plots.data_uri(image, "svg")
    return figures


def _stages(report: Report) -> list[dict[str, Any]]:
    longest = max(report.timings.values(), default=0.0) or 1.0
    return [
        {
            "name": name,
            "seconds": seconds,
            "share": round(100 * seconds / longest, 2),
            "reused": name in report.reused,
        }
        for name, seconds in report.timings.items()
    ]


def _printable(value: Any) -> Any:
    """Show what a page cannot hold (control characters, half a surrogate pair) as `�`."""
    if type(value) is str and _CONTROL.search(value):
        return _CONTROL.sub("\ufffd", value)
    return value


def _brief(text: str, length: int = 160) -> str:
    words = " ".join(text.split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores and commas."""
    from markupsafe import Markup, escape

    text = str(escape(name))
    return Markup(re.sub("([_,])", r"\1<wbr>", text))  # noqa: S704 -- escaped above


def _is_web_address(address: str) -> bool:
    return address.startswith(("http://", "https://"))
