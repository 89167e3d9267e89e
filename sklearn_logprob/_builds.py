"""Which build of a model answered, where its server says so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from sklearn_logprob._errors import ModelChangedWarning
from sklearn_logprob._types import Answer, Outcome

__all__ = ["builds_of", "warn_of_change"]


def builds_of(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Give the builds that answered.

    Parameters
    ----------
    outcomes : sequence of Answer or RowError
        Answers, from the model or the cache.

    Returns
    -------
    builds : tuple of str
        Sorted, each once; none where the server does not say.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._builds import builds_of
    >>> builds_of([Answer(build="fp_2"), Answer(build="fp_1"), Answer()])
    ('fp_1', 'fp_2')
    """
    answers = (outcome for outcome in outcomes if isinstance(outcome, Answer))
    named = {answer.build for answer in answers}
    # an answer of several draws may name several
    return tuple(sorted({one for build in named for one in build.split(", ")} - {""}))


def warn_of_change(known: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    """Say that another build answers than those that a calibrator learnt from.

    Parameters
    ----------
    known : sequence of str
        What `builds_of` gave in `fit`; if it gave nothing, nothing can be said.
    outcomes : sequence of Answer or RowError
        Answers to new rows.

    Warns
    -----
    ModelChangedWarning
        Where one of them is of another build.

    Examples
    --------
    >>> from sklearn_logprob import Answer
    >>> from sklearn_logprob._builds import warn_of_change
    >>> warn_of_change(("b1",), [Answer(build="b1"), Answer()])  # nothing to say
    """
    new = sorted({*builds_of(outcomes)} - {*known})
    if known and new:
        warnings.warn(
            f"The server says that {', '.join(new)} answers, and fit learnt from answers "
            f"of {', '.join(known)}: calibration and thresholds are those of another "
            "build. Check them on some labelled rows, or fit again.",
            ModelChangedWarning,
            stacklevel=4,
        )
