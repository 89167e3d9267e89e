"""What tokens cost, in US dollars.

List prices of November 2026, for one million tokens: prompt, prompt tokens that the
server had cached, and generated. From the price map of the package litellm 1.109.1;
they change, and yours may differ: ``price=`` of a backend goes before this table.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sklearn_logprob._types import TokenUsage

__all__ = ["PRICES", "Price", "list_price"]


class Price(NamedTuple):
    """US dollars for one million tokens.

    Parameters
    ----------
    prompt, cached, generated : float
        Tokens read, those of them that the server had cached, and tokens generated.

    Examples
    --------
    >>> from sklearn_logprob import TokenUsage
    >>> from sklearn_logprob.backends._prices import Price
    >>> round(Price(0.40, 0.10, 1.60).of(TokenUsage(1_000_000, 100_000, 500_000)), 2)
    0.41
    """

    prompt: float
    cached: float
    generated: float

    def of(self, usage: TokenUsage) -> float:
        """Give what a usage costs.

        Parameters
        ----------
        usage : TokenUsage
            Tokens.

        Returns
        -------
        cost : float
            US dollars.
        """
        fresh = usage.prompt_tokens - usage.cached_tokens
        dollars = fresh * self.prompt + usage.cached_tokens * self.cached
        return (dollars + usage.completion_tokens * self.generated) / 1e6


PRICES = {
    "gpt-4.1": Price(2.0, 0.5, 8.0),
    "gpt-4.1-mini": Price(0.4, 0.1, 1.6),
    "gpt-4o": Price(2.5, 1.25, 10.0),
    "gpt-4o-mini": Price(0.15, 0.075, 0.6),
    "gpt-5": Price(1.25, 0.125, 10.0),
    "gpt-5-mini": Price(0.25, 0.025, 2.0),
    "gpt-5-nano": Price(0.05, 0.005, 0.4),
    "gpt-5.1": Price(1.25, 0.125, 10.0),
    "gpt-5.2": Price(1.75, 0.175, 14.0),
    "gpt-5.4": Price(2.5, 0.25, 15.0),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
    "gpt-5.4-nano": Price(0.2, 0.02, 1.25),
    "gpt-5.5": Price(5.0, 0.5, 30.0),
    "gpt-5.6-luna": Price(0.2, 0.02, 1.2),
    "gpt-5.6-sol": Price(4.0, 0.4, 20.0),
    "gpt-5.6-terra": Price(2.0, 0.2, 12.0),
    "gpt-6-luna": Price(0.1, 0.01, 0.5),
    "gpt-6-sol": Price(2.0, 0.2, 10.0),
    "gpt-6.1-terra": Price(1.0, 0.05, 5.0),
    "claude-haiku-4-5": Price(1.0, 0.1, 5.0),
    "claude-haiku-5-5": Price(0.1, 0.01, 0.5),
    "claude-opus-4-5": Price(5.0, 0.5, 25.0),
    "claude-opus-5": Price(5.0, 0.5, 25.0),
    "claude-opus-5-5": Price(4.0, 0.2, 20.0),
    "claude-sonnet-4-5": Price(3.0, 0.3, 15.0),
    "claude-sonnet-5": Price(2.0, 0.2, 10.0),
    "claude-sonnet-5-5": Price(2.0, 0.1, 10.0),
    "gemini-2.5-flash": Price(0.3, 0.03, 2.5),
    "gemini-2.5-flash-lite": Price(0.1, 0.01, 0.4),
    "gemini-2.5-pro": Price(1.25, 0.125, 10.0),
    "gemini-3.5-flash": Price(1.5, 0.15, 9.0),
    "gemini-3.5-flash-lite": Price(0.3, 0.03, 2.5),
    "mistral-large-latest": Price(0.5, 0.05, 1.5),
    "mistral-medium-latest": Price(1.5, 0.15, 7.5),
    "mistral-small-latest": Price(0.15, 0.015, 0.6),
    "deepseek-v4-flash": Price(0.3, 0.006, 1.2),
    "deepseek-v4-pro": Price(1.32, 0.044, 3.96),
    "grok-4.5": Price(2.0, 0.3, 6.0),
    "grok-4.7": Price(2.0, 0.5, 6.0),
}

_DATE = re.compile(r"[-@](?:\d{4}-\d\d-\d\d|\d{8})$")


def list_price(model: str) -> Price | None:
    """Look a model up, with or without the date of its version.

    Parameters
    ----------
    model : str
        Its name.

    Returns
    -------
    price : Price or None
        None where the table does not have it.

    Examples
    --------
    >>> from sklearn_logprob.backends._prices import list_price
    >>> list_price("gpt-4.1-mini-2025-04-14").prompt, list_price("mine")
    (0.4, None)
    """
    return PRICES.get(_DATE.sub("", model))
