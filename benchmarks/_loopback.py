"""A server on loopback that answers after a fixed time, in a process of its own.

    with served() as url:
        ...          # f"{url}/50/v1" speaks OpenAI's format and takes 50 ms,
                     # f"{url}/300" Ollama's and takes 300 ms

Every answer holds 20 alternatives and is written once, before the first request: what is
measured is the client.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

__all__ = ["served"]


@contextmanager
def served() -> Iterator[str]:
    """Start the server, give its address, and stop it."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def alternatives() -> list[dict[str, Any]]:
    """Write 20 tokens with probabilities that halve from one to the next."""
    names = [" positive", " negative", *(f" token{k}" for k in range(18))]
    return [
        {"token": name, "logprob": (k + 1) * math.log(0.5), "bytes": list(name.encode())}
        for k, name in enumerate(names)
    ]


def chat_completion() -> dict[str, Any]:
    """Write an answer as OpenAI does."""
    top = alternatives()
    return {
        "id": "chatcmpl-0123456789abcdef0123456789abc",
        "object": "chat.completion",
        "created": 1795000000,
        "model": "loopback",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": top[0]["token"],
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": {
                    "content": [{**top[0], "top_logprobs": top}],
                    "refusal": None,
                },
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": 90,
            "completion_tokens": 1,
            "total_tokens": 91,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def ollama_answer() -> dict[str, Any]:
    """Write an answer as Ollama does."""
    top = alternatives()
    return {
        "model": "loopback",
        "created_at": "2026-11-22T05:00:00.000000Z",
        "message": {"role": "assistant", "content": top[0]["token"]},
        "done": True,
        "done_reason": "length",
        "logprobs": [{**top[0], "top_logprobs": top}],
        "total_duration": 50000000,
        "load_duration": 1000000,
        "prompt_eval_count": 90,
        "prompt_eval_duration": 30000000,
        "eval_count": 1,
        "eval_duration": 1000000,
    }


def app() -> web.Application:
    """Make the two endpoints; the first part of a path is the time in milliseconds."""

    def endpoint(answer: dict[str, Any]) -> Any:
        content = json.dumps(answer).encode()

        async def reply(request: web.Request) -> web.Response:
            await request.read()
            await asyncio.sleep(int(request.match_info["ms"]) / 1000)
            return web.Response(body=content, content_type="application/json")

        return reply

    made = web.Application()
    made.router.add_post("/{ms}/v1/chat/completions", endpoint(chat_completion()))
    made.router.add_post("/{ms}/api/chat", endpoint(ollama_answer()))
    return made


async def serve() -> None:
    """Serve until terminated, the address being the first line that is printed."""
    runner = web.AppRunner(app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
