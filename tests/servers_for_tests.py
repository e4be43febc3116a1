"""A server that speaks just enough of the protocol, and misbehaves in the way it should.

    python -I -u servers_for_tests.py PORT NAME [FAULT …]

It takes the key from VLLM_API_KEY, as vLLM does. Faults: `slow`, `immortal`, `exit-0`, `exit-3`,
`hangs`, `never-ready`, `daemon`, `other-name`, `other-key`, `no-logprobs`, `nan`, `no-chat`,
`no-echo`, `dies-on-request`, `stalls` (from the second question on).
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, NAME, FAULTS = int(sys.argv[1]), sys.argv[2], set(sys.argv[3:])
STARTED = time.monotonic()
computed = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if "hangs" in FAULTS:
            time.sleep(600)
        if self.path == "/health":
            slow = "slow" in FAULTS and time.monotonic() < STARTED + 1.0
            self.answer(503 if slow or "never-ready" in FAULTS else 200, {})
        elif self.path == "/metrics":
            counters = "".join(f"vllm:num_requests_{what} 0.0\n" for what in ("running", "waiting"))
            self.answer(200, {}, f'{counters}vllm:prompt_tokens_total{{engine="0"}} {computed}\n')
        elif self.path == "/version":
            self.answer(200, {"version": "0.0.test"})
        elif self.path == "/v1/models" and self.allowed():
            name = "somebody-else" if "other-name" in FAULTS else NAME
            self.answer(200, {"data": [{"id": name, "max_model_len": 4096}]})

    def do_POST(self):
        global computed  # noqa: PLW0603
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if "dies-on-request" in FAULTS:
            print("ERROR 01-01 00:00:00 [engine.py:1] ValueError: engine trouble", flush=True)
            os._exit(3)
        if body["model"] != NAME:
            self.answer(404, {"error": "no such model"})
        elif self.path == "/v1/completions":
            if "stalls" in FAULTS and computed:
                time.sleep(600)
            computed += 1
            tokens = ["1", "+", "1", "=", "2"]
            scores = [None, -0.5, -0.25, float("nan") if "nan" in FAULTS else -0.125, -1.0]
            if "no-echo" in FAULTS:
                tokens, scores = tokens[-1:], scores[-1:]
            logprobs = {"tokens": tokens, "token_logprobs": scores}
            logprobs = None if "no-logprobs" in FAULTS else logprobs
            self.answer(200, {"choices": [{"text": "2", "logprobs": logprobs}]})
        elif "no-chat" in FAULTS:
            self.answer(400, {"error": "no chat template"})
        else:
            message = {"role": "assistant", "content": "2"}
            self.answer(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    def allowed(self):
        key = "another" if "other-key" in FAULTS else os.environ["VLLM_API_KEY"]
        if self.headers["Authorization"] == f"Bearer {key}":
            return True
        self.answer(401, {"error": "Unauthorized"})
        return False

    def answer(self, status, body, text=None):
        content = (text or json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if "immortal" in FAULTS:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "daemon" in FAULTS:  # a grandchild in a session of its own that ignores SIGTERM
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-I", "-c", stubborn], start_new_session=True)
print("INFO 01-01 00:00:00 [core.py:1] Initializing: dtype=torch.bfloat16, seed=0", flush=True)
for fault in FAULTS:
    if fault.startswith("exit-"):
        print("ERROR 01-01 00:00:00 [engine.py:1] ValueError: no room for the cache", flush=True)
        sys.exit(int(fault.removeprefix("exit-")))
print("INFO 01-01 00:00:00 [awq.py:1] Using TestLinearKernel for TestLinearMethod", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
