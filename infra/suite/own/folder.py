"""A folder of documents: text, Markdown, PDF, and web pages saved as HTML, read into texts."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.contracts.errors import DatasetError
from infra.models import lfs

_TEXTS = (".txt", ".md", ".markdown", ".rst")
_PAGES = (".html", ".htm", ".xhtml")
_PDF = ".pdf"
ENDS = (*_TEXTS, *_PAGES, _PDF)
_NOT_SHOWN = ("script", "style", "template", "noscript")
"""What of a web page nobody reads."""


@dataclass(frozen=True)
class Folder:
    """Every document of a folder."""

    path: Path
    texts: Mapping[str, str]
    """Document, by its path in the folder → its text."""

    plain: Mapping[str, str]
    """The same as `plain` makes them."""

    def holding(self, text: str, document: str = "") -> list[str]:
        """Return the documents in which a text stands.

        Args:
            text: Quoted from a document.
            document: The one that it is said to stand in; none seeks in all.
        """
        wanted = plain(text)
        sought = [document] if document else self.plain
        return [name for name in sought if wanted in self.plain.get(name, "")]


def plain(text: str) -> str:
    """Return a text as passages are compared: spaces and line breaks alike, case free."""
    return " ".join(text.split()).casefold()


def read_folder(path: Path) -> Folder:
    """Read every document of a folder and of those below it; hidden files are none.

    Raises:
        DatasetError: It is not there or empty, or a file of it cannot be read as a document.
    """
    if not path.is_dir():
        raise DatasetError(
            f"The folder of documents {path} is {'a file' if path.exists() else 'not there'}.",
            remedy="Set documents.folder to a folder; it is sought beside the file of rows.",
        )
    files = [*_files(path)]
    if not files:
        raise DatasetError(
            f"The folder of documents {path} is empty.",
            remedy=f"Put documents there: {', '.join(ENDS)}.",
        )
    if others := [file for file in files if file.suffix.lower() not in ENDS]:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise DatasetError(
            f"{others[0].relative_to(path)}{more} in {path} is no document that is read.",
            cause=f"Documents end in {', '.join(ENDS)}.",
            remedy="Convert it, or move it out of the folder.",
        )
    texts: dict[str, str] = {}
    seen: dict[str, str] = {}
    for file in files:
        name = file.relative_to(path).as_posix()
        lfs.check(file, DatasetError)
        text = _read(file, name)
        if not (alike := plain(text)):
            raise DatasetError(f"{name} holds no text.", remedy="Fill it, or move it out.")
        if alike in seen:
            raise DatasetError(
                f"{name} holds the same text as {seen[alike]}.",
                cause="What is there twice is found twice, and takes the place of another passage.",
                remedy="Move one of them out of the folder.",
            )
        seen[alike] = name
        texts[name] = text
    return Folder(path, texts, {name: alike for alike, name in seen.items()})


def _files(path: Path) -> Iterator[Path]:
    for file in sorted(path.rglob("*")):
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue
        if file.is_symlink() and not file.is_file():
            raise DatasetError(
                f"{file.relative_to(path).as_posix()} in {path} is a link to "
                f"{'a folder' if file.is_dir() else 'nothing'}.",
                cause="Links to documents are followed, those to folders are not.",
                remedy="Put what is meant there in its place, or take the link out.",
            )
        if file.is_file():
            yield file


def _read(file: Path, name: str) -> str:
    content = file.read_bytes()
    end = file.suffix.lower()
    if end == _PDF:
        return _pdf(content, name)
    if b"\0" in content:
        raise DatasetError(
            f"{name} is no text: it holds null bytes.",
            cause="It is a binary file, or text in UTF-16.",
            remedy="Move it out of the folder, or write it as UTF-8.",
        )
    if end in _PAGES:
        return _page(content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{name} is no UTF-8: byte {error.start} is {error.object[error.start]:#04x}.",
            remedy=f"Convert it: `iconv -f WINDOWS-1252 -t UTF-8 {file.name} > utf8-{file.name}`.",
        ) from error


def _page(content: bytes) -> str:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(content, "html.parser")  # which finds out the encoding by itself
    for element in soup(_NOT_SHOWN):
        element.decompose()
    lines = (line.strip() for line in soup.get_text().splitlines())
    return "\n".join(line for line in lines if line)


def _pdf(content: bytes, name: str) -> str:
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of what it puts right itself
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileNotDecryptedError
        pages = [page.extract_text() for page in reader.pages]
    except (FileNotDecryptedError, ImportError) as error:  # without what decrypts AES
        raise DatasetError(
            f"{name} is encrypted.",
            remedy="Save it without a password, or print it into a new PDF.",
        ) from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError,
            RecursionError, OSError) as error:  # fmt: skip
        raise DatasetError(
            f"{name} cannot be read as a PDF: {type(error).__name__}: {error}.",
            cause="It is cut off, or no PDF.",
            remedy="Write it again, or move it out of the folder.",
        ) from error
    if not any(page.strip() for page in pages):
        raise DatasetError(
            f"{name} has no text on any page ({len(pages)}).",
            cause="It was scanned: its pages are pictures.",
            remedy="Have its text recognised (OCR), or move it out of the folder.",
        )
    return "\n\n".join(pages)
