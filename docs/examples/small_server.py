"""A server in OpenAI's chat format, as small as it can be; it answers from the record."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from recorded import RecordedAnswers

from sklearn_logprob import Request


class Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = tuple((m["role"], m["content"]) for m in body["messages"])
        request = Request(messages, top_logprobs=min(10, body["top_logprobs"]))
        ((_, answer),) = RecordedAnswers().answer([request])
        (position,) = answer.positions
        token = entry(position.token, position.logprob)
        token["top_logprobs"] = [entry(*pair) for pair in position.top]
        choice = {
            "index": 0,
            "finish_reason": "length",
            "message": {"role": "assistant", "content": position.token},
            "logprobs": {"content": [token]},
        }
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "small"}
        self.reply({**reply, "choices": [choice]})

    def reply(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Say nothing."""


def entry(token, logprob):
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


@contextmanager
def serve():
    """Give the address of a server that runs until the block ends."""
    server = HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
