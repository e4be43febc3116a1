"""Say what is installed in an environment, as one JSON object on stdout.

    python -I installed.py MODULE

Imports nothing of ours, and not the module. The answer (version 1):

    {"version": 1, "found": true | false, "python": text, "packages": [[…], …],
     "unknown": [text, …]}

`found` is whether the module is there. `packages` is what the environment consists of, as it was
installed: of each package name, version, the digest of its list of files with their digests, and
where it came from; and whatever was written in its place since. `unknown` names what may be edited
at any time without a trace here: packages that lie elsewhere, in a folder of sources.
"""

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

VERSION = 1

_SLACK_SECONDS = 2.0
"""Files of one installation are written as long before or after their list."""

_CODE = (".py", ".so", ".pyi", ".json")


def main(module: str) -> None:
    """Print the answer."""
    sites = [
        Path(place)
        for place in dict.fromkeys(map(os.path.realpath, sys.path))
        if Path(place).name in {"site-packages", "dist-packages"}
    ]
    packages: list[list[Any]] = []
    unknown: list[str] = []
    seen: set[str] = set()
    for found in importlib.metadata.distributions():
        _add(found, sites, packages, unknown, seen)
    for site in sites:
        _add_loose(site, packages, unknown, seen)
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin and os.path.realpath(spec.origin) not in seen:
        unknown.append(module)
    print(
        json.dumps(
            {
                "version": VERSION,
                "found": spec is not None,
                "python": sys.version,
                "packages": sorted(packages, key=json.dumps),
                "unknown": sorted(set(unknown)),
            }
        )
    )


def _add(
    found: importlib.metadata.Distribution,
    sites: list[Path],
    packages: list[list[Any]],
    unknown: list[str],
    seen: set[str],
) -> None:
    """Note a package, and its files as seen."""
    name, version = str(found.metadata["Name"]), str(found.version)
    source = found.read_text("direct_url.json") or ""
    if json.loads(source or "{}").get("dir_info", {}).get("editable"):
        unknown.append(name)
    place = os.path.realpath(str(found.locate_file("")))
    record = found.read_text("RECORD")
    if record is None:
        # Installed as of old: nobody noted its files.
        if not any(Path(place).is_relative_to(site) for site in sites):
            unknown.append(name)
        files = [_digest(file) for file in _named(found, Path(place))]
        packages.append([name, version, source, *files])
        seen.update(file for file, _ in files)
        return
    rows = [row for row in csv.reader(record.splitlines()) if row]
    written = [
        _written(os.path.join(place, row[0]))  # noqa: PTH118 -- a large environment has 70,000
        for row in rows
        if row[0].endswith(".dist-info/RECORD")
    ]
    packages.append(
        [
            name,
            version,
            source,
            hashlib.sha256(record.encode()).hexdigest(),
            *_edited(place, rows, max(written, default=0.0), seen),
        ]
    )


def _edited(place: str, rows: list[list[str]], installed: float, seen: set[str]) -> list[list[str]]:
    """Return the files that are not what was installed, with their digests; note all as seen."""
    found = []
    for name, digest, size, *_ in ([*row, "", ""] for row in rows):
        if name.endswith((".pyc", "/RECORD")):
            continue
        path = os.path.normpath(os.path.join(place, name))  # noqa: PTH118 -- as above
        seen.add(path)
        try:
            stat = os.stat(path)  # noqa: PTH116
        except OSError:
            found.append([name, "gone"])
            continue
        if stat.st_mtime > installed + _SLACK_SECONDS or (
            size.isdigit() and stat.st_size != int(size)
        ):
            _, now = _digest(Path(path))
            if f"sha256={now}" != digest:
                found.append([name, now])
    return found


def _named(found: importlib.metadata.Distribution, place: Path) -> list[Path]:
    """Return the code of a package that has no list of its files, by the names of its modules."""
    named = (found.read_text("top_level.txt") or str(found.metadata["Name"])).split()
    return [
        file
        for name in named
        for top in (place / name.replace("-", "_"), place / f"{name.replace('-', '_')}.py")
        for file in ([top] if top.is_file() else sorted(top.rglob("*")))
        if file.suffix in _CODE
    ]


def _add_loose(site: Path, packages: list[list[Any]], unknown: list[str], seen: set[str]) -> None:
    """Note modules that belong to no package, and folders of code that are taken in as well."""
    for file in sorted(site.iterdir()) if site.is_dir() else []:
        if file.suffix == ".pth" and file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            folders = [line.strip() for line in lines if not line.startswith(("#", "import "))]
            for folder in filter(None, folders):
                there = Path(os.path.realpath(site / folder))
                if there.is_dir() and not there.is_relative_to(site):
                    unknown.append(str(there))
        if file.suffix in {".pth", ".py"} and file.is_file() and str(file) not in seen:
            seen.add(str(file))
            packages.append(_digest(file))


def _digest(file: Path) -> list[str]:
    """Return a file's path and digest, the latter as lists of files have it."""
    sha = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            sha.update(chunk)
    return [str(file), base64.urlsafe_b64encode(sha.digest()).decode().rstrip("=")]


def _written(file: str) -> float:
    try:
        return Path(file).stat().st_mtime
    except OSError:
        return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
