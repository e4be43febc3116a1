"""An object store on loopback with an fsspec file system of its own: `objects://PORT/folder`.

It is no file system: it knows whole objects by name, and `If-None-Match: *`, as S3 does.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import fsspec
import httpx
from fsspec import AbstractFileSystem


class Store(ThreadingHTTPServer):
    """The objects, and whether the store answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.alone = threading.Lock()
        self.away = False
        self.url = f"objects://{self.server_address[1]}/assay"


class _Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        name = unquote(self.path)[1:]
        if name.endswith("?list"):
            self._answer(200, json.dumps(self._inside(name.removesuffix("?list"))).encode())
        elif (data := self.server.objects.get(name)) is None:
            self._answer(404)
        else:
            self._answer(200, data)

    def do_PUT(self) -> None:
        name = unquote(self.path)[1:]
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.alone:
            if self.headers.get("If-None-Match") == "*" and name in self.server.objects:
                return self._answer(412)
            if not self.server.away:
                self.server.objects[name] = data
        return self._answer(200)

    def do_DELETE(self) -> None:
        found = self.server.objects.pop(unquote(self.path)[1:], None)
        self._answer(404 if found is None else 200)

    def _inside(self, folder: str) -> list[str]:
        names = {name for name in list(self.server.objects) if name.startswith(f"{folder}/")}
        return sorted({folder + "/" + name[len(folder) + 1 :].split("/")[0] for name in names})

    def _answer(self, status: int, data: bytes = b"") -> None:
        self.send_response(503 if self.server.away else status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Objects(AbstractFileSystem):  # type: ignore[misc]
    """What fsspec needs to read and write there."""

    protocol = "objects"

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._client = httpx.Client(trust_env=False, verify=False)

    def ls(self, path: str, detail: bool = True, **how: Any) -> list[Any]:
        found = self._inside(path)
        if not found:
            raise FileNotFoundError(path)
        kinds = [{"name": name, "size": 0, "type": "file"} for name in found]
        return kinds if detail else found

    def cat_file(self, path: str, start: Any = None, end: Any = None, **how: Any) -> bytes:
        return self._ask("GET", path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **how: Any) -> None:
        self._ask("PUT", path, value, {"If-None-Match": "*"} if mode == "create" else {})

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        inside = self._inside(path)
        for name in inside:
            self.rm(name, recursive=True)
        if not inside:
            self._ask("DELETE", path)

    def _inside(self, path: str) -> list[str]:
        port = self._strip_protocol(path).partition("/")[0]
        return [f"{port}/{name}" for name in json.loads(self._ask("GET", f"{path}?list"))]

    def _open(self, path: str, mode: str = "rb", **how: Any) -> io.BytesIO:
        if mode == "rb":
            return io.BytesIO(self.cat_file(path))
        return _Written(self, path)

    def _ask(
        self, verb: str, path: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> bytes:
        port, _, name = self._strip_protocol(path).partition("/")
        url = f"http://127.0.0.1:{port}/{quote(name)}"
        answer = self._client.request(verb, url, content=data, headers=headers)
        if answer.status_code == 404:
            raise FileNotFoundError(path)
        if answer.status_code == 412:
            raise FileExistsError(path)
        answer.raise_for_status()
        return answer.content


class _Written(io.BytesIO):
    """An object that appears when it is closed."""

    def __init__(self, store: Objects, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path

    def close(self) -> None:
        if not self.closed:
            self._store.pipe_file(self._path, self.getvalue())
        super().close()


fsspec.register_implementation("objects", Objects, clobber=True)


@contextmanager
def serving() -> Iterator[Store]:
    """Run a store for the length of the block."""
    with Store() as store:
        thread = threading.Thread(target=store.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()
