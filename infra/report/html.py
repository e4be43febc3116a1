"""The report as one self-contained page: no script, no network, every text escaped."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.contracts import wording
from infra.contracts.records import MetricComparison, Pair, Pooled, Report
from infra.engines.registry import title
from infra.judging.comparison import effect
from infra.probes.speed.comparing import NOTABLE
from infra.report import (
    functions_plot,
    functions_tables,
    gap_plot,
    gap_tables,
    plots,
    prose,
    ranking,
    reliability_plot,
    reliability_tables,
    repeats_tables,
    speed_plot,
    submissions,
    tables,
    tradeoff_plot,
)
from infra.report.cards import card_names
from infra.report.engines import engine_notes
from infra.report.figures import data_uri, in_dark
from infra.report.rows import FLIPS, rows_of
from infra.report.summary import (
    headline_of,
    loaded_weights,
    ratio_span,
    summarize,
    throughput_ratios,
)
from infra.report.text import capitalized, printable
from infra.report.words import CHANGES, words

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_LAYOUTS: tuple[plots.Layout, ...] = ("wide", "narrow")


@dataclass(frozen=True, slots=True)
class Axis:
    """The common scale of a table's interval bars, in per cent of their width."""

    low: float
    high: float

    @classmethod
    def over(cls, metrics: Iterable[MetricComparison], pooled: Pooled | None = None) -> Axis:
        """Return the scale on which all intervals and zero have room."""
        ends = [0.0] if pooled is None else [0.0, pooled.low, pooled.high]
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
    from markupsafe import Markup

    environment = _environment()
    several = len(report.pairs) + len(report.failed) != 1
    candidate = environment.get_template("candidate.html.jinja")
    return environment.get_template("report.html.jinja").render(
        report=report,
        several=several,
        headline=headline_of(report.verdict),
        ranking=ranking.table(report),
        scores=ranking.scores_table(report),
        tradeoff_figures=_figures(partial(tradeoff_plot.draw, report)) if several else {},
        tradeoff_text=tradeoff_plot.describe(report),
        words=words(report),
        candidates=[
            Markup(candidate.render(**_of_pair(pair, folder, several=several)))  # noqa: S704
            for pair in report.pairs
        ],
        cards=card_names(report),
        checkpoints=tables.checkpoints(report),
        checkpoint_notes={
            name: prose.checkpoint_notes(arm.checkpoint) for name, arm in report.arms.items()
        },
        stages=_stages(report),
        commands=_commands(report),
        submissions=submissions.of_arms(report.arms),
        spec=json.dumps(report.spec.model_dump(mode="json"), indent=2, ensure_ascii=False),
        prefect_url=report.provenance.get("prefect_url", ""),
    )


@cache
def _environment() -> Environment:
    """Return what fills in the templates, which are compiled once."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("infra.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )
    environment.filters |= {
        "size": wording.size,
        "duration": wording.duration,
        "score": wording.score,
        "share": wording.share,
        "p_value": wording.p_value,
        "confidence": wording.confidence,
        "difference": wording.difference,
        "interval": wording.interval,
        "own_margin": wording.own_margin,
        "times": wording.times,
        "effect": effect,
        "brief": _brief,
        "breakable": _breakable,
        "capitalized": capitalized,
        "engine": title,
        "coded": _coded,
        "shell": shlex.join,
        "web": _is_web_address,
    }
    return environment


def _of_pair(pair: Pair, folder: Path, *, several: bool) -> dict[str, Any]:
    """Return what the page shows of one candidate."""
    top = [metric for metric in pair.comparison.metrics if metric.subtask_of is None]
    return {
        "pair": pair,
        "report": pair.report,
        "suffix": f"-{pair.name}" if several else "",
        "heading": "h3" if several else "h1",
        "baseline": pair.baseline,
        "candidate": pair.candidate,
        "summary": summarize(pair),
        "tiles": _tiles(pair),
        "top": top,
        "axis": Axis.over(top, pair.comparison.pooled),
        "groups": _groups(pair.comparison.metrics),
        "quality_figures": _figures(partial(plots.draw, pair)),
        "quality_text": plots.describe(pair),
        "reliability_figures": _figures(partial(reliability_plot.draw, pair)),
        "reliability_text": reliability_plot.describe(pair),
        "functions_figures": _figures(partial(functions_plot.draw, pair)),
        "functions_text": functions_plot.describe(pair),
        "calling": functions_tables,
        "gap_figures": _figures(partial(gap_plot.draw, pair)),
        "gap_text": gap_plot.describe(pair),
        "gaps": gap_tables,
        "sure": reliability_tables,
        "again": repeats_tables,
        "speed_figures": _figures(partial(speed_plot.draw, pair)),
        "speed_text": speed_plot.describe(pair),
        "tables": _tables(pair),
        "prose": prose,
        "words": words(pair.report),
        "changes": CHANGES,
        "engine_notes": engine_notes(pair),
        "tasks": rows_of(pair, folder),
        "flips_limit": FLIPS,
        "prefect_url": pair.report.provenance.get("prefect_url", ""),
    }


def _tables(pair: Pair) -> Mapping[str, tables.Table | None]:
    return {
        "against": tables.against(pair),
        "fidelity": tables.fidelity(pair),
        "gaps": gap_tables.changes(pair),
        "reliability": reliability_tables.reliability(pair),
        "functions": functions_tables.parts(pair),
        "offered": functions_tables.offered(pair),
        "positions": reliability_tables.positions(pair),
        "passes": repeats_tables.passes(pair),
        "steadiness": repeats_tables.steadiness(pair),
        "predicted": gap_tables.flips(pair),
        "closest": gap_tables.closest(pair),
        "lengths": tables.lengths(pair),
        "noise": tables.noise(pair),
        "power": tables.power(pair),
        "overlap": tables.overlap(pair),
        "calibration": tables.calibration(pair),
        "speed": tables.speed(pair),
        "slowest": tables.slowest(pair),
        "memory": tables.memory(pair),
    }


def _tiles(pair: Pair) -> list[tuple[str, str, str]]:
    """Return the numbers that stand large below the verdict: cost or gain, number, what it is.

    Costs come first.
    """
    baseline, candidate = pair.baseline.checkpoint, pair.candidate.checkpoint
    sizes = f"{wording.size(baseline.size_bytes)} → {wording.size(candidate.size_bytes)}"
    ratio = pair.comparison.size_ratio
    bought = [(_gain([1 / ratio]), f"{100 * ratio:.0f} %", f"of the size on disk: {sizes}")]
    if loaded := loaded_weights(pair):
        sizes = " → ".join(map(wording.size, loaded))
        share = f"{100 * loaded[1] / loaded[0]:.0f} %"
        bought.append((_gain([loaded[0] / loaded[1]]), share, f"of the memory, loaded: {sizes}"))
    if ratios := throughput_ratios(pair):
        what = "the baseline's written tokens a second"
        bought.append((_gain(ratios), f"{ratio_span(ratios)}×", what))
    decisive = [m for m in pair.comparison.metrics if m.primary and m.subtask_of is None]
    lost, gained = sum(m.lost for m in decisive), sum(m.gained for m in decisive)
    rows = sum(m.pairs for m in decisive)
    cost = [("Cost", f"{lost:,} / {gained:,}", f"rows lost / gained, of {rows:,}")]
    if fidelity := pair.comparison.fidelity:
        cost.append(("Cost", wording.share(fidelity.agreement), "of next tokens are the same"))
    return sorted(cost + bought, key=lambda tile: tile[0] != "Cost")


def _gain(ratios: Sequence[float]) -> str:
    """Say whether something was bought or paid for, by ratios of which more is better."""
    slower, faster = min(ratios) * (1 + NOTABLE) < 1, max(ratios) > 1 + NOTABLE
    if slower:
        return "Bought and cost" if faster else "Cost"
    return "Bought" if faster else "Alike"


def _groups(
    metrics: Sequence[MetricComparison],
) -> dict[str, tuple[Axis, list[MetricComparison]]]:
    groups: dict[str, list[MetricComparison]] = {}
    for metric in metrics:
        if metric.subtask_of is not None:
            groups.setdefault(metric.subtask_of, []).append(metric)
    return {name: (Axis.over(members), members) for name, members in groups.items()}


def _figures(draw: Callable[..., bytes | None]) -> dict[str, str]:
    """Return the figure for each kind of screen, as `data:` addresses; empty without one."""
    figures = {}
    for layout in _LAYOUTS:
        if image := draw(layout=layout):
            figures[f"{layout}_light"] = data_uri(image, "svg")
            figures[f"{layout}_dark"] = data_uri(in_dark(image), "svg")
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


def _commands(report: Report) -> list[tuple[str, tuple[str, ...]]]:
    commands = [(f"{arm} engine", result.server.command) for arm, result in report.arms.items()]
    for arm, result in report.arms.items():
        if result.bench:
            commands.append((f"{arm} speed", result.bench.command))
    return commands


def _brief(text: str, length: int = 160) -> str:
    words = " ".join(text.split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores and commas."""
    from markupsafe import Markup, escape

    text = str(escape(printable(name)))
    return Markup(re.sub("([_,])", r"\1<wbr>", text))  # noqa: S704 -- escaped above


def _coded(sentence: str) -> Markup:
    """Show what stands between backticks as code."""
    from markupsafe import Markup, escape

    text = str(escape(printable(sentence)))
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", text))  # noqa: S704 -- escaped above


def _is_web_address(address: str) -> bool:
    return address.startswith(("http://", "https://"))
