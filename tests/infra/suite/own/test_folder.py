"""A folder of documents is read whole, or what is wrong in it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import DatasetError
from infra.suite.own.folder import read_folder
from tests.pdf_files import locked, pdf

PAGE = """<html><head><meta charset="windows-1252"><title>Opening hours</title>
<style>p {color: red}</style><script>var hidden = 1;</script></head>
<noscript>hidden, too</noscript><template>hidden as well</template>
<body><p>The office in <b>Li\u00e8ge</b> opens at\n  8:30.</p></body></html>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "docs"
    (path / "below").mkdir(parents=True)
    (path / "a.md").write_text("# Prices\n\nThe North plan costs\n12 euros.\n")
    (path / "below" / "b.TXT").write_text("\ufeffCaf\u00e9 opens at nine.", encoding="utf-8")
    (path / "c.html").write_bytes(PAGE.encode("windows-1252"))
    (path / "d.pdf").write_bytes(
        pdf(["Warranty", "The (small) pump has two years."], ["Page two."])
    )
    (path / ".hidden.png").write_bytes(b"\x89PNG\0")
    return path


def test_all_four_kinds_of_documents_are_read(folder: Path) -> None:
    found = read_folder(folder)
    assert list(found.texts) == ["a.md", "below/b.TXT", "c.html", "d.pdf"]
    assert found.texts["below/b.TXT"] == "Caf\u00e9 opens at nine."
    assert "hidden" not in found.texts["c.html"] and "red" not in found.texts["c.html"]
    assert found.holding("the office in Li\u00e8ge opens at 8:30") == ["c.html"]
    assert found.holding("the north plan costs 12 euros") == ["a.md"]
    assert found.holding("The (small) pump has\ntwo years.") == ["d.pdf"]
    assert found.holding("Page two.", "d.pdf") == ["d.pdf"]
    assert found.holding("Page two.", "a.md") == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.pdf", pdf([]), "has no text on any page"),
        ("x.pdf", locked(pdf(["secret"]), "word"), "is encrypted"),
        ("x.pdf", pdf(["cut"])[:200], "cannot be read as a PDF"),
        ("x.pdf", b"no PDF at all", "cannot be read as a PDF"),
        ("x.txt", b"text\0with nulls", "holds null bytes"),
        ("x.txt", b"Li\xe8ge", "is no UTF-8: byte 2 is 0xe8"),
        ("x.md", b"  \n", "holds no text"),
        ("x.html", b"<script>1</script>", "holds no text"),
        ("x.png", b"\x89PNG", "is no document that is read"),
        ("x.md", b"# prices the north plan\ncosts 12 EUROS.", "holds the same text as a.md"),
        ("x.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64
         + b"\nsize 9\n", "x.txt"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(folder: Path, name: str, content: bytes, says: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DatasetError) as refusal:
        read_folder(folder)
    assert says in refusal.value.fact and name in refusal.value.fact
    assert refusal.value.remedy


def test_a_pdf_that_opens_without_a_password_is_read_though_it_is_encrypted(folder: Path) -> None:
    (folder / "x.pdf").write_bytes(locked(pdf(["Not so secret."]), ""))
    assert read_folder(folder).holding("not so secret.") == ["x.pdf"]


@pytest.mark.parametrize(("name", "says"), [("docs", "is empty"), ("none", "is not there")])
def test_a_folder_without_documents_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "docs").mkdir()
    with pytest.raises(DatasetError, match=says):
        read_folder(tmp_path / name)


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="is a file"):
        read_folder(folder / "a.md")


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_that_leads_to_no_document_is_not_passed_over(folder: Path, target: str) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "e.md").write_text("Never read.")
    (folder / "more").symlink_to(folder.parent / target)
    with pytest.raises(DatasetError, match=r"more in .* is a link to"):
        read_folder(folder)
