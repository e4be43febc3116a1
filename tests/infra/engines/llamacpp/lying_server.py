"""llama.cpp's server as far as Assay speaks to it, which misbehaves in the way it should.

    python lying_server.py PORT NAME [FAULT …]

It takes the key from LLAMA_API_KEY. Faults: those of `tests.token_model`, and `exit-3`,
`other-name`, `other-key`, `never-ready`, `no-build`, `no-tokenizer`, `no-chat`, `no-window`,
`dies-on-request`, `stalls` (from the question on that follows the check at the start), `torn` (half
an answer), `429`, `immortal`, `daemon`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

from tests.token_model import TokenModel

PORT, NAME, FAULTS = int(sys.argv[1]), sys.argv[2], set(sys.argv[3:])
CHECK = 12
"""Questions of the check at the start."""

model = TokenModel(next(iter(FAULTS), ""))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            self.answer(503 if "never-ready" in FAULTS else 200, {"status": "ok"})
        elif self.path == "/metrics" and self.allowed():
            counters = "".join(
                f"llamacpp:requests_{what} 0\n" for what in ("processing", "deferred")
            )
            self.answer(200, None, f"{counters}llamacpp:n_decode_total {len(model.requests)}\n")
        elif self.path == "/props" and self.allowed():
            self.answer(200, {} if "no-build" in FAULTS else {"build_info": "b0-test"})
        elif self.path == "/v1/models" and self.allowed():
            name = "somebody-else" if "other-name" in FAULTS else NAME
            meta = None if "no-window" in FAULTS else {"n_ctx": 512}
            self.answer(200, {"data": [{"id": name, "meta": meta}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if "dies-on-request" in FAULTS:
            print("0.00.001 E srv: terrible trouble", flush=True)
            os._exit(3)
        if self.path == "/tokenize":
            tokens = None if "no-tokenizer" in FAULTS else [11, 3, 40, 8, 25]
            self.answer(200, {"tokens": tokens})
        elif self.path == "/v1/completions":
            if "stalls" in FAULTS and len(model.requests) >= CHECK:
                time.sleep(600)
            if "429" in FAULTS:
                self.answer(429, {"error": {"message": "too many"}})
            else:
                self.answer(200, model.answer(body))
        elif "no-chat" in FAULTS:
            self.answer(400, {"error": "no chat template"})
        else:
            message = {"role": "assistant", "content": "2"}
            self.answer(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    def allowed(self):
        key = "another" if "other-key" in FAULTS else os.environ["LLAMA_API_KEY"]
        if self.headers["Authorization"] == f"Bearer {key}":
            return True
        self.answer(401, {"error": "Unauthorized"})
        return False

    def answer(self, status, body, text=None):
        content = (text or json.dumps(body)).encode()
        torn = "torn" in FAULTS and self.path == "/v1/completions"
        content = content[: len(content) // 2] if torn else content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if "immortal" in FAULTS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "daemon" in FAULTS:  # a grandchild in a session of its own that ignores SIGTERM
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-I", "-c", stubborn], start_new_session=True)
if "exit-3" in FAULTS:
    print("0.00.001 E srv: no room for the cache", flush=True)
    sys.exit(3)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
