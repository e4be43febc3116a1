"""What a stub hub does with what it is sent: repositories are made, files are put, commits appear.

Bodies follow the installed clients' source: LFS objects go by the batch API's basic transfer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from tests.stub_hub import StubHub


class Written:
    """What a hub was sent, and how it answers."""

    def __init__(self) -> None:
        self.token: str | None = None
        """Who has another may write nothing; none: nobody may."""
        self.blobs: dict[str, bytes] = {}
        self.commits: list[tuple[str, str, list[str]]] = []
        """Repository, message and files of each."""
        self.visibility: dict[str, Any] = {}
        """Repository → what it was asked to be when it was made."""
        self.tokens: set[str] = set()
        """Every token that came with a request."""
        self.spoiled: set[str] = set()
        """Files that are kept otherwise than they came."""
        self.refuses_cards = False


class Writing:
    """Part of the handler of requests."""

    hub: StubHub
    path: str
    headers: Any
    rfile: Any
    command: str

    def _json(self, body: object, status: int = 200) -> None:
        raise NotImplementedError

    def _body(self) -> bytes:
        """Return what was sent, also in chunks, as a client sends what it reads from a file."""
        if self.headers["Transfer-Encoding"] != "chunked":
            return bytes(self.rfile.read(int(self.headers["Content-Length"] or 0)))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def do_PUT(self) -> None:  # noqa: N802 -- http.server's name
        content = self._body()
        oid = self.path.rpartition("/")[2]
        self.hub.requests.append(f"PUT {self.path}")
        if hashlib.sha256(content).hexdigest() != oid:
            return self._json({"error": "another content"}, 400)
        self.hub.written.blobs[oid] = content
        return self._json({"Code": 200, "Success": True, "Data": {}})

    def do_POST(self) -> None:  # noqa: N802, PLR0911
        content = self._body()
        path, written = unquote(urlsplit(self.path).path), self.hub.written
        self.hub.requests.append(f"POST {self.path}")
        if status := self.hub.take(self.hub.errors, self.path):
            return self._json({"error": "on demand"}, status)
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        cookie = re.search(r"m_session_id=([^;]+)", self.headers["Cookie"] or "")
        token = token or (cookie[1] if cookie else "")
        written.tokens.add(token)
        if written.token is None or token != written.token:
            return self._json({"error": "no right", "Code": 403, "Success": False}, 403)
        if path == "/api/validate-yaml":
            errors = [{"message": "no such license"}] if written.refuses_cards else []
            return self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        if path in ("/api/repos/create", "/api/v1/models"):
            return self._create(json.loads(content))
        if re.fullmatch(r"/api/models/.+/preupload/main", path):
            return self._preupload(json.loads(content))
        if path.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(content), wrapped="/api/v1/" in path)
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            return self._hugging_face_commit(match[1], content)
        if match := re.fullmatch(r"/api/v1/repos/models/(.+)/commit/master", path):
            return self._modelscope_commit(match[1], json.loads(content))
        return self._json({"error": "no such page"}, 404)

    def _create(self, body: dict[str, Any]) -> None:
        from tests.stub_hub import Repo

        owner, name = body.get("organization") or body.get("Path"), body.get("name")
        repo_id = f"{owner}/{name or body['Name']}"
        url = f"{self.hub.url}/{repo_id}"
        if f"models/{repo_id}" in self.hub.repos:
            there = {"error": "it exists", "url": url, "Code": 409, "Success": False}
            return self._json(there, 409)
        branch = "master" if "Path" in body else "main"
        self.hub.repos[f"models/{repo_id}"] = Repo({".gitattributes": b""}, branch=branch)
        asked = body.get("Visibility", body.get("visibility"))
        self.hub.written.visibility[repo_id] = body.get("private", asked)
        data = {"Path": owner, "Name": name, "Id": 1}
        answer = {"url": url, "name": repo_id, "id": "1"}
        return self._json(answer | {"Code": 200, "Success": True, "Data": data})

    def _preupload(self, body: dict[str, Any]) -> None:
        from tests.stub_hub import Repo

        files = [
            {
                "path": file["path"], "shouldIgnore": False, "oid": None,
                "uploadMode": "lfs" if Repo({}).is_lfs(file["path"]) else "regular",
            }
            for file in body["files"]
        ]  # fmt: skip
        self._json({"files": files})

    def _batch(self, body: dict[str, Any], *, wrapped: bool) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
            for one in body["objects"]
        ]
        data = {"transfer": "basic", "objects": objects}
        self._json({"Code": 200, "Success": True, "Data": data} if wrapped else data)

    def _hugging_face_commit(self, repo_id: str, content: bytes) -> None:
        lines = [json.loads(line) for line in content.splitlines()]
        message, files = lines[0]["value"]["summary"], {}
        for line in lines[1:]:
            value = line["value"]
            files[value["path"]] = (
                self.hub.written.blobs[value["oid"]]
                if line["key"] == "lfsFile"
                else base64.b64decode(value["content"])
            )
        commit = self._apply(repo_id, message, files)
        self._json({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{commit}", "commitOid": commit})

    def _modelscope_commit(self, repo_id: str, body: dict[str, Any]) -> None:
        files = {
            action["path"]: (
                self.hub.written.blobs[action["sha256"]]
                if action["type"] == "lfs"
                else base64.b64decode(action["content"])
            )
            for action in body["actions"]
        }
        commit = self._apply(repo_id, body["commit_message"], files)
        self._json({"Code": 200, "Success": True, "Data": {"oid": commit}})

    def _apply(self, repo_id: str, message: str, files: dict[str, bytes]) -> str:
        from tests.stub_hub import Repo

        repo, written = self.hub.repos[f"models/{repo_id}"], self.hub.written
        kept = {
            name: content[:-1] + b"?" if name in written.spoiled else content
            for name, content in files.items()
        }
        self.hub.repos[f"models/{repo_id}"] = new = Repo({**repo.files, **kept}, repo.branch)
        written.commits.append((repo_id, message, sorted(files)))
        return new.commit
