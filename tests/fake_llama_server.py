"""A server on loopback that speaks llama-server's format over a toy language model.

The toy's next-token distribution is drawn from a hash of the tokens before, so a test
can compute every answer by itself. Quirks of the real server are imitated: the reported
log-probabilities are those before the bias, and a token that is part of a character is
drawn but not shown.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from servers import Call, Http, refuse

__all__ = ["BOS", "PIECES", "FakeLlamaServer", "is_plain", "log_probs", "split"]

BOS, END = 0, 1
WORDS = (
    " New", " York", " City", " positive", " negative", " pos", "pos", "itive", "neg",
    "ative", " yes", " no", "<|end|>", "Review", ":", " fine",
)  # fmt: skip
PIECES = [
    b"",
    b"<|end|>",
    *(word.encode() for word in WORDS),
    *(bytes([byte]) for byte in range(256)),
]
CONTROL = {"<|end|>": END}


def split(text: str, *, control: bool = False) -> list[int]:
    """Split greedily into the longest pieces, bytes being pieces too."""
    data, tokens = text.encode(), []
    while data:
        if control and data.startswith(PIECES[END]):
            token = END
        else:
            known = [i for i in range(2, len(PIECES)) if data.startswith(PIECES[i])]
            token = max(known, key=lambda i: len(PIECES[i]))
        tokens.append(token)
        data = data[len(PIECES[token]) :]
    return tokens


@lru_cache(maxsize=4096)
def log_probs(tokens: tuple[int, ...]) -> list[float]:
    """Next-token log-probabilities of the toy, by token."""
    rng = random.Random(hashlib.sha256(repr(tokens).encode()).digest())
    logits = [rng.gauss(0, 3) for _ in PIECES]
    total = math.log(math.fsum(map(math.exp, logits)))
    return [logit - total for logit in logits]


def entry(token: int, log_prob: float) -> dict[str, Any]:
    """A token as the server writes it."""
    piece = PIECES[token]
    text = piece.decode("utf-8", "ignore")
    return {"id": token, "token": text, "bytes": list(piece), "logprob": log_prob}


class FakeLlamaServer:
    """Serves the toy in threads, as a context manager.

    Parameters
    ----------
    script : dict of str to sequence of replies
        By path: what the first requests to it get.
    n_ctx : int, default=2048
        Tokens that fit.
    model_path : str
        What the server says it serves.
    key : str, default=""
        What ``--api-key`` was.
    likely : callable, default=log_probs
        The language model.
    """

    def __init__(
        self,
        script: dict[str, Sequence[Callable[[Any], Http]]] | None = None,
        *,
        n_ctx: int = 2048,
        model_path: str = "/models/toy.gguf",
        key: str = "",
        likely: Callable[[tuple[int, ...]], list[float]] = log_probs,
    ) -> None:
        self.script = {path: list(replies) for path, replies in (script or {}).items()}
        self.n_ctx = n_ctx
        self.model_path = model_path
        self.key = key
        self.likely = likely
        self.calls: list[Call] = []
        self._evaluated: list[int] = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """What to give as ``base_url``."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> FakeLlamaServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def asked(self, path: str) -> list[dict[str, Any]]:
        """What was sent to a path."""
        return [call.body for call in self.calls if call.path == path]

    def reply(self, call: Call) -> Http:
        """Record a request and answer it."""
        answers = {
            "/props": self._props,
            "/v1/models": self._models,
            "/apply-template": self._template,
            "/tokenize": self._tokenize,
            "/completion": self._complete,
        }
        with self._lock:
            self.calls.append(call)
            scripted = self.script.get(call.path)
            if scripted:
                return scripted.pop(0)(call.body)
            if self.key and call.headers.get("authorization") != f"Bearer {self.key}":
                return refuse(401, "Invalid API Key")(call.body)
            if call.path not in answers:
                return refuse(404, "File Not Found")(call.body)
            found = answers[call.path](call.body)
            return found if isinstance(found, Http) else Http(json.dumps(found).encode())

    def _props(self, body: Any) -> dict[str, Any]:
        return {
            "default_generation_settings": {"n_ctx": self.n_ctx},
            "total_slots": 1,
            "model_path": self.model_path,
            "build_info": "b1234-abc",
            "chat_template": "the toy's",
        }

    def _models(self, body: Any) -> dict[str, Any]:
        meta = {"n_vocab": len(PIECES), "n_params": 7, "size": 28}
        return {"object": "list", "data": [{"id": "toy", "meta": meta}]}

    def _template(self, body: Any) -> dict[str, Any]:
        messages = list(body["messages"])
        begun = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
        said = "".join(f"{m['role']}={m['content']}<|end|>" for m in messages)
        return {"prompt": f"{said}assistant={begun}"}

    def _tokenize(self, body: Any) -> dict[str, Any]:
        tokens, first = [], body.get("add_special", False)
        for part in body["content"]:
            if isinstance(part, str):
                found = split(part, control=body.get("parse_special", True))
                tokens += [BOS, *found] if first else found
                first = False
            else:
                tokens.append(part)
        if not body.get("with_pieces"):
            return {"tokens": tokens}
        return {"tokens": [{"id": t, "piece": as_json(PIECES[t])} for t in tokens]}

    def _complete(self, body: Any) -> Any:
        tokens = body["prompt"]
        if len(tokens) >= self.n_ctx:
            message = f"request ({len(tokens)} tokens) exceeds the available context size"
            return refuse(400, f"{message} ({self.n_ctx} tokens)")(body)
        same = [a == b for a, b in zip(self._evaluated, tokens[:-1], strict=False)]
        cached = (*same, False).index(False)
        written, entries = b"", []
        for _ in range(body["n_predict"]):
            self._evaluated = list(tokens)
            drawn, shown = self._step(body, tokens)
            tokens = [*tokens, drawn]
            written += PIECES[drawn]
            entries += shown
        reply = {
            "content": written.decode("utf-8", "ignore"),
            "tokens_predicted": body["n_predict"],
            "timings": {"cache_n": cached, "prompt_n": len(body["prompt"]) - cached},
        }
        return {**reply, "completion_probabilities": entries} if entries else reply

    def _step(self, body: Any, tokens: list[int]) -> tuple[int, list[Any]]:
        """Draw a token; what is shown of it is nothing for a part of a character."""
        values = self.likely(tuple(tokens))
        bias = dict(body.get("logit_bias", ()))
        scores = {t: value + bias.get(t, 0.0) for t, value in enumerate(values)}
        if "grammar" in body:
            scores = {t: s for t, s in scores.items() if PIECES[t] and is_plain(t)}
        odds = softmax(scores)
        after_sampling = body.get("post_sampling_probs", False)
        if body["temperature"]:
            seed = f"{body['seed']}:{tokens}" if "seed" in body else len(self.calls)
            [drawn] = random.Random(seed).choices([*odds], [*odds.values()])
        else:
            drawn = max(scores, key=scores.__getitem__)
        try:
            PIECES[drawn].decode()
        except UnicodeDecodeError:
            return drawn, []
        if after_sampling:
            best = sorted(odds, key=lambda t: -odds[t])[: body["n_probs"]]
            some = [{"id": t, "prob": odds[t]} for t in best if odds[t] > 1e-38]
            return drawn, [{"id": drawn, "prob": odds[drawn], "top_probs": some}]
        if not body["n_probs"]:
            return drawn, []
        best = sorted(range(len(values)), key=lambda t: -values[t])[: body["n_probs"]]
        chosen = entry(drawn, values[drawn])
        chosen["top_logprobs"] = [entry(t, values[t]) for t in best]
        return drawn, [chosen]


def as_json(piece: bytes) -> str | list[int]:
    """A piece as the server writes it: its bytes where it is no text."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


def softmax(scores: dict[int, float]) -> dict[int, float]:
    """Probabilities from logits."""
    top = max(scores.values())
    total = math.fsum(math.exp(score - top) for score in scores.values())
    return {t: math.exp(score - top) / total for t, score in scores.items()}


def is_plain(token: int) -> bool:
    """Whether a grammar of printable ASCII lets a token pass."""
    return all(32 <= byte < 127 for byte in PIECES[token])


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self._answer(json.loads(self.rfile.read(length)))

    def _answer(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        http = self.server.fake.reply(Call(self.path, headers, body))
        self.send_response(http.status)
        for name, value in http.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(http.content)))
        self.end_headers()
        n_sent = len(http.content) // 2 if http.cut else len(http.content)
        self.wfile.write(http.content[:n_sent])

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""
