"""A real HTTP server on loopback that answers in Google's generateContent format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from servers import ChatServer, Http, Top

__all__ = ["GeminiServer", "entry", "generated"]


def entry(token: str, logprob: float, number: int = 1) -> dict[str, Any]:
    return {"token": token, "tokenId": number, "logProbability": logprob}


def generated(positions: Sequence[Top], k: int = 20, **changes: Any) -> dict[str, Any]:
    """Write a complete answer as Google does, the likeliest token being the chosen."""
    candidate = {
        "content": {"role": "model", "parts": [{"text": positions[0][0][0]}]},
        "finishReason": "MAX_TOKENS",
        "avgLogprobs": -0.1,
        "logprobsResult": {
            "topCandidates": [
                {"candidates": [entry(*pair) for pair in top[:k]]} for top in positions
            ],
            "chosenCandidates": [entry(*top[0]) for top in positions],
        },
        **changes,
    }
    return {
        "candidates": [{n: value for n, value in candidate.items() if value is not None}],
        "usageMetadata": {
            "promptTokenCount": 31,
            "candidatesTokenCount": len(positions),
            "totalTokenCount": 31 + len(positions),
            "cachedContentTokenCount": 8,
        },
        "modelVersion": "gemini-2.5-flash",
    }


class GeminiServer(ChatServer):
    """Serves ``POST /v1beta/models/MODEL:generateContent``."""

    @property
    def url(self) -> str:
        return super().url + "beta"

    def _answer(self, body: Any) -> Http:
        config = body["generationConfig"]
        positions = self.answers(body["contents"][-1]["parts"][0]["text"])
        asked = positions[: config["maxOutputTokens"]]
        content = generated(asked, config.get("logprobs", 0))
        if not config.get("responseLogprobs"):
            del content["candidates"][0]["logprobsResult"]
        return Http(json.dumps(content).encode())
