"""What prompts begin with in common, evaluated once and set before many rows."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

__all__ = ["behind_beginning"]


class _Passing(DynamicLayer):
    """Keys and values of a beginning; of what comes behind it nothing is kept.

    Each layer needs the beginning beside every row, but only while it computes: all
    layers' copies at a time would be more than the weights of a small model.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.keys, self.values = layer.keys, layer.values
        self.dtype, self.device = layer.keys.dtype, layer.keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the beginning's keys and values with those of rows behind them."""
        return _joined(self.keys, key_states), _joined(self.values, value_states)


def behind_beginning(cache: Any, n_rows: int, *, keep: bool) -> Any:
    """Give a cache for rows behind a beginning.

    Parameters
    ----------
    cache : Cache or None
        Of the beginning, one row. It stays as it is.
    n_rows : int
        How many rows there will be.
    keep : bool
        Whether more will follow behind the rows.

    Returns
    -------
    cache : Cache or None
        None: there is no beginning.
    """
    if cache is None:
        return None
    if keep:
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(n_rows)
        return cache
    passing = DynamicCache()
    passing.layers = [
        # some layers have none of their own, but those of another
        layer if layer.keys is None else _Passing(layer)
        for layer in cache.layers
    ]
    return passing


def _joined(beginning: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return torch.cat([beginning.expand(len(states), -1, -1, -1), states], dim=-2)
