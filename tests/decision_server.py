"""A real HTTP server on loopback that decides, in the format that it is asked in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from servers import Body, ChatServer, Http, Reply, refuse

__all__ = ["DecisionServer", "decision", "posterior"]

Decide = Callable[[str, list[str]], list[float]]


def posterior(text: str, options: Sequence[str]) -> list[float]:
    """Draw a probability for each option, the same for the same text."""
    draws = [1 + sha256(f"{option}:{text}".encode()).digest()[0] for option in options]
    return [draw / sum(draws) for draw in draws]


def decision(body: Body, decide: Decide = posterior) -> Body:
    """Write a complete answer, in the format that the question shows.

    The confidences contradict the probabilities: nobody should read them.
    """
    if isinstance(body["questions"], list):
        [question] = body["questions"]
        options = [choice["value"] for choice in question["choices"]]
        p = decide(body["input"], options)
        pairs = zip(options, p, strict=True)
        answers: Any = [
            {
                "type": "choice",
                "name": question["name"],
                "choice": options[p.index(max(p))],
                "confidence": 0.01,
                "probabilities": [{"value": o, "probability": q} for o, q in pairs],
            }
        ]
        usage: Body = {
            "input_tokens": 61,
            "input_tokens_details": {"cached_tokens": 9, "cache_write_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 61,
        }
        return {"model": body["model"], "answers": answers, "usage": usage}
    [(name, question)] = body["questions"].items()
    options = list(question["criteria"])
    p = decide(body["state" if "state" in body else "input"], options)
    answers = {
        name: {
            "type": "choice",
            "choice": options[p.index(max(p))],
            "confidence": 0.01,
            "probabilities": dict(zip(options, p, strict=True)),
        }
    }
    if "state" in body:
        usage = {"input_tokens": 61, "output_tokens": 0}
        return {"model": body["model"], "answers": answers, "usage": usage}
    usage = {
        "total_input_tokens": 61,
        "total_cached_tokens": 9,
        "total_output_tokens": 0,
        "total_tokens": 61,
    }
    return {"answers": answers, "usage": usage}


class DecisionServer(ChatServer):
    """Serves every POST as a question in one of the three formats.

    Parameters
    ----------
    decide : callable, default=posterior
        From the text and the options to a probability for each.
    script : sequence of replies, default=()
        The first requests get these.
    delay : float, default=0
        Seconds that an answer takes.
    """

    def __init__(
        self,
        decide: Decide = posterior,
        *,
        script: Sequence[Reply] = (),
        delay: float = 0.0,
    ) -> None:
        super().__init__(script=script, delay=delay)
        self.decide = decide

    def _answer(self, body: Body) -> Http:
        listed = isinstance(body["questions"], list)
        questions = body["questions"] if listed else body["questions"].values()
        for question in questions:
            if not 2 <= len(question["choices" if listed else "criteria"]) <= 255:
                return refuse(422, "between 2 and 255 choices")(body)
            if (
                "state" not in body
                and not listed
                and None in question["criteria"].values()
            ):
                return refuse(400, "criteria: Input should be a valid string")(body)
        return Http(json.dumps(decision(body, self.decide)).encode())
