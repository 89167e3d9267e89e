"""Several prompts for one question, answered together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator

__all__ = ["PromptEnsemble", "members_of"]

COMBINES = ("average", "stack")


class PromptEnsemble(BaseEstimator):
    r"""Ask every row in several ways, and combine the label scores.

    Every template costs a request a row. "average" takes the mean of the label log
    scores, which is that of the normalised ones up to a number a row that every
    calibrator here takes out. By the inequality of arithmetic and geometric means the
    result has at most the mean log loss of its members, on every row: with :math:`p_t`
    the probabilities of template t, those of the ensemble are :math:`\prod_t
    p_{tk}^{1/T} / Z` with :math:`Z = \sum_k \prod_t p_{tk}^{1/T} \le 1`, so that its
    loss is the mean of theirs plus :math:`\log Z`. A mean of probabilities has that
    property too; that of logarithms remains linear in the scores, which is what
    calibrators start from.

    "stack" learns from labels how far to trust each template: weights that sum to 1,
    shrunk towards equal ones, under which the scores are averaged before they are
    calibrated (``clf.calibrator_.weights_``). Without labels it is the average.

    Parameters
    ----------
    templates : sequence of str, PromptTemplate or None
        The prompts, as for `LogprobClassifier`.
    combine : {"average", "stack"}, default="average"
        How the label scores are combined.

    References
    ----------
    .. [1] G. Hinton. "Training Products of Experts by Minimizing Contrastive
       Divergence". Neural Computation 2002.
    .. [2] Z. Jiang et al. "How Can We Know What Language Models Know?". TACL 2020
       (ensembles of prompts).
    .. [3] L. Breiman. "Stacked Regressions". Machine Learning 1996.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier, PromptEnsemble
    >>> prompt = PromptEnsemble(["Review: {text}\nIt is", "{text}\nI call that"])
    >>> backend = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}})
    >>> clf = LogprobClassifier(backend, prompt=prompt, classes=["bad", "good"]).fit()
    >>> len(clf.requests(["a great film"])), clf.predict(["a great film"]).tolist()
    (2, ['good'])
    """

    def __init__(
        self, templates: Sequence[Any] = (), *, combine: str = "average"
    ) -> None:
        self.templates = templates
        self.combine = combine

    @property
    def n_shots(self) -> int:
        """The most demonstrations that a template takes from the rows of fit."""
        return max(getattr(template, "n_shots", 0) for template in self.templates)

    def check(self) -> None:
        """Refuse wrong parameters.

        Raises
        ------
        TypeError or ValueError
            If one is not what it should be.
        """
        several = self.templates
        if (
            isinstance(several, str)
            or not isinstance(several, Sequence)
            or not several
            or any(isinstance(template, PromptEnsemble) for template in several)
        ):
            raise TypeError(
                "The 'templates' parameter of PromptEnsemble must be a list of at least "
                "one str, PromptTemplate or None (the plain question). "
                f"Got {several!r} instead."
            )
        if self.combine not in COMBINES:
            raise ValueError(
                "The 'combine' parameter of PromptEnsemble must be 'average' or 'stack'. "
                f"Got {self.combine!r} instead."
            )


def members_of(template: Any) -> list[Any]:
    """List the templates that a row is put into.

    Parameters
    ----------
    template : PromptTemplate or PromptEnsemble
        One or several.

    Returns
    -------
    members : list of PromptTemplate
        The only one, or those of the ensemble.

    Examples
    --------
    >>> from sklearn_logprob.ensembles import PromptEnsemble, members_of
    >>> members_of("{text}"), members_of(PromptEnsemble(["{text}", "{text}?"]))
    (['{text}'], ['{text}', '{text}?'])
    """
    several = isinstance(template, PromptEnsemble)
    return list(template.templates) if several else [template]
