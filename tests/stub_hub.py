"""A model hub on loopback that speaks to the real clients of Hugging Face and ModelScope.

It serves what a test puts in, counts what it serves, and fails on demand. What it answers follows
the installed clients' source, and what the hubs are known to answer.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.stub_hub_writing import Writing, Written

PASS = 0
_CHUNK = 64 * 1024


@dataclass
class Repo:
    """One repository with one branch, at one commit."""

    files: dict[str, bytes]
    branch: str = "main"
    gated: bool = False
    gated_files: bool = False
    """The list of files is public and the files are not, as on Hugging Face."""
    wrong_digest: set[str] = field(default_factory=set)
    """Files whose listing tells another digest than the content has."""

    newest_commit_only_deleted: bool = False
    """Then no file that is left carries the newest commit's hash."""

    def __post_init__(self) -> None:
        tree = sorted((name, hash(content)) for name, content in self.files.items())
        self.commit = hashlib.sha1(repr(tree).encode()).hexdigest()

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name] + b"!" * (name in self.wrong_digest)).hexdigest()

    def git_sha1(self, name: str) -> str:
        content = self.files[name] + b"!" * (name in self.wrong_digest)
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def is_lfs(self, name: str) -> bool:
        return name.endswith((".safetensors", ".bin", ".parquet"))


class StubHub:
    """The hub: repositories under `models/<id>` and `datasets/<id>`."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.served: dict[str, int] = {}
        """Bytes of content sent, by file name."""
        self.sending = 0
        """Answers with content that are under way. One to a client that was killed goes on until
        its connection is found to be broken."""
        self.requests: list[str] = []
        """Method and path with query, in order."""
        self.authorized: list[tuple[str, str | None]] = []
        """Host and Authorization header of every request for content."""
        self.cuts: dict[str, list[int]] = {}
        """File name → after how many bytes each coming answer is cut off."""
        self.resets = False
        """Cut connections with a reset instead of an early end."""
        self.errors: dict[str, list[int]] = {}
        """Part of a path → HTTP status, or PASS, of each coming request whose path contains it."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.seconds_per_chunk = 0.0
        self.gate = threading.Event()
        """While it is clear, no content is served."""
        self.gate.set()
        self.portal = False
        """Answer everything with a login page, as the network of a hotel does."""
        self.cdn = False
        """Send content from another origin, as the real hub does for large files."""
        self.written = Written()
        self._lock = threading.Lock()
        stub = self

        class Handler(_Handler):
            hub = stub

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def count(self, name: str, size: int) -> None:
        with self._lock:
            self.served[name] = self.served.get(name, 0) + size

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self.sending += 1
        try:
            yield
        finally:
            with self._lock:
                self.sending -= 1

    def take(self, queues: dict[str, list[int]], key: str) -> int | None:
        with self._lock:
            for part, queue in queues.items():
                if part in key and queue:
                    return queue.pop(0)
        return None


@functools.cache
def _noise(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


def safetensors(tensors: dict[str, int]) -> bytes:
    """Return a safetensors file with 8-bit tensors of so many bytes."""
    header, data = {}, b""
    for name, size in tensors.items():
        offsets = [len(data), len(data) + size]
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": offsets}
        data += _noise(name, size)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def model_files(weight_bytes: int = 1_000_000) -> dict[str, bytes]:
    """Return the files of a small, sound model repository, with what hubs have besides."""
    return {
        "config.json": json.dumps({"architectures": ["Qwen2ForCausalLM"]}).encode(),
        "tokenizer.json": b'{"model": {}}',
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": safetensors({"weight": weight_bytes}),
        ".gitattributes": b"*.safetensors filter=lfs",
        "README.md": b"# A model",
        "model-q4.gguf": b"GGUF",
        "pytorch_model.bin": b"pickle",
        "modeling_own.py": b"raise SystemExit",
        "original/consolidated.pth": b"pickle",
    }


@contextmanager
def running() -> Iterator[StubHub]:
    hub = StubHub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may go away
            super().handle_error(request, client_address)


class _Handler(Writing, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StubHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.hub
        hub.requests.append(f"{self.command} {self.path}")
        time.sleep(hub.delay)
        if hub.portal:
            return self._send(b"<html>Welcome</html>", 200, {"Content-Type": "text/html"})
        url = urlsplit(self.path)
        path, query = unquote(url.path), {k: v[0] for k, v in parse_qs(url.query).items()}
        if status := hub.take(hub.errors, self.path):
            return self._json({"error": "on demand"}, status)
        if match := re.fullmatch(r"/api/(models|datasets)/(.+?)(?:/revision/(.+))?", path):
            return self._hugging_face_info(*match.groups())
        if match := re.fullmatch(r"/(?:cdn/)?(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._hugging_face_file(*match.groups())
        if match := re.fullmatch(r"/api/v1/(models|datasets)/([^/]+/[^/]+)/(repo.*)", path):
            return self._modelscope(*match.groups(), query)
        return self._json({"Code": 404, "Message": "no such page"}, 404)

    def _hugging_face_info(self, kind: str, repo_id: str, revision: str | None) -> None:
        repo = self.hub.repos.get(f"{kind}/{repo_id}")
        if repo is None:
            return self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        if repo.gated:
            return self._json({}, 403, {"X-Error-Code": "GatedRepo"})
        if revision not in (None, repo.branch, repo.commit):
            return self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for name, content in repo.files.items():
            file: dict[str, Any] = {"rfilename": name, "size": len(content)}
            file["blobId"] = repo.git_sha1(name)
            if repo.is_lfs(name):
                digest = repo.sha256(name)
                file["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 135}
            siblings.append(file)
        self._json({"id": repo_id, "sha": repo.commit, "siblings": siblings})

    def _hugging_face_file(self, kind: str | None, repo_id: str, revision: str, name: str) -> None:
        repo = self.hub.repos.get(f"{kind or 'models/'}{repo_id}")
        if repo is None or name not in repo.files or revision != repo.commit:
            return self._json({}, 404, {"X-Error-Code": "EntryNotFound"})
        if repo.gated_files:
            return self._json({}, 403, {"X-Error-Code": "GatedRepo"})
        if self.hub.cdn and not self.path.startswith("/cdn/"):
            # The same server by another name: another origin for whoever guards tokens.
            away = f"http://localhost:{self.hub.port}/cdn{self.path}"
            return self._json({}, 302, {"Location": away, "X-Repo-Commit": repo.commit})
        self._content(name, repo.files[name], {"X-Repo-Commit": repo.commit})

    def _modelscope(self, kind: str, repo_id: str, page: str, query: dict[str, str]) -> None:
        repo = self.hub.repos.get(f"{kind}/{repo_id}")
        if repo is None:
            return self._json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
        if repo.gated:
            return self._json({"Code": 403, "Message": "access denied", "Success": False}, 403)
        exists = query.get("Revision") in (repo.branch, repo.commit)
        if page in ("repo/files", "repo/tree"):
            newest = None if repo.newest_commit_only_deleted else next(iter(repo.files))
            entries = [
                {
                    "Path": name,
                    "Type": "blob",
                    "Size": len(content),
                    "Sha256": repo.sha256(name),
                    "Revision": repo.commit if name == newest else "0" * 40,
                }
                for name, content in repo.files.items()
            ]
            size, number = int(query.get("PageSize", 10**6)), int(query.get("PageNumber", 1))
            return self._modelscope_data(
                {
                    "Files": entries[size * (number - 1) : size * number] if exists else None,
                    "LatestCommitter": {"Id": "", "ShortId": repo.commit[:8]} if exists else None,
                }
            )
        name = query.get("FilePath", "")
        if page != "repo" or name not in repo.files or not exists:
            return self._json({"Code": 404, "Message": "no such file", "Success": False}, 404)
        self._content(name, repo.files[name], {})

    def _modelscope_data(self, data: object) -> None:
        self._json({"Code": 200, "Data": data, "Message": "success", "Success": True})

    def _json(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self._send(json.dumps(body).encode(), status, kind | (headers or {}))

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _content(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        with self.hub.under_way():
            self._send_content(name, content, headers)

    def _send_content(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        hub = self.hub
        hub.gate.wait(60)
        hub.authorized.append((self.headers["Host"], self.headers["Authorization"]))
        begin = 0
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or ""):
            begin = int(match[1])
            if begin >= len(content):
                return self._json({}, 416, {"Content-Range": f"bytes */{len(content)}"})
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[begin:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        cut = hub.take(hub.cuts, name)
        allowed = body if cut is None else body[:cut]
        for start in range(0, len(allowed), _CHUNK):
            chunk = allowed[start : start + _CHUNK]
            self.wfile.write(chunk)
            hub.count(name, len(chunk))
            time.sleep(hub.seconds_per_chunk)
        if cut is not None:
            self._cut_off()

    def _cut_off(self) -> None:
        if self.hub.resets:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
