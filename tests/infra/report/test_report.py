"""The page shows what was measured, whatever the texts in it, and needs nothing but itself."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from infra import report as reports
from infra.contracts.errors import ComparisonError
from infra.contracts.records import Adjustment, Report, Restart
from infra.contracts.specs import ServingChanges
from infra.judging.gaps.comparing import CLOSEST
from infra.judging.verdict import decide
from infra.report import figures, plots
from infra.report.html import render
from infra.report.rows import FLIPS, SAMPLES, own_question, rows_of, split_prompt
from tests.infra.made_records import with_everything
from tests.infra.made_runs import GROUP, make_run, of_pair

HOSTILE = (
    "<script>alert(1)</script><img src=http://evil.example/x.png onerror=alert(2)></pre>"
    "</details><style>*{display:none}</style>\"'&amp;{{ 7 * 7 }}\x1b[31m\x00\ud800\u202e| pipe"
)
_VOID = {"meta", "img", "source", "br", "wbr", "line", "rect", "circle", "path"}


class Page(HTMLParser):
    """A page taken apart; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    report = make_run(folder, rows=120, with_gaps=True)
    assert reports.write(report, folder=folder) == folder / "report.html"
    return report, folder


@pytest.fixture(scope="module")
def page(run: tuple[Report, Path]) -> Page:
    return Page((run[1] / "report.html").read_text(encoding="utf-8"))


def test_numbers_come_back_as_they_were(run: tuple[Report, Path]) -> None:
    report, folder = run
    text = (folder / "report.json").read_text(encoding="utf-8")
    assert Report.model_validate_json(text).model_copy(update={"receipt": None}) == report
    arms = json.loads(text)["arms"]
    assert arms["quantized"]["checkpoint"]["quantization"]["quant_method"] == "awq"
    assert {"value", "stderr", "n"} <= set(arms["baseline"]["tasks"][GROUP]["metrics"]["acc,none"])


def test_page_says_it_in_order(run: tuple[Report, Path], page: Page) -> None:
    report, _ = run
    sections = [attributes["id"] for attributes in page.of("section")]
    assert sections == ["quality", "gaps", "memory", "rows", "calibration", "time", "provenance"]
    headline = report.verdict.headline.removeprefix("FAIL: ")
    assert page.text.index("FAIL") < page.text.index(headline) < page.text.index("Quality: what")
    for row in reports.artifact_table(report):
        for head, cell in row.items():
            assert (cell if head != "Rows" else f"{int(cell):,}") in page.text.replace(
                "3 tasks together", "pooled"
            )
    [pair] = report.pairs
    calibration = pair.candidate.checkpoint.calibration
    assert calibration is not None
    for fact in (
        "15.2 GB → 5.57 GB", "37 %", "CPUWNA16LinearKernel", "1 min 52 s",
        "evaluate-baseline: gsm8k", "128 of 240", calibration.fingerprint, "vLLM 0.32.0",
        report.arms["baseline"].checkpoint.digest, "3.8.8", "--generation-config vllm",
        '"quant_method": "awq"', "http://127.0.0.1:4200/runs/flow-run/",
    ):  # fmt: skip
        assert fact in page.text, fact


def test_page_needs_nothing_but_itself(run: tuple[Report, Path], page: Page) -> None:
    report, folder = run
    assert {"script", "iframe", "object", "link", "base", "form"} & {
        t for t, _ in page.tags
    } == set()
    for attributes in [*page.of("img"), *page.of("source")]:
        address = attributes.get("src") or attributes.get("srcset") or ""
        assert address.startswith("data:image/svg+xml;base64,")
    policy = next(a for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy["content"])
    for link in {str(attributes["href"]) for attributes in page.of("a")}:
        if link.startswith("#"):
            assert any(attributes.get("id") == link[1:] for _, attributes in page.tags)
        elif link != report.provenance["prefect_url"]:
            assert (folder / unquote(link)).is_file(), link


def test_rows_are_shown_whole(run: tuple[Report, Path], page: Page) -> None:
    report, folder = run
    [pair] = report.pairs
    tasks = {task.task: task for task in rows_of(pair, folder)}
    assert len(tasks["gsm8k"].samples) == SAMPLES
    assert tasks[GROUP].samples == ()
    whole = next(m for m in pair.comparison.metrics if m.task == "gsm8k" and m.primary)
    assert (tasks["gsm8k"].lost, tasks["gsm8k"].gained) == (whole.lost, whole.gained)
    outcomes = [row.outcome for row in tasks["gsm8k"].flips]
    assert outcomes == ["lost"] * whole.lost + ["gained"] * whole.gained

    line = (folder / "samples/baseline/gsm8k.jsonl").read_text().splitlines()[0]
    kept = json.loads(line)
    shown = tasks["gsm8k"].samples[0]
    assert f"{shown.context}\n\n{shown.question}" == kept["prompt"]
    assert shown.context.count("Question:") == 5
    assert shown.baseline_text == kept["responses"][0][0]
    for text in (shown.question, shown.baseline_text, shown.candidate_text):
        assert " ".join(text.split()) in page.text
    assert shown.row.prompt_hash[:12] in page.text

    choice = tasks[GROUP].flips[0]
    assert [c.label for c in choice.choices] == ["A", "B", "C", "D"]
    assert [c.right for c in choice.choices].count(True) == 1
    right = next(c for c in choice.choices if c.right)
    assert right.baseline_pick
    assert not right.candidate_pick
    assert right.text in page.text


@pytest.mark.parametrize("candidates", [1, 3])
def test_hostile_text_stays_text(tmp_path: Path, candidates: int) -> None:
    failed = {"candidate-3": "It broke."} if candidates > 1 else {}
    made = make_run(
        tmp_path, rows=30, hostile=HOSTILE, candidates=candidates, failed=failed, with_gaps=True
    )
    report = with_everything(made, hostile=HOSTILE)
    model = report.spec.baseline.model.model_copy(update={"id": HOSTILE, "source": "local"})
    text = HOSTILE.replace("\ud800", "")  # no spec takes half of a pair
    arguments = ServingChanges(extra_args=(text,), variables={text: text}, python=text)
    changes = {"model": model, "serving": arguments}
    spec = report.spec.model_copy(
        update={
            "baseline": report.spec.baseline.model_copy(update={"model": model}),
            "candidates": tuple(one.model_copy(update=changes) for one in report.spec.candidates),
        }
    )
    verdict = {"headline": HOSTILE, "reasons": (HOSTILE,), "needed": f"`{HOSTILE}`"}
    report = report.model_copy(
        update={
            "spec": spec,
            "reused": (HOSTILE,),
            "judged": {
                pair.name: pair.judgement.model_copy(
                    update={
                        "verdict": pair.verdict.model_copy(update=verdict),
                        "not_compared": HOSTILE,
                    }
                )
                for pair in report.pairs
            },
            "verdict": report.verdict.model_copy(update=verdict),
            "failed": dict.fromkeys(report.failed, HOSTILE),
            "provenance": {"prefect_url": "javascript:alert(3)", HOSTILE: HOSTILE},
        }
    )
    text = render(report, tmp_path)
    text.encode()  # no half of a surrogate pair
    page = Page(text)
    assert {"script", "style"} & {tag for tag, _ in page.tags} == {"style"}
    assert len(page.of("style")) == 1
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert all("evil" not in str(a.get("src", "")) for a in page.of("img"))
    assert not any(str(a["href"]).startswith("javascript") for a in page.of("a"))
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\x1b" not in text
    cards = [reports.model_card(pair) for pair in report.pairs]
    for brief in (reports.artifact_markdown(report), *cards):
        brief.encode()
        markdown = re.sub(r"`[^`]*`", "", brief.rpartition("---\n\n")[2])
        assert not re.search(r"(?<!\\)[<>]", markdown)


def test_refused_rows_leave_no_page(tmp_path: Path) -> None:
    report = make_run(tmp_path, rows=30)
    path = tmp_path / "samples/quantized/gsm8k.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ComparisonError, match="holds 29 rows"):
        reports.write(report, folder=tmp_path)
    assert not list(tmp_path.glob("report.*"))


def test_many_rows_make_no_large_page(tmp_path: Path) -> None:
    report = make_run(tmp_path, rows=400, kept=0.5, with_gaps=True)
    page = Page(text := render(report, tmp_path))
    shown = len([a for a in page.of("details") if a.get("class") == "row"])
    assert shown <= SAMPLES + 3 * FLIPS + 2 * CLOSEST
    assert len(text) < 1_500_000
    [pair] = report.pairs
    lost = next(m.lost + m.gained for m in pair.comparison.metrics if m.primary)
    assert f"{FLIPS} of the {lost} rows that flipped" in page.text


def _with(report: Report, **metric: Any) -> Report:
    [pair] = report.pairs
    changed = tuple(m.model_copy(update=metric) for m in pair.comparison.metrics)
    comparison = pair.comparison.model_copy(
        update={"metrics": changed, "pooled": None, "gaps": None}
    )
    return of_pair(
        report,
        comparison=comparison,
        verdict=decide(comparison, report.spec.verdict, what="Quantization"),
    )


def test_without_intervals_or_points(run: tuple[Report, Path]) -> None:
    """Perplexity and its like: no figure, no interval, but a page."""
    report, folder = run
    bare = _with(report, low=None, high=None, unit="value", method="none: a test", p_value=None)
    page = Page(render(bare, folder))
    assert page.of("img") == []
    assert "none: a test" in page.text
    assert "data:image" not in reports.artifact_markdown(bare)
    assert reports.artifact_table(bare)[0]["Interval"] == "-"
    assert plots.draw(bare.pairs[0]) is None
    no_interval = _with(report, low=None, high=None)
    assert plots.draw(no_interval.pairs[0]) is not None


def test_same_report_same_bytes(run: tuple[Report, Path]) -> None:
    report, folder = run
    figures._drawn.cache_clear()
    assert render(report, folder) == (folder / "report.html").read_text(encoding="utf-8")
    assert reports.artifact_markdown(report) == (folder / "report.md").read_text(encoding="utf-8")


def test_markdown_is_what_the_ui_renders(run: tuple[Report, Path]) -> None:
    report, _ = run
    text = reports.artifact_markdown(report)
    assert text.startswith("# ❌ FAIL\n")
    assert "<" not in text  # no HTML, no inline SVG, no style
    images = re.findall(r"!\[[^\]]*\]\(data:image/png;base64,([^)]+)\)", text)
    assert len(images) == 2
    tables = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "global\\_mmlu\\_en" in tables[0]


def test_figure_is_white_where_the_ui_may_be_dark(run: tuple[Report, Path]) -> None:
    from matplotlib.image import imread

    report, _ = run
    description = reports.artifact_description(report)
    assert description.replace("\\", "").startswith(f"❌ {report.verdict.headline}\n")
    for text in (description, reports.artifact_markdown(report)):
        data = base64.b64decode(text.partition("base64,")[2].partition(")")[0])
        pixels = imread(io.BytesIO(data), format="png")
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.tolist() == [[1.0] * 4] * 4
        assert len(data) < 60_000


def test_table_has_plain_cells(run: tuple[Report, Path]) -> None:
    report, _ = run
    table = reports.artifact_table(report)
    assert len(table) == len(report.pairs[0].comparison.metrics) + 1
    assert len({tuple(row) for row in table}) == 1
    assert all(isinstance(cell, str) for row in table for cell in row.values())
    assert [row["Task"] for row in table][:3] == ["All rows", "gsm8k", "gsm8k"]
    assert [row["Task"] for row in table][4] == "gpqa_main_zeroshot"  # subtasks come last


@pytest.mark.parametrize(("prompt", "doc", "question"), [
    ("Q: a b c\nA: 1\n\nQ: d e f\nA:", {"question": "d e f", "x": "Q: a b c"}, "Q: d e f\nA:"),
    # The same question among the shots: the last one counts.
    ("Q: same\nA: 1\n\nQ: same\nA:", {"question": "same "}, "Q: same\nA:"),
    # No field is called a question: the longest text tells.
    ("Long shot\n\nIs it so?\nyes", {"a": "yes", "b": "Is it so?"}, "Is it so?\nyes"),
    ("only a question", {"question": "only a question"}, "only a question"),
    ("nothing known", {"id": 7}, "nothing known"),
    ("x" * 3000, {}, "x" * 1200),
])  # fmt: skip
def test_last_question(prompt: str, doc: dict[str, Any], question: str) -> None:
    context, found = split_prompt(prompt, doc)
    assert found == question
    assert prompt.startswith(context)


def test_a_changed_or_restarted_engine_is_named_once_an_arm(run: tuple[Report, Path]) -> None:
    report, folder = run
    plain = reports.artifact_markdown(report) + Page(render(report, folder)).text
    assert "The engine of" not in plain
    server = report.arms["quantized"].server.model_copy(
        update={
            "adjustments": (
                Adjustment(
                    field="serving.max_model_len", before="2048", after="1248",
                    reason="The cache holds <1248> tokens.",
                ),
            ),
            "restarts": (
                Restart(reason="It hung.", answered=40),
                Restart(reason="It was killed.", answered=73),
            ),
        }
    )  # fmt: skip
    candidate = report.arms["quantized"].model_copy(update={"server": server})
    restarted = report.model_copy(update={"arms": report.arms | {"quantized": candidate}})
    line = (
        "The engine of quantized ran with serving.max_model_len=1248 instead of 2048 "
        "(The cache holds <1248> tokens); it was started again 2 times (the last time after 73 "
        "answers, none of which was asked for twice: It was killed)."
    )
    assert line in Page(render(restarted, folder)).text
    assert line in reports.artifact_markdown(restarted).replace("\\", "")
    assert render(restarted, folder).count("The engine of") == 1
    baseline = report.baseline.model_copy(
        update={"server": server.model_copy(update={"adjustments": ()})}
    )
    restarted = report.model_copy(update={"arms": report.arms | {"baseline": baseline}})
    assert "The engine of the baseline was started again 2 times" in render(restarted, folder)


@pytest.mark.parametrize(("doc", "prompt", "title"), [
    ({"Question": " How far? "}, "What is right:How far?\nChoices:", "How far?"),
    ({"question": "How far?"}, "Wie weit?", "Wie weit?"),  # not asked as it stands there
    ({"question": 3, "text": "How far?"}, "How far?\nA:", "How far?\nA:"),
])  # fmt: skip
def test_a_row_is_called_by_its_own_question(doc: dict[str, Any], prompt: str, title: str) -> None:
    assert own_question(doc, prompt) == title
