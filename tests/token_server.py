"""Servers on loopback that speak vLLM's and SGLang's formats over a toy language model.

The toy is that of `fake_llama_server`: its next-token distribution is drawn from a hash
of the tokens before, so a test can compute every answer by itself. Shapes and quirks are
those of vLLM 0.33.0 and SGLang 0.5.23, read in their source.
"""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from fake_llama_server import BOS, PIECES, log_probs, split
from servers import Call, Http, refuse

__all__ = [
    "FakeSGLang",
    "FakeTokenServer",
    "FakeVLLM",
    "beginnings",
    "log_probs_in_turn",
    "piece",
]

Likely: TypeAlias = Callable[[tuple[int, ...]], list[float]]


def piece(token: int) -> str:
    """The text of one token, as a tokenizer decodes it: part of a character is U+FFFD."""
    return PIECES[token].decode("utf-8", "replace")


def beginnings() -> list[str]:
    """Texts of which no two begin with the same token, more than 128."""
    ascii_ = map(chr, range(33, 127))
    two_bytes = (bytes([lead, 0x85]).decode() for lead in range(0xC3, 0xE0))
    three_bytes = (bytes([lead, 0xA0, 0x85]).decode() for lead in range(0xE1, 0xED))
    return sorted({*ascii_, *two_bytes, *three_bytes})


def log_probs_in_turn(prompt: Sequence[int], path: Sequence[int]) -> float:
    """Log-probability of tokens after a prompt, each looked up in the toy itself."""
    tokens, total = list(prompt), 0.0
    for token in path:
        total += log_probs(tuple(tokens))[token]
        tokens.append(token)
    return total


class FakeTokenServer:
    """Serves the toy in threads, as a context manager.

    Parameters
    ----------
    script : dict of str to sequence of replies
        By path: what the first requests to it get.
    model : str
        What the server says it serves.
    adapter : str, default="tuned"
        A LoRA adapter that is listed beside it.
    n_ctx : int, default=2048
        Tokens that fit.
    key : str, default=""
        What ``--api-key`` was.
    likely : callable, default=log_probs
        The language model.
    """

    def __init__(
        self,
        script: dict[str, Sequence[Callable[[Any], Http]]] | None = None,
        *,
        model: str = "toy",
        adapter: str = "tuned",
        n_ctx: int = 2048,
        key: str = "",
        likely: Likely = log_probs,
    ) -> None:
        self.script = {path: list(replies) for path, replies in (script or {}).items()}
        self.model = model
        self.adapter = adapter
        self.n_ctx = n_ctx
        self.key = key
        self.likely = likely
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """What to give as ``base_url``."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> FakeTokenServer:
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
        with self._lock:
            self.calls.append(call)
            scripted = self.script.get(call.path)
            if scripted:
                return scripted.pop(0)(call.body)
            if self.key and call.headers.get("authorization") != f"Bearer {self.key}":
                return Http(b'{"error": "Unauthorized"}', 401)
            answers = self.answers()
            if call.path not in answers:
                return Http(b'{"detail": "Not Found"}', 404)
            found = answers[call.path](call.body)
            if isinstance(found, Http):
                return found
            return Http(json.dumps(found, allow_nan=False).encode())

    def answers(self) -> dict[str, Callable[[Any], Any]]:
        """What is answered at each path."""
        return {"/v1/models": self._models}

    def tokens_of_chat(self, body: Any) -> list[int]:
        """The toy's template: it begins with BOS, and knows a switch for thinking."""
        messages = list(body["messages"])
        begun = messages.pop()["content"] if body["continue_final_message"] else ""
        said = "".join(f"{m['role']}={m['content']}<|end|>" for m in messages)
        thinking = body["chat_template_kwargs"].get("enable_thinking", True)
        start = f"{said}assistant={'<think>' if thinking else ''}"
        # SGLang splits the beginning of an answer apart; here both do
        return [BOS, *split(start, control=True), *split(begun, control=True)]

    def after(self, tokens: Sequence[int], temperature: float, seed: int | None) -> Any:
        """The next token's distribution, and the token that is drawn."""
        values = self.likely(tuple(tokens))
        if not temperature:
            return values, max(range(len(values)), key=values.__getitem__)
        weights = [math.exp(value) for value in values]
        draw = random.Random(f"{seed}:{[*tokens]}")
        return values, draw.choices(range(len(values)), weights)[0]

    def _models(self, body: Any) -> dict[str, Any]:
        card = {"id": self.model, "root": self.model, "max_model_len": self.n_ctx}
        root = f"/lora/{self.adapter}"
        adapter = {"id": self.adapter, "root": root, "parent": self.model}
        cards = [{**card, "parent": None}, {**adapter, "max_model_len": None}]
        return {"object": "list", "data": cards}


class FakeVLLM(FakeTokenServer):
    """vLLM.

    Parameters
    ----------
    old : bool, default=False
        Whether it is of before 0.26, and ignores ``logprob_token_ids``.
    mixed : bool, default=False
        Whether requests for tokens by number are in every batch of its older model
        runner: then the likeliest tokens are missing from others' answers.
    logits : bool, default=False
        Whether it was started with ``--logprobs-mode raw_logits``.
    """

    def __init__(
        self,
        *args: Any,
        old: bool = False,
        mixed: bool = False,
        logits: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.old = old
        self.mixed = mixed
        self.logits = logits

    def answers(self) -> dict[str, Callable[[Any], Any]]:
        """What is answered at each path."""
        return {
            **super().answers(),
            "/version": lambda body: {"version": "0.25.0" if self.old else "0.33.0"},
            "/tokenize": self._tokenize,
            "/detokenize": self._detokenize,
            "/v1/completions": self._complete,
        }

    def _tokenize(self, body: Any) -> Any:
        if "messages" in body:
            assert not (body["add_generation_prompt"] and body["continue_final_message"])
            tokens = self.tokens_of_chat(body)
        else:
            assert isinstance(body["prompt"], str)
            start = [BOS] if body["add_special_tokens"] else []
            tokens = [*start, *split(body["prompt"], control=True)]
        return {"count": len(tokens), "max_model_len": self.n_ctx, "tokens": tokens}

    def _detokenize(self, body: Any) -> Any:
        text = b"".join(PIECES[token] for token in body["tokens"])
        return {"prompt": text.decode("utf-8", "replace")}

    def _complete(self, body: Any) -> Any:
        n_top, wanted = body.get("logprobs"), body.get("logprob_token_ids")
        wanted = None if self.old else wanted
        if n_top is not None and n_top > 20 and not wanted:
            most = f"Requested sample logprobs of {n_top}, which is greater than max"
            return refuse(400, f"{most} allowed: 20")(body)
        if wanted and len(wanted) > 128:
            most = (
                f"Requested logprob_token_ids of length {len(wanted)}, which is greater"
            )
            return refuse(400, most)(body)
        tokens = list(body["prompt"])
        if len(tokens) >= self.n_ctx:
            much = f"This model's maximum context length is {self.n_ctx} tokens."
            return refuse(400, much)(body)
        drawn, said, shown = [], [], []
        for _ in range(body["max_tokens"]):
            values, token = self.after(tokens, body["temperature"], body.get("seed"))
            best = sorted(range(len(values)), key=lambda t: -values[t])[:n_top]
            others = wanted or best
            found = {t: values[t] for t in (token, *others)}
            if self.mixed and not wanted:
                found = {token: values[token], BOS: -math.inf}
            shown.append({f"token_id:{t}": self._sayable(v) for t, v in found.items()})
            said.append(self._sayable(values[token]))
            drawn.append(token)
            tokens.append(token)
        logprobs = {
            "text_offset": [0] * len(drawn),
            "token_logprobs": said,
            "tokens": [f"token_id:{t}" for t in drawn],
            "top_logprobs": shown,
        }
        text = b"".join(PIECES[token] for token in drawn).decode("utf-8", "replace")
        choice = {"index": 0, "text": text, "finish_reason": "length"}
        n_prompt, n_drawn = len(body["prompt"]), len(drawn)
        return {
            "object": "text_completion",
            "model": body["model"],
            "choices": [{**choice, "logprobs": None if n_top is None else logprobs}],
            "usage": {
                "prompt_tokens": n_prompt,
                "total_tokens": n_prompt + n_drawn,
                "completion_tokens": n_drawn,
                "prompt_tokens_details": {"cached_tokens": n_prompt - 1},
            },
        }

    def _sayable(self, value: float) -> float:
        value = value + 9.0 if self.logits else value
        return -9999.0 if math.isnan(value) else max(value, -9999.0)


class FakeSGLang(FakeTokenServer):
    """SGLang.

    Parameters
    ----------
    old : bool, default=False
        Whether it is of before 0.5.12, and splits no chat messages.
    """

    def __init__(self, *args: Any, old: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.old = old

    def answers(self) -> dict[str, Callable[[Any], Any]]:
        """What is answered at each path."""
        return {
            **super().answers(),
            "/model_info": self._info,
            "/v1/tokenize": self._tokenize,
            "/v1/detokenize": self._detokenize,
            "/generate": self._generate,
        }

    def _info(self, body: Any) -> Any:
        return {"model_path": f"/models/{self.model}", "weight_version": "default"}

    def _tokenize(self, body: Any) -> Any:
        if "messages" in body:
            if self.old:
                return self._bad("1 validation error: prompt: Field required")
            tokens = self.tokens_of_chat(body)
            return {"count": len(tokens), "max_model_len": self.n_ctx, "tokens": tokens}
        start = [BOS] if body["add_special_tokens"] else []
        parts = [[*start, *split(text, control=True)] for text in body["prompt"]]
        counts = [len(part) for part in parts]
        return {"count": counts, "max_model_len": self.n_ctx, "tokens": parts}

    def _detokenize(self, body: Any) -> Any:
        text = b"".join(PIECES[token] for token in body["tokens"])
        return {"text": text.decode("utf-8", "replace")}

    def _generate(self, body: Any) -> Any:
        tokens, params = list(body["input_ids"]), body["sampling_params"]
        if len(tokens) >= self.n_ctx:
            much = f"The input ({len(tokens)} tokens) is longer than the model's context"
            message = f"{much} length ({self.n_ctx} tokens)."
            return Http(json.dumps({"error": {"message": message}}).encode(), 400)
        chosen, tops, asked = [], [], []
        for _ in range(params["max_new_tokens"]):
            heat, seed = params["temperature"], params.get("sampling_seed")
            values, token = self.after(tokens, heat, seed)
            best = sorted(range(len(values)), key=lambda t: -values[t])
            n_top = body.get("top_logprobs_num", 0)
            chosen.append(self._entry(values, token))
            tops.append([self._entry(values, t) for t in best[:n_top]] or None)
            wanted = body.get("token_ids_logprob", ())
            asked.append([[*self._entry(values, t)[:2], None] for t in wanted] or None)
            tokens.append(token)
        drawn = b"".join(PIECES[token] for _, token, _ in chosen)
        meta: dict[str, Any] = {
            "finish_reason": {"type": "length", "length": len(chosen)},
            "prompt_tokens": len(body["input_ids"]),
            "completion_tokens": len(chosen),
            "cached_tokens": len(body["input_ids"]) - 1,
        }
        if body.get("return_logprob"):
            meta["output_token_logprobs"] = chosen
            meta["output_top_logprobs"] = tops
            if "token_ids_logprob" in body:
                meta["output_token_ids_logprobs"] = asked
        return {"text": drawn.decode("utf-8", "replace"), "meta_info": meta}

    def _entry(self, values: Sequence[float], token: int) -> list[Any]:
        value = values[token]  # orjson writes null for what is not finite
        return [value if math.isfinite(value) else None, token, piece(token)]

    def _bad(self, message: str) -> Http:
        return Http(json.dumps({"object": "error", "message": message}).encode(), 400)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or headers and body wait for each other
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
        self.close_connection = http.cut

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""
