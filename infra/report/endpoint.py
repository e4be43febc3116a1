"""The evaluation of an endpoint for people: a page, the same in Markdown, and in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.contracts import wording
from infra.contracts.records import MetricComparison
from infra.contracts.records.endpoint import EndpointReport, Interval
from infra.judging.comparison import decisive
from infra.judging.statistics import CONFIDENCE
from infra.report import receipt, submissions, verdict_file
from infra.report.summary import headline_of, margin_held
from infra.report.text import printable
from infra.store.content import write_atomically

NOT_JUDGED = "The endpoint is measured; there is no baseline to judge it by."


def write(report: EndpointReport, *, folder: Path) -> Path:
    """Write the page, its brief, `verdict.json` and `report.json`; return the page's path.

    `report.json` comes last and is sealed: where it is, none of the files may change any more.
    """
    page = folder / "report.html"
    write_atomically(page, render(report))
    write_atomically(folder / "report.md", markdown(report))
    verdict_file.write(verdict_file.of_endpoint(report, headline(report), page), folder)
    report = receipt.sealed(report, folder)
    write_atomically(folder / "report.json", report.model_dump_json(indent=2) + "\n")
    return page.absolute()


def headline(report: EndpointReport) -> str:
    """Return the verdict, or what it scored where nothing is judged, in one sentence."""
    if report.judged:
        return report.judged.verdict.headline
    scores = [f"{row['Task']} {row['Score']}" for row in score_cells(report)]
    return f"{report.spec.endpoint.model}: {wording.listed(scores)}."


def score_cells(report: EndpointReport) -> list[dict[str, str]]:
    """Return the table of scores as plain cells."""
    grades: dict[str, str] = {one.task: one.grade for one in report.found.outlook}
    beside = {one.task: one for one in decisive(report.judged.comparison)} if report.judged else {}
    rows = []
    for name, task in report.tasks.items():
        metric = task.metrics[task.primary_metric]
        unit: wording.Unit = "points" if metric.unit == "points" else "value"
        row = {
            "Task": name,
            "Metric": task.primary_metric,
            "Score": wording.score(metric.value, unit),
            f"{wording.confidence(CONFIDENCE)} interval": _interval(
                report.intervals.get(name), unit
            ),
            "Rows": f"{task.n:,}",
            "Grade": grades.get(name, _of_group(name, grades)),
        }
        if name in beside:
            row |= _beside(beside[name])
        rows.append(row)
    return rows


def ability_cells(report: EndpointReport) -> list[dict[str, str]]:
    """Return what the endpoint can as plain cells."""
    return [
        {"Capability": one.name, "Found": "yes" if one.found else "no", "Why": one.why}
        for one in report.found.abilities
    ]


def outlook_cells(report: EndpointReport) -> list[dict[str, str]]:
    """Return what each task comes to as plain cells."""
    return [{"Task": one.task, "Grade": one.grade, "Why": one.why} for one in report.found.outlook]


def caveats(report: EndpointReport) -> Iterator[str]:
    """Yield what weakens the scores, a sentence each."""
    spec = report.spec.endpoint
    word = f"version {spec.version}" if spec.version else "no version"
    yield (
        f"Somebody else runs this endpoint. Which weights, engine and settings answered is the "
        f"user's word ({spec.base_url}, {spec.model}, {word}); nothing here could check it."
    )
    yield from _of_verdict(report)
    if report.found.prompts != "tokens":
        yield (
            "Prompts travelled as text: which tokens the model read is the endpoint's own affair. "
            "Compare these scores only with such as were asked in the same way."
        )
    if any(one.name.startswith("greedy") and not one.found for one in report.found.abilities):
        yield "Two answers to one question differed: another run will score otherwise."
    for name, task in report.tasks.items():
        if task.truncated:
            yield (
                f"{task.truncated:,} of {task.n:,} answers on {name} ran into the token limit and "
                "were marked as far as they went."
            )
    if reused := [name for name, task in report.tasks.items() if task.reused]:
        yield (
            f"{wording.listed(reused)}: taken from an earlier run of the same version; nothing was "
            "asked."
        )


def _of_verdict(report: EndpointReport) -> Iterator[str]:
    if report.judged is None:
        yield f"{NOT_JUDGED} Set `baseline` to the folder of a finished run for a verdict."
        return
    earlier, comparison = report.judged.baseline, report.judged.comparison
    yield (
        "The verdict is on all that differs between the two: weights, engine, settings, machine. "
        "It does not show which of them it was."
    )
    if earlier.by_word:
        yield "The baseline is an endpoint too: what answered there is the user's word as well."
    if differ := sum(comparison.prompts_differ.values()):
        total = sum(report.tasks[task].n for task in comparison.prompts_differ)
        yield (
            f"{differ:,} of {total:,} questions were put to the two in other words, by another "
            "tokenizer or chat template; rows are paired by question."
        )


def spent(report: EndpointReport) -> str:
    """Return what the run took, in one sentence."""
    took = report.spent
    money = f", {took.money:.4g} in the currency of the prices" if took.money else ""
    return (
        f"{took.requests:,} requests, {took.prompt_tokens:,} tokens of prompts and "
        f"{took.answer_tokens:,} of answers{money}, of which {report.found.spent.requests:,} "
        f"requests to find out what it can; {wording.duration(report.seconds)}."
    )


def markdown(report: EndpointReport) -> str:
    """Return the evaluation as Markdown."""
    parts = [f"# {report.spec.endpoint.model}", *(f"- {one}" for one in caveats(report))]
    if report.judged:
        verdict = report.judged.verdict
        needed = [f"**What would make it conclusive:** {_cell(verdict.needed)}", ""]
        parts[1:1] = [
            *("", f"**{_cell(verdict.headline)}**", ""),
            *(f"- {_cell(one)}" for one in verdict.reasons),
            *("", *(needed if verdict.needed else ()), _margin(report), ""),
        ]
    for title, rows in (
        (_scores_title(report), score_cells(report)),
        ("What it can", ability_cells(report)),
        ("How each task is put", outlook_cells(report)),
    ):
        parts += ["", f"## {title}", "", _table(rows)]
    return "\n".join([*parts, "", spent(report), ""])


def render(report: EndpointReport) -> str:
    """Return the page: no script, no network, every text escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("infra.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )
    return environment.get_template("endpoint.html.jinja").render(
        report=report,
        endpoint=report.spec.endpoint,
        verdict=report.judged.verdict if report.judged else None,
        verdict_headline=headline_of(report.judged.verdict) if report.judged else "",
        margin=_margin(report),
        caveats=list(caveats(report)),
        tables=[
            (_scores_title(report), score_cells(report)),
            ("What it can", ability_cells(report)),
            ("How each task is put", outlook_cells(report)),
        ],
        spent=spent(report),
        submissions=submissions.of_tasks("endpoint", report.tasks),
    )


def _scores_title(report: EndpointReport) -> str:
    if report.judged is None:
        return "Scores"
    earlier = report.judged.baseline
    return f"Scores beside {earlier.what} (run {earlier.run_id})"


def _margin(report: EndpointReport) -> str:
    if report.judged is None:
        return ""
    judged = report.judged
    return margin_held(judged.verdict, report.spec.verdict, judged.comparison)


def _of_group(name: str, grades: dict[str, str]) -> str:
    """Return the grade of the line that a task came from; a tag has several tasks."""
    return next(iter({*grades.values()})) if len({*grades.values()}) == 1 else "-"


def _interval(found: Interval | None, unit: wording.Unit) -> str:
    if found is None:
        return "-"
    return (
        f"{wording.score(found.low, unit).removesuffix(' %')} to {wording.score(found.high, unit)}"
    )


def _beside(one: MetricComparison) -> dict[str, str]:
    bounded = one.low is not None and one.high is not None
    return {
        "Baseline": wording.score(one.baseline.value, one.unit),
        "Difference": wording.difference(one.difference, one.unit),
        f"Paired {wording.confidence(one.confidence)} interval": (
            wording.interval(one.low or 0.0, one.high or 0.0, one.unit) if bounded else "-"
        ),
        "Lost / gained": f"{one.lost:,} / {one.gained:,}",
    }


def _table(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "-"
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(_cell(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
