"""Label scores with the features of the same rows, where a calibrator wants scores."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sklearn_logprob._types import Floats

__all__ = ["Evidence", "as_scores"]

Sparse: TypeAlias = Any  # sparse matrices; scipy ships no types


class Evidence:
    """Label log scores S, and the features F of the same rows; slices like an array.

    Parameters
    ----------
    S : ndarray of shape (n, K)
        Label log scores (natural log).
    F : sparse matrix of shape (n, n_features)
        What else the answers show.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sklearn_logprob._evidence import Evidence
    >>> both = Evidence(np.zeros((3, 2)), sparse.eye(3).tocsr())
    >>> len(both[np.array([0, 2])]), both.shape, np.asarray(both).sum()
    (2, (3, 2), np.float64(0.0))
    """

    def __init__(self, S: Floats, F: Sparse) -> None:
        self.S = S
        self.F = F

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the scores."""
        return self.S.shape

    def __len__(self) -> int:
        return len(self.S)

    def __getitem__(self, rows: Any) -> Evidence:
        return Evidence(self.S[rows], self.F[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Give the scores, for what looks at nothing else."""
        return np.asarray(self.S, dtype=dtype)


def as_scores(S: ArrayLike | Evidence) -> Any:
    """Give an array of floats; evidence stays as it is.

    Parameters
    ----------
    S : array-like of shape (n, K), or Evidence
        Label log scores.

    Returns
    -------
    S : ndarray of shape (n, K), or Evidence
        The same.

    Examples
    --------
    >>> from sklearn_logprob._evidence import as_scores
    >>> as_scores([[0, 1]]).dtype
    dtype('float64')
    """
    return S if isinstance(S, Evidence) else np.asarray(S, dtype=np.float64)
