"""Wide questions become rows, with worked examples; answers rank the list by their vectors."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from infra.contracts.errors import DatasetError, EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.records import TaskScores
from infra.contracts.specs import (
    EmbeddingSpec,
    EndpointSpec,
    EvaluationSpec,
    SamplingSpec,
    TaskSpec,
)
from infra.engines.embeddings import embedder_of
from infra.judging.statistics import effect_of
from infra.scoring.sampling import seed_of
from infra.stages.submissions import submitted
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.harness.running.ranked import said
from infra.suite.own import definition
from infra.suite.own.definition import OwnTask, load
from infra.suite.own.retrieval import prompt
from infra.suite.own.worked_examples import Wrong
from infra.suite.port import AnswerFile
from tests import embedding_endpoint
from tests.conftest import ROOT
from tests.infra.suite.harness.completions_server import Completions, serving

MODEL = ROOT / "infra" / "sample" / "model"
NAMES = [
    "works from left to right whatever the operation", "adds the denominators of fractions",
    "takes the mean for the median", "drops the sign of a negative number",
    "confuses area with perimeter", "reads a scale of two as one",
    *(f"invented belief number {number} about shapes" for number in range(24)),
]  # fmt: skip
LIST = "MisconceptionId,MisconceptionName\n" + "".join(
    f"{number + 100},{name}\n" for number, name in enumerate(NAMES)
)


def question(number: int, **changes: Any) -> dict[str, Any]:
    """Return a question with two wrong answers whose misconceptions are known."""
    return {
        "QuestionId": number, "ConstructId": number % 3, "ConstructName": f"Skill {number % 3}",
        "SubjectId": number % 2, "SubjectName": f"Topic {number % 2}", "CorrectAnswer": "B",
        "QuestionText": f"What is {number} + 1?", "AnswerAText": f"{number}",
        "AnswerBText": f"{number + 1}", "AnswerCText": "12", "AnswerDText": "13",
        "MisconceptionAId": 100 + number % 6, "MisconceptionDId": f"{100 + (number + 1) % 6}.0",
        **changes,
    }  # fmt: skip


def written(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "eedi.csv"
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        table.writerows({k: v for k, v in row.items() if v is not None} for row in rows)
    (folder / "misconceptions.csv").write_text(LIST)
    if options:
        file.with_suffix(".yaml").write_text(yaml.safe_dump({"retrieval": options}))
    return file


def read(folder: Path, rows: list[dict[str, Any]], **options: Any) -> OwnTask:
    return load(written(folder, rows, **options))


# --- from wide to long ----------------------------------------------------------------------


def test_each_wrong_answer_with_a_misconception_is_a_row(tmp_path: Path) -> None:
    own = read(tmp_path, [question(n) for n in range(4)], shots=0)
    assert [row["QuestionId_Answer"] for row in own.rows] == [
        f"{n}_{letter}" for n in range(4) for letter in "AD"
    ]
    first = own.rows[0]
    assert (first["answer"], first["right_id"]) == (NAMES[0], "100")
    assert own.rows[1]["answer"] == NAMES[1]  # 101.0 is 101
    assert first["question"] == own.rows[1]["question"] == "What is 0 + 1?"  # one cluster
    assert first["prompt"] == (
        "A pupil gave a wrong answer. Name the misconception behind it in one sentence.\n\n"
        "Subject: Topic 0\nConstruct: Skill 0\nQuestion: What is 0 + 1?\nRight answer: 1\n"
        "Wrong answer: 0\nMisconception:"
    )


def test_a_file_without_labels_asks_about_every_wrong_answer(tmp_path: Path) -> None:
    bare = {"MisconceptionAId": None, "MisconceptionDId": None}
    own = read(tmp_path, [question(n, **bare) for n in range(2)], shots=0)
    assert [row["QuestionId_Answer"] for row in own.rows] == [
        f"{n}_{letter}" for n in range(2) for letter in "ACD"
    ]
    assert own.kind.metrics == ("answered",)
    assert {row["answer"] for row in own.rows} == {""}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"CorrectAnswer": "E"}, "Row 1 of eedi.csv has the CorrectAnswer 'E'"),
        ({"CorrectAnswer": ""}, "has the CorrectAnswer ''"),
        ({"MisconceptionAId": 999}, "names the misconception 999, which is not in the list"),
        ({"MisconceptionBId": 100}, "names a misconception behind B, which is its right answer"),
        ({"AnswerAText": ""}, "has no AnswerAText, but its misconception"),
        ({"AnswerBText": ""}, "has no AnswerBText, which is the right one"),
        ({"QuestionId": ""}, "has no QuestionId"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, [question(1, **changes), question(2)])
    assert says in caught.value.fact
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (LIST.replace("101,", "100,"), "has the MisconceptionId 100, as another row has"),
        (LIST + f"999,{NAMES[0].upper()}\n", "one name under two ids, 100 and 999"),
        (LIST + "999,\n", "has no MisconceptionName"),
        ("MisconceptionId,MisconceptionName\n100,a\n", "one misconception alone"),
        (None, "is not there"),
    ],
)
def test_a_list_that_tells_nothing_apart_is_refused(
    tmp_path: Path, listed: str | None, says: str
) -> None:
    file = written(tmp_path, [question(n) for n in range(3)])
    (tmp_path / "misconceptions.csv").unlink()
    if listed is not None:
        (tmp_path / "misconceptions.csv").write_text(listed)
    with pytest.raises(DatasetError, match=says):
        load(file)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shots": -1}, "shots is below 0"),
        ({"samples": 0}, "samples is not from 1"),
        ({"samples": 1000}, "samples is not from 1 to 256"),
        ({"temperature": -1.0}, "temperature is not from 0 to 5"),
        ({"temperature": 50}, "temperature is not from 0 to 5"),
        ({"temperature": float("nan")}, "temperature is not from 0 to 5"),
        ({"temperature": True}, "temperature to True"),
        ({"temperature": 0.0}, "samples is above 1, and retrieval.temperature is 0"),
        ({"top_p": 1.5}, "top_p is not"),
        ({"fallback": "all"}, "fallback to 'all'"),
        ({"examples": "nowhere.csv"}, "nowhere.csv is not there"),
        ({"samples": "5"}, "samples to '5'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(EvaluationError, match=says):
        read(tmp_path, [question(n) for n in range(3)], **options)


def test_a_question_is_there_once_whatever_a_table_made_of_its_id(tmp_path: Path) -> None:
    """The second one would be lost in what is handed in, and be an example of the first."""
    bare = {"MisconceptionAId": None, "MisconceptionDId": None}
    rows = [question(1), question(2), question(3, QuestionId="1.0")]
    with pytest.raises(DatasetError, match=r"Row 3 of .* QuestionId 1, as row 1 has"):
        read(tmp_path, rows)
    with pytest.raises(DatasetError, match="has the QuestionId 1, as row 1 has"):
        read(tmp_path, [{**one, **bare} for one in rows], shots=0)
    (first, *_) = read(tmp_path, [question(1, QuestionId="7.0")], shots=0).rows
    assert first["QuestionId_Answer"] == "7_A"


def test_settings_of_generation_leave_the_draw_as_it_is(tmp_path: Path) -> None:
    """Without it, all samples would be the same one."""
    file = written(tmp_path, [question(n) for n in range(3)])
    (tmp_path / "eedi.yaml").write_text("generation_kwargs: {max_gen_toks: 7}\n")
    folder = definition.written("mine", str(file), Settings(cache=tmp_path / "cache")).parent
    text = (folder / "mine.yaml").read_text().partition("process_results")[0]
    assert yaml.safe_load(text)["generation_kwargs"] == {
        "until": ["\n"], "max_gen_toks": 7, "do_sample": True, "temperature": 0.7, "top_p": 0.95,
    }  # fmt: skip
    (tmp_path / "eedi.yaml").write_text("generation_kwargs: {temperature: 0}\n")
    with pytest.raises(EvaluationError, match="sets temperature in generation_kwargs") as caught:
        load(file)
    assert "retrieval.temperature" in caught.value.remedy


def test_a_whole_number_is_one_where_any_may_stand(tmp_path: Path) -> None:
    own = read(tmp_path, [question(n) for n in range(3)], temperature=1, top_p=1)
    assert own.defined.keys["generation_kwargs"]["temperature"] == 1.0


@pytest.mark.parametrize("key", ["repeats", "filter_list", "num_fewshot", "fewshot_config"])
def test_how_often_is_asked_the_kind_decides(tmp_path: Path, key: str) -> None:
    file = written(tmp_path, [question(n) for n in range(3)])
    file.with_suffix(".yaml").write_text(f"{key}: 3\n")
    with pytest.raises(EvaluationError, match=f"sets {key}"):
        load(file)


# --- worked examples ------------------------------------------------------------------------


def test_examples_stand_before_the_question_each_with_its_misconception(tmp_path: Path) -> None:
    own = read(tmp_path, [question(n) for n in range(7)], shots=2)
    row = own.rows[0]
    blocks = row["prompt"].split("\n\n")
    assert len(blocks) == 4
    by = json.loads(row["examples"])
    assert [how for _, how in by] == ["construct", "construct"]
    assert {name.partition("_")[0] for name, _ in by} == {"3", "6"}
    for block in blocks[1:3]:
        assert block.splitlines()[-1].removeprefix("Misconception: ") in NAMES
    assert "What is 0 + 1?" not in "".join(blocks[:3])


def test_examples_may_come_from_another_file(tmp_path: Path) -> None:
    train = written(tmp_path / "train", [question(n) for n in range(20, 26)])
    bare = {"MisconceptionAId": None, "MisconceptionDId": None}
    own = read(tmp_path, [question(0, **bare)], examples="train/eedi.csv")
    assert all(len(json.loads(row["examples"])) == 2 for row in own.rows)
    train.unlink()
    with pytest.raises(DatasetError, match="is not there"):
        load(tmp_path / "eedi.csv")


def test_without_any_label_there_is_nothing_to_show(tmp_path: Path) -> None:
    bare = {"MisconceptionAId": None, "MisconceptionDId": None}
    with pytest.raises(DatasetError, match="no example to show") as caught:
        read(tmp_path, [question(0, **bare)])
    assert "retrieval.examples" in caught.value.remedy


def test_the_prompt_is_what_whoever_trains_a_model_renders() -> None:
    asked = Wrong("1", "A", ("", ""), ("", "Skill"), "1 + 1?", "2", "11")
    assert prompt(asked, [(asked, "joins digits")], beginning="Hi") == (
        "Hi\n\nConstruct: Skill\nQuestion: 1 + 1?\nRight answer: 2\nWrong answer: 11\n"
        "Misconception: joins digits\n\n"
        "Construct: Skill\nQuestion: 1 + 1?\nRight answer: 2\nWrong answer: 11\nMisconception:"
    )


# --- asked, ranked, marked ------------------------------------------------------------------


class Asked:
    """A file's task, asked with an embedding endpoint beside."""

    def __init__(self, folder: Path, file: Path, url: str, **line: Any) -> None:
        self.folder, self.url = folder, url
        folder.mkdir(exist_ok=True)
        self.settings = Settings(cache=folder / "cache")
        endpoint = EndpointSpec(url=url, model="embeds", version="1")
        self.spec = EvaluationSpec(
            tasks=(TaskSpec(name="mine", file=str(file), **line),), concurrency=1,
            embedding=EmbeddingSpec(endpoint=endpoint),
        )  # fmt: skip
        self.kind = kind_of(self.spec)
        self.suite = self.kind.prepare(self.spec, settings=self.settings, progress=Silent())

    def ask(self, server: Completions, arm: str = "baseline") -> TaskScores:
        assert self.spec.embedding
        run = RunFolder(id="r", path=self.folder / "run")
        with embedder_of(
            self.spec.embedding, None, name=arm, run=run,
            settings=self.settings, progress=Silent(),
        ) as embedder:  # fmt: skip
            return self.suite.ask(
                "mine", server, MODEL, self.samples(arm), Silent(),
                AnswerFile(self.folder / f"{arm}.sqlite", arm), embedder=embedder,
            )  # fmt: skip

    def samples(self, arm: str = "baseline") -> Path:
        path = self.folder / "run" / "samples" / arm / "mine.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rows(self, arm: str = "baseline") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.samples(arm).read_text().splitlines()]


def says(*texts: str) -> Completions:
    """Answer each request with the next of these texts, by its tokens."""
    return Completions(reply=lambda prompt: texts[sum(prompt) % len(texts)])


def test_an_oracle_ranks_first_and_who_says_nothing_last(tmp_path: Path) -> None:
    file = written(tmp_path / "data", [question(n) for n in range(6)], shots=0, samples=3)
    with embedding_endpoint.embedding() as embeds:
        asked = Asked(tmp_path / "1", file, embeds.url)
        right = {row["prompt"]: row["answer"] for row in load(file).rows}
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        knowing = Completions(reply=lambda prompt: f" {right[tokenizer.decode(prompt)]}")
        with serving(knowing) as server:
            scores = asked.ask(server)
        assert {name: one.value for name, one in scores.metrics.items()} == {
            "map_at_25,none": 1.0, "recall_at_25,none": 1.0, "rank,none": 1.0,
        }  # fmt: skip
        assert scores.metrics["map_at_25,none"].unit == "points"
        assert scores.metrics["rank,none"].higher_is_better is False
        with serving(says("  ")) as server:
            silent = asked.ask(server, "silent")
        assert {name: one.value for name, one in silent.metrics.items()} == {
            "map_at_25,none": 0.0, "recall_at_25,none": 0.0, "rank,none": 30.0,
        }  # fmt: skip


def test_marks_are_those_worked_out_from_vectors_and_borda(tmp_path: Path) -> None:
    file = written(tmp_path / "data", [question(n) for n in range(6)], shots=1, samples=4)
    texts = (
        "the pupil works from left to right", "adds the denominators", "", "median and mean",
        "a belief about shapes number 7", "sign of a number",
    )  # fmt: skip
    count = iter(range(1000))
    varied = Completions(reply=lambda _: texts[next(count) % len(texts)])
    with embedding_endpoint.embedding() as embeds:
        asked = Asked(tmp_path / "1", file, embeds.url)
        with serving(varied) as server:
            scores = asked.ask(server)
    vectors = np.array([embedding_endpoint.vector(name) for name in NAMES])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for row in asked.rows():
        answers = row["responses"][0]
        assert len(answers) == 4
        points = np.zeros(len(NAMES))
        means = np.zeros(len(NAMES))
        for answer in filter(str.strip, answers):
            one = np.array(embedding_endpoint.vector(answer.strip()), dtype=np.float32)
            cosines = (vectors @ one / np.linalg.norm(one)).astype(np.float32).round(5)
            below = (cosines[:, None] > cosines[None, :]).sum(axis=1)
            same = (cosines[:, None] == cosines[None, :]).sum(axis=1)
            points += below + (same - 1) / 2
            means += cosines
        order = sorted(range(len(NAMES)), key=lambda n: (-points[n], -means[n].round(4), n))
        right = int(row["doc"]["right_id"]) - 100
        place = order.index(right) + 1
        expected = 1 / place if place <= 25 else 0.0
        assert row["metrics"]["map_at_25,none"] == pytest.approx(expected, abs=1e-9)
        assert row["metrics"]["rank,none"] == place
        assert row["doc"]["MisconceptionId"].split() == [str(n + 100) for n in order[:25]]
        found.append(expected)
    value = scores.metrics["map_at_25,none"]
    assert value.value == pytest.approx(np.mean(found), abs=1e-9)
    assert value.chance == pytest.approx(sum(1 / n for n in range(1, 26)) / 30)


def test_samples_have_seeds_of_their_own_and_all_of_it_is_in_the_row(tmp_path: Path) -> None:
    file = written(
        tmp_path / "data", [question(n) for n in range(3)],
        shots=0, samples=3, temperature=0.5, top_p=0.9,
    )  # fmt: skip
    with embedding_endpoint.embedding() as embeds, serving(says("x")) as server:
        asked = Asked(tmp_path / "1", file, embeds.url)
        asked.ask(server)
    sent = [body for body in server.requests if body.get("temperature")]
    assert len({(str(body["prompt"]), body["seed"]) for body in sent}) == 6 * 3
    assert {(b["temperature"], b["top_p"], tuple(b["stop"]), b["max_tokens"]) for b in sent} == {
        (0.5, 0.9, ("\n",), 64)
    }
    for row in asked.rows():
        drawn = json.loads(row["doc"]["drawn"])
        assert drawn["seeds"] == [seed_of(1234, ("mine", row["doc_id"]), n) for n in range(3)]
        assert {body["seed"] for body in sent} >= set(drawn["seeds"])
        assert drawn["settings"]["temperature"] == 0.5


def test_what_is_thought_ranks_nothing() -> None:
    assert said(["<think>drops the sign", "<think>a</think> b ", " ", "c"]) == ["b", "c"]


def test_each_repeat_keeps_its_own_ranking_and_seeds(tmp_path: Path) -> None:
    file = written(tmp_path / "data", [question(n) for n in range(3)], shots=0, samples=2)
    count = iter(range(1000))
    varied = Completions(reply=lambda _: NAMES[next(count) % len(NAMES)])
    sampling = SamplingSpec(repeats=3, temperature=0.7)
    with embedding_endpoint.embedding() as embeds, serving(varied) as server:
        asked = Asked(tmp_path / "1", file, embeds.url, sampling=sampling)
        asked.ask(server)
    rows = asked.rows()
    assert len(rows) == 6 * 3
    for row in rows:
        seeds = json.loads(row["doc"]["drawn"])["seeds"]
        first = 2 * row["repeat"]
        assert seeds == [seed_of(1234, ("mine", row["doc_id"]), first + n) for n in range(2)]
        ids = row["doc"]["MisconceptionId"].split()
        place = int(row["metrics"]["rank,none"])
        assert place > 25 or ids[place - 1] == row["doc"]["right_id"]
    rankings = {(row["doc_id"], row["doc"]["MisconceptionId"]) for row in rows}
    assert len(rankings) > 6


def test_a_killed_run_asks_and_embeds_what_it_lacks_alone(tmp_path: Path) -> None:
    file = written(tmp_path / "data", [question(n) for n in range(4)], shots=0, samples=3)
    with embedding_endpoint.embedding() as embeds:
        asked = Asked(tmp_path / "1", file, embeds.url)
        with serving(Completions(die_after=6)) as dying, pytest.raises(EvaluationError):
            asked.ask(dying)
        assert embeds.asked == []
        with serving(Completions()) as server:
            asked.ask(server)
        embedded = list(embeds.texts)
        with serving(Completions()) as never:
            asked.ask(never)
    sent = Counter(
        (str(body["prompt"]), body["seed"])
        for body in [*dying.requests[:5], *server.requests]
        if body.get("temperature")
    )
    assert max(sent.values()) == 1
    assert len(sent) == 8 * 3
    assert [body for body in never.requests if body.get("temperature")] == []
    assert Counter(embedded).most_common(1)[0][1] == 1
    assert embeds.texts == embedded


def test_arms_share_the_vectors_of_the_list(tmp_path: Path) -> None:
    file = written(tmp_path / "data", [question(n) for n in range(4)], shots=0, samples=2)
    with embedding_endpoint.embedding() as embeds:
        asked = Asked(tmp_path / "1", file, embeds.url)
        with serving(says("left to right", "a median")) as server:
            one = asked.ask(server)
        with serving(says("a median", "something else")) as server:
            other = asked.ask(server, "candidate")
    assert Counter(embeds.texts)[NAMES[0]] == 1
    assert "something else" in embeds.texts
    assert one.conditions["embedding"] == other.conditions["embedding"]


def test_rows_of_a_question_are_one_cluster(tmp_path: Path) -> None:
    file = written(tmp_path / "data", [question(n) for n in range(12)], shots=0, samples=2)
    with embedding_endpoint.embedding() as embeds:
        asked = Asked(tmp_path / "1", file, embeds.url)
        for arm in ("baseline", "candidate"):
            with serving(says("left to right", f"a median of {arm}")) as server:
                asked.ask(server, arm)
    from infra.suite.rows import row_of

    arms = [[row_of(row) for row in asked.rows(arm)] for arm in ("baseline", "candidate")]
    questions = [row.question for row in arms[0]]
    assert len(questions) == 24
    assert len(set(questions)) == 12
    found = effect_of(
        [row.score("map_at_25,none") for row in arms[0]],
        [row.score("map_at_25,none") for row in arms[1]],
        0.9, [row.subject for row in arms[0]], questions,
    )  # fmt: skip
    assert found is not None
    assert "bootstrap" in found.method
    assert "cluster-robust by question" in found.method


def test_without_labels_there_is_a_file_to_hand_in(tmp_path: Path) -> None:
    train = tmp_path / "data" / "train.csv"
    written(tmp_path / "data", [question(n) for n in range(6)]).rename(train)
    bare = {"MisconceptionAId": None, "MisconceptionDId": None}
    file = written(
        tmp_path / "data", [question(n, **bare) for n in range(10, 13)],
        examples="train.csv", samples=2,
    )  # fmt: skip
    with embedding_endpoint.embedding() as embeds, serving(says("left to right")) as server:
        asked = Asked(tmp_path / "1", file, embeds.url)
        scores = asked.ask(server)
    assert {name: one.value for name, one in scores.metrics.items()} == {"answered,none": 1.0}
    run = RunFolder(id="r", path=tmp_path / "1" / "run")
    placed = scores.model_copy(update={"samples": "samples/baseline/mine.jsonl"})
    file = submitted(placed, "baseline", run).submission
    assert file is not None
    assert (file.path, file.rows, file.uniform) == ("submissions/baseline/mine.csv", 9, 0)
    lines = (run.path / file.path).read_text().splitlines()
    assert lines[0] == "QuestionId_Answer,MisconceptionId"
    assert len(lines) == 1 + 3 * 3
    name, ids = lines[1].split(",")
    assert name == "10_A"
    assert len(set(ids.split(" "))) == 25
    assert ids.split(" ")[0] == "100"


def test_without_anything_that_embeds_it_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, [question(n) for n in range(3)])
    spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(file)),))
    kind, settings = kind_of(spec), Settings(cache=tmp_path / "cache")
    with pytest.raises(EvaluationError, match="nothing makes any") as caught:
        kind.line(spec.tasks[0], spec, settings=settings, progress=Silent())
    assert "evaluation.embedding.model" in caught.value.remedy
    given = EmbeddingSpec(endpoint=EndpointSpec(url="http://127.0.0.1:9", model="m"))
    spec = spec.model_copy(update={"embedding": given})
    line = kind.line(spec.tasks[0], spec, settings=settings, progress=Silent())
    assert line.embeds
    assert kind.embedded(spec, settings=settings) == {"mine"}


def test_the_list_is_part_of_the_task(tmp_path: Path) -> None:
    file = written(tmp_path, [question(n) for n in range(3)], shots=0)
    spec = EvaluationSpec(tasks=(TaskSpec(name="mine", file=str(file)),))
    settings = Settings(cache=tmp_path / "cache")
    before = kind_of(spec).keys(spec, settings=settings)
    (tmp_path / "misconceptions.csv").write_text(LIST + "999,something else\n")
    assert kind_of(spec).keys(spec, settings=settings) != before
    (tmp_path / "misconceptions.csv").write_text(LIST)
    assert kind_of(spec).keys(spec, settings=settings) == before
