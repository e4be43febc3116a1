"""Code of tasks whose rows are not here yet: what is wrong with it is found all the same."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

import nltk.data
import pytest

from deployments.__main__ import main
from infra.contracts.errors import EvaluationError, TaskCodeError
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import Leaf, catalog
from infra.suite.harness.definitions.code_check import check_all, check_code
from tests.infra.suite.harness.own_tasks import DEFINITION, NAME, write
from tests.published_rows import write_punkt

ON_A_HUB = (
    DEFINITION[: DEFINITION.index("dataset_path")]
    + "dataset_path: some/rows\n"
    + DEFINITION[DEFINITION.index("test_split") :]
).replace('"Question: {{q}}\\nAnswer:"', "!function utils.ask")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("there was a request")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def leaf(name: str, include_path: Path | None = None) -> Leaf:
    names = catalog(str(include_path) if include_path else None, settings=Settings())
    ((found,),) = [entry.leaves for entry in names.entries([name]).values()]
    return found


@pytest.mark.parametrize(
    "name", ["ifeval", "squadv2", "gpqa_main_zeroshot", "minerva_math_algebra"]
)
def test_code_that_works_is_no_problem(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(write_punkt(tmp_path / "nltk"))])
    check_code(leaf(name))


@pytest.mark.parametrize("name", ["ifeval", "leaderboard_ifeval"])
def test_data_that_a_task_fetched_in_vain_are_named_with_their_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(TaskCodeError, match="needs data of NLTK") as lacking:
        check_code(leaf(name))
    assert shlex.split(lacking.value.command)[-2:] == ["nltk.downloader", "punkt_tab"]


def test_a_package_that_is_not_here_is_named_with_its_command() -> None:
    (error,) = check_all([leaf("20_newsgroups"), leaf("ag_news")])
    assert "needs what is not installed: unitxt" in error.fact
    assert "uv pip install" in error.remedy


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def other(doc): ...", "names a function that is not there"),
        ("import no_such_package_here\ndef ask(doc): ...", "no_such_package_here"),
        ("raise SystemExit('bye')", "cannot be loaded"),
        ("def ask(doc:", "cannot be loaded"),
    ],
)
def test_code_of_ones_own_that_fails(code: str, says: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "tasks", ON_A_HUB, utils_py=code)
    with pytest.raises(EvaluationError, match=says):
        check_code(leaf(NAME, folder))


@pytest.mark.usefixtures("no_prefect_server")
def test_preflight_says_so_before_rows_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    tasks = 'evaluation.tasks=[{"name": "20_newsgroups"}]'
    assert main(["preflight", "sample", "--set", tasks]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "The task 20_newsgroups needs what is not installed: unitxt" in said
    assert "20_newsgroups: when its rows are downloaded" in said
