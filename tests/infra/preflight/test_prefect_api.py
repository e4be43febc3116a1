"""Whether a Prefect API answers, and what is said of it; nothing that lets in is ever shown."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import certifi
import pytest

from infra.contracts.errors import PrefectUnreachable, PreflightError
from infra.preflight.findings import Finding
from infra.preflight.prefect_api import PrefectApi, answers, looking

KEY = "pnu_of-nobody"


@contextmanager
def answering(status: int, shown: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer a server's question so, and Prefect Cloud's where the key is its own.

    Args:
        status: Of the answer.
        shown: What it shows of itself, through TLS.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Bearer {KEY}"
            cloud = 200 if known else 401
            said = {"/api/health": status, "/page/health": 200, "/cloud/me/workspaces": cloud}.get(
                self.path, 404
            )
            self.send_response(said)
            if self.path.startswith("/page"):
                self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if shown:
        server.socket = shown.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if shown else 'http'}://me:secret@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_prefect_api_says_whether_it_is_well() -> None:
    with answering(200) as url:
        found = answers(PrefectApi(f"{url}/api"))
        assert isinstance(found, str) and "secret" not in found
        with pytest.raises(PrefectUnreachable, match="HTTP 404") as error:
            answers(PrefectApi(url))
        assert "secret" not in str(error.value)
        with pytest.raises(PrefectUnreachable, match="answers with a page, HTTP 200"):
            answers(PrefectApi(f"{url}/page"))
    with answering(401) as url:
        unkeyed = answers(PrefectApi(f"{url}/api"))
        assert isinstance(unkeyed, Finding) and unkeyed.status == "note"
    gone = PrefectApi(f"{url}/api")
    with pytest.raises(PrefectUnreachable, match="does not answer"):
        answers(gone)
    assert "secret" not in repr(gone)


def test_who_need_not_show_who_it_is_is_reached_without_a_certificate_that_is_trusted(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody",
         "-keyout", own, "-out", tmp_path / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(tmp_path / "certificate.pem", own)
    trusted = ssl.get_default_verify_paths().cafile or certifi.where()
    with answering(200, shown) as url:
        for certificates in (None, trusted):
            api = PrefectApi(f"{url}/api", certificates=certificates, verified=False)
            assert answers(api) == f"{api.host} answers"
            with pytest.raises(PrefectUnreachable, match="does not answer"):
                answers(replace(api, verified=True))


def test_prefect_cloud_is_asked_about_the_key() -> None:
    with answering(404) as server:
        url = server.replace("me:secret@", "") + "/cloud"
        known = PrefectApi(f"{url}/accounts/a", {"Authorization": f"Bearer {KEY}"}, cloud=url)
        assert KEY not in repr(known)
        assert answers(known) == f"{known.host} answers"
        unknown = PrefectApi(f"{url}/accounts/a", {"Authorization": "Bearer other"}, cloud=url)
        with pytest.raises(PrefectUnreachable, match="refuses the key") as refused:
            answers(unknown)
        assert "prefect cloud login" in refused.value.remedy
        with pytest.raises(PrefectUnreachable, match="answers HTTP 404"):
            answers(PrefectApi(f"{url}/accounts/a", cloud=f"{url}/elsewhere"))


def test_what_is_configured_is_found_out_at_once_and_said_of_each_case() -> None:
    def none_can_be() -> PrefectApi:
        raise PreflightError("None is configured.", remedy="Configure one.")

    absent = PrefectApi("http://127.0.0.1:9/api")
    assert looking(none_can_be, in_flow=False)().status == "problem"
    assert looking(lambda: None, in_flow=False)().status == "ok"
    assert looking(lambda: absent, in_flow=False)().status == "problem"
    assert looking(lambda: absent, in_flow=True)().status == "note"
    asked: list[int] = []
    looking(lambda: asked.append(threading.get_ident()), in_flow=False)  # type: ignore[arg-type,func-returns-value]
    assert asked == [threading.get_ident()]
