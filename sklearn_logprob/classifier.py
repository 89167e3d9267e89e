"""The estimator: prompts, answers, scores, probabilities and decisions, glued."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._adapted import adapt
from sklearn_logprob._deciding import Decisions
from sklearn_logprob._errors import BackendError, LowLabelMassWarning
from sklearn_logprob._evidence import Evidence
from sklearn_logprob._inputs import Rows, read_rows
from sklearn_logprob._labels import Labels, positive_last
from sklearn_logprob._planning import PlannedRequests, plan
from sklearn_logprob._preparing import check_label_free, prepare
from sklearn_logprob._reading_out import read_out
from sklearn_logprob._shots import take_shots
from sklearn_logprob._types import Floats, Outcome, Request, Usage
from sklearn_logprob.calibration import calibrated_proba, make_calibrator
from sklearn_logprob.content_free import make_content_free, mean_log_proba
from sklearn_logprob.readout import make_readout
from sklearn_logprob.rejection import make_rejector
from sklearn_logprob.report import make_report
from sklearn_logprob.scorer import LabelScorer
from sklearn_logprob.scoring import LabelScores, label_mass
from sklearn_logprob.thresholds import make_selector

__all__ = ["LogprobClassifier"]

LOW_LABEL_MASS = 0.1  # median probability on any label below which fit warns


class LogprobClassifier(ClassifierMixin, BaseEstimator):
    r"""Classify texts by the log-probabilities that a language model gives to labels.

    The model is asked once for each distinct text and read, not sampled: its next-token
    distribution holds a probability for every label. These label log scores rank well
    and decide badly, for prompt, label wording and model bias them; `fit` learns a
    calibration from labels, and the decision threshold on top of it, out of fold.

    Parameters
    ----------
    backend : str or Backend, default="llama-cpp"
        Who answers: ``"llama-cpp"`` (a small model in this process),
        ``"llama-cpp:PATH.gguf"``, ``"openai:MODEL"``, ``"fake"``, or a backend object,
        whose parameters a grid search can reach.
    prompt : str, PromptTemplate or None, default=None
        Template with named fields: ``{text}`` for texts, the column names for a table,
        ``{labels}`` for the list of labels. None builds a plain question.
    verbalizer : mapping, Verbalizer or None, default=None
        Class → surface form or list of them. None: the text of the class.
    classes : sequence or None, default=None
        All classes, where y may lack some, is encoded, or is absent. None: those of the
        verbalizer, else of y.
    label_scoring : {"auto", "first_token", "sequence"}, default="auto"
        How much of a label is read. "auto" and "sequence" score whole labels where the
        backend can. On top-k answers "auto" reads as many tokens as tell the labels
        apart, "sequence" as many as the longest label takes.
    content_free : sequence of str, DomainWords or DomainPrompt, default=()
        Inputs without content, such as ``("N/A", "[MASK]", "")``, put into every field:
        contextual calibration [1]_ subtracts what the model says about them. Or random
        words of X, or a prompt without the row. Calibrators that learn a bias make it
        superfluous.
    calibrator : str, classifier or None, default="auto"
        Map from label log scores to probabilities. "auto" is the maximum-a-posteriori
        affine map centred by batch calibration [2]_; also "temperature", "sigmoid",
        "vector", "matrix", "isotonic", None (no calibration) or any scikit-learn
        classifier, whose features are then the label log scores.
    readout : {"labels", "tokens", "auto"} or TokenReadout, default="labels"
        What the answers are read for. "labels": the label log scores. "tokens": every
        returned token is a feature besides. "auto": as far as that is better on held-out
        rows. It needs labels, and answers with tokens.
    threshold : number, sequence, str, selector or None, default=None
        Decisions: None is the most probable class; a number the probability of
        `pos_label` above which it is predicted; one number a class, by which
        probabilities are divided before the largest wins; a metric name or a selector,
        chosen on out-of-fold probabilities. It acts in `predict` only.
    reject : rejector or None, default=None
        What `accept` goes by: ``ChowRule(cost)`` or ``RiskAtMost(risk, delta=...)``.
    pos_label : label or None, default=None
        The class that a binary threshold is about. None: the last of `classes_`.
    cv : int or splitter, default=5
        Folds for the out-of-fold probabilities that thresholds are chosen on.
    on_error : {"raise", "nan"}, default="raise"
        What to do about a row that fails for a reason of its own: a refusal, a content
        filter, a prompt that is too long. "raise" ends the work and keeps the answers
        that had come; "nan" warns with the numbers of the rows, leaves them out of
        `fit`, and gives them NaN probabilities. `predict` then goes by `class_prior_`.
    cache : "auto", path, Cache or None, default="auto"
        Where answers are kept. "auto": ``$SKLEARN_LOGPROB_CACHE`` or the user's cache
        folder; None: nowhere.
    verbose : "auto", bool or int, default="auto"
        Progress bar: "auto" shows it in a terminal when work takes over two seconds.
    random_state : int, RandomState or None, default=None
        Shuffles the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    verbalizer_ : dict
        Class → surface forms.
    prompt_ : PromptTemplate
        The template in use.
    backend_ : Backend
        The backend in use; it holds neither weights nor keys.
    calibrator_ : classifier
        The fitted calibrator.
    threshold_ : float, ndarray of shape (n_classes,) or None
        Probability of `pos_label` above which it is predicted (two classes), or what
        each class's probability is divided by. None where `selector_` decides otherwise.
    selector_, rejector_ : estimator or None
        What `threshold` and `reject` stand for, fitted.
    report_ : Report
        Out-of-fold scores of what was learnt, with intervals; where y was given.
        ``print`` computes and shows it.
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in y; equal shares without y.
    label_mass_ : float
        Median share of the model's probability that lands on any label; nan where `fit`
        saw no texts.
    censored_share_ : float
        Share of (text, label) pairs of which the answers showed nothing.
    sampling_error_ : float
        Median standard error of the leading label's probability, for backends that draw
        answers (``"sampling:…"``); nan for all others.
    other_tokens_ : structured ndarray
        What else the model wanted to say: ``token`` and ``mean_probability``.
    usage_ : Usage
        Requests, cache hits and tokens so far, predictions included.
    n_features_in_ : int
        Number of columns, where X is a table.
    feature_names_in_ : ndarray of str
        Names of the columns, where X has them.

    See Also
    --------
    sklearn.calibration.CalibratedClassifierCV : Works around this classifier too.
    sklearn.model_selection.GridSearchCV : Searches over prompts; each is asked once.

    References
    ----------
    .. [1] T. Zhao et al. "Calibrate Before Use: Improving Few-Shot Performance of
       Language Models". ICML 2021.
    .. [2] H. Zhou et al. "Batch Calibration: Rethinking Calibration for In-Context
       Learning and Prompt Engineering". ICLR 2024.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> backend = FakeBackend({"great": {"good": 2.0}, "dull": {"good": -2.0}},
    ...                       bias={"good": 3.0})
    >>> X, y = ["great", "dull", "great fun", "so dull"], ["good", "bad"] * 2
    >>> clf = LogprobClassifier(backend, prompt="Review: {text}\nIt was").fit(X, y)
    >>> clf.predict(["a great film", "a dull one"]).tolist()
    ['good', 'bad']
    """

    def __init__(
        self,
        backend: Any = "llama-cpp",
        *,
        prompt: Any = None,
        verbalizer: Any = None,
        classes: Sequence[Any] | None = None,
        label_scoring: str = "auto",
        content_free: Any = (),
        calibrator: Any = "auto",
        readout: Any = "labels",
        threshold: Any = None,
        reject: Any = None,
        pos_label: Any = None,
        cv: Any = 5,
        on_error: str = "raise",
        cache: Any = "auto",
        verbose: Any = "auto",
        random_state: Any = None,
    ) -> None:
        self.backend = backend
        self.prompt = prompt
        self.verbalizer = verbalizer
        self.classes = classes
        self.label_scoring = label_scoring
        self.content_free = content_free
        self.calibrator = calibrator
        self.readout = readout
        self.threshold = threshold
        self.reject = reject
        self.pos_label = pos_label
        self.cv = cv
        self.on_error = on_error
        self.cache = cache
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any = None, y: ArrayLike | None = None) -> LogprobClassifier:
        """Ask the model about X, then learn calibration and threshold from y.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Texts, or a table whose columns fill the template's fields. None with
            `classes`: plain zero-shot, nothing is asked.
        y : array-like of shape (n_samples,), default=None
            Labels. None with `classes`: batch calibration only.

        Returns
        -------
        self : LogprobClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            For bad parameters or data, before the model is asked anything.
        BackendError
            If the model does not answer; what it did answer is kept in the cache.
        """
        rows, labels, scorer = prepare(self, X, y)
        n_classes = len(labels.classes)
        calibrator = make_calibrator(self.calibrator)
        readout = make_readout(
            self.readout,
            calibrator=self.calibrator,
            cv=self.cv,
            random_state=self.random_state,
        )
        selector = make_selector(self.threshold, max(2, n_classes))
        rejector = make_rejector(self.reject)
        if labels.codes is None:
            check_label_free(self, selector, rejector)
        order = positive_last(labels, self.pos_label)
        if n_classes > 1 and hasattr(selector, "for_classes"):
            selector = selector.for_classes(labels.names, order)
        rows, codes, scorer = self._set_shots_apart(rows, labels, scorer)
        # A template that does not fit the data fails here, before anything is asked.
        requests = [] if rows is None or n_classes == 1 else scorer.requests(rows)
        for name in ("report_", "rejector_"):  # not fitted until everything is learnt
            self.__dict__.pop(name, None)
        self.classes_, self.verbalizer_ = labels.classes, scorer.forms
        self.backend_, self.prompt_ = scorer.backend, scorer.template
        self._scorer, self.usage_ = scorer, Usage()

        self.content_free_scores_ = self._ask_content_free(rows)
        outcomes = self._ask(requests)
        read = scorer.read(outcomes)
        answered = np.asarray(~np.isnan(read.scores).any(axis=1))
        if outcomes and not answered.any():
            raise BackendError("No row of X got an answer: see the warning above.")
        self._describe(outcomes, read)
        codes = codes[answered] if outcomes and codes is not None else None
        self.class_prior_ = labels.shares
        S = self._debias(read.scores[answered])
        self._features, evidence, found = read_out(
            readout, S, codes, outcomes, answered=answered, per_row=scorer.per_row
        )
        calibrator = calibrator if found is None else found
        unfitted = clone(calibrator)
        if not outcomes:  # nothing to learn from: probabilities stay the model's own
            calibrator, evidence = make_calibrator(None), np.zeros((1, n_classes))
        self.calibrator_ = calibrator.fit(evidence, codes)
        self._learnt_prior = calibrated_proba(self.calibrator_, evidence).mean(axis=0)
        self._decisions = Decisions(order, selector, rejector)
        folds = {"cv": self.cv, "random_state": self.random_state}
        self._decisions.learn(evidence, codes, unfitted, **folds)
        self.threshold_, self.selector_ = self._decisions.threshold, selector
        self.rejector_ = rejector
        if codes is not None and n_classes > 1:
            self.report_ = make_report(
                evidence, codes, unfitted, selector, order=order, **folds
            )
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Give calibrated class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_`. With ``on_error="nan"``, NaN in
            the rows that got no answer.
        """
        check_is_fitted(self)
        if len(self.classes_) == 1:
            return np.ones((len(read_rows(X, self, reset=False)), 1))
        outcomes = self._ask(self._scorer.requests(read_rows(X, self, reset=False)))
        evidence: Any = self._debias(self._scorer.read(outcomes).scores)
        if self._features is not None:
            evidence = Evidence(evidence, self._features.transform(outcomes))
        return calibrated_proba(self.calibrator_, evidence)

    def predict_log_proba(self, X: Any) -> Floats:
        """Give the natural logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Natural log.
        """
        return np.asarray(np.log(self.predict_proba(X)))

    def decision_function(self, X: Any) -> Floats:
        """Give calibrated logits, on which scikit-learn's calibrators do best.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of ``classes_[1]`` for two classes; else log-probabilities.
        """
        log_proba = self.predict_log_proba(X)
        if len(self.classes_) == 2:
            return np.asarray(log_proba[:, 1] - log_proba[:, 0])
        return log_proba

    def predict(self, X: Any) -> NDArray[Any]:
        """Decide, with the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Members of `classes_`.
        """
        decided = self._decide(self.predict_proba(X))
        return np.asarray(self.classes_[decided])

    def accept(self, X: Any) -> NDArray[np.bool_]:
        """Tell which predictions are sure enough, by `reject`.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        accepted : ndarray of bool of shape (n_samples,)
            Whether to rely on `predict` for the row; False where it got no answer.
        """
        P = self.predict_proba(X)
        return self._decisions.accept(P, self._decide(P))

    def predict_set(self, X: Any, coverage: float = 0.9) -> NDArray[np.bool_]:
        """Give all classes that a stated coverage does not rule out.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.
        coverage : float, default=0.9
            Probability that the set holds the true class; about, as the sets are learnt
            on out-of-fold probabilities (see `LeastAmbiguousSets`).

        Returns
        -------
        sets : ndarray of bool of shape (n_samples, n_classes)
            Whether each of `classes_` is in the set; all are in rows without an answer.
        """
        return self._decisions.sets(self.predict_proba(X), coverage)

    def adapt_prior(
        self, X: Any = None, *, class_prior: ArrayLike | None = None
    ) -> LogprobClassifier:
        """Adapt to other class frequencies than those of `fit`.

        It holds where the texts of each class are what they were, and only the
        frequencies of the classes have changed. Thresholds stay as they are.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns), default=None
            Unlabelled texts with the new frequencies, which are estimated from their
            probabilities by expectation-maximisation.
        class_prior : array-like of shape (n_classes,), default=None
            The new frequencies in the order of `classes_`, where they are known.

        Returns
        -------
        adapted : LogprobClassifier
            A fitted copy with the new `class_prior_`; this classifier stays as it is.

        Raises
        ------
        ValueError
            If not exactly one of X and class_prior is given.
        """
        check_is_fitted(self)
        P = None if X is None else self.predict_proba(X)
        adapted = copy(self)
        calibrator = adapt(self.calibrator_, self._learnt_prior, P, class_prior)
        adapted.calibrator_ = calibrator
        adapted.class_prior_ = adapted._learnt_prior = calibrator.class_prior
        return adapted

    def label_scores(self, X: Any) -> Floats:
        """Give the label log scores before any calibration.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes)
            Natural log of the model's probability for each label; rows log-sum to at
            most 0, the rest being what it gives to other tokens.
        """
        check_is_fitted(self)
        requests = self._scorer.requests(read_rows(X, self, reset=False))
        return self._scorer.read(self._ask(requests)).scores

    def requests(self, X: Any, y: ArrayLike | None = None) -> PlannedRequests:
        """Show what would be sent for X and about what it costs, without sending it.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts or a table.
        y : array-like of shape (n_samples,), default=None
            Labels, where the classifier is neither fitted nor told its classes.

        Returns
        -------
        requests : PlannedRequests
            A list, one request a row (or for each of its chains of thought), with
            ``n_sent``, ``prompt_tokens``, ``completion_tokens`` and ``cost``. Equal
            ones are sent once, and those in the cache not at all.
        """
        if self.__sklearn_is_fitted__():
            rows: Rows | None = read_rows(X, self, reset=False)
            scorer = self._scorer
        else:
            rows, labels, scorer = prepare(clone(self), X, y)
            rows, _, scorer = self._set_shots_apart(rows, labels, scorer)
        requests = [] if rows is None else scorer.requests(rows)
        return plan(scorer.backend, requests, self.cache)

    def __sklearn_tags__(self) -> Any:
        """Accept texts besides tables of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether `fit` came to its end."""
        return hasattr(self, "rejector_")

    def _set_shots_apart(
        self, rows: Rows | None, labels: Labels, scorer: LabelScorer
    ) -> tuple[Rows | None, NDArray[np.intp] | None, LabelScorer]:
        """Take demonstrations out of the rows, where the template wants some."""
        codes, words = labels.codes, [forms[0] for forms in scorer.forms.values()]
        if rows is None or not getattr(scorer.template, "n_shots", 0):
            return rows, codes, scorer
        template, left = take_shots(
            scorer.template, rows, codes, words, self.random_state
        )
        rows = Rows(rows.columns, [rows.values[i] for i in left], rows.aliases)
        return (
            rows,
            None if codes is None else codes[left],
            replace(scorer, template=template),
        )

    def _decide(self, P: Floats) -> NDArray[np.intp]:
        """Turn probabilities into positions in `classes_`; rows of NaN by the prior."""
        answered = ~np.isnan(P).any(axis=1, keepdims=True)
        return self._decisions.decide(np.where(answered, P, self.class_prior_))

    def _ask(self, requests: Sequence[Request]) -> list[Outcome]:
        return self._scorer.ask(requests, self.cache, self.usage_, self.verbose)

    def _debias(self, scores: Floats) -> Floats:
        """Subtract what the labels get without content: contextual calibration."""
        return np.asarray(scores - self.content_free_scores_)

    def _ask_content_free(self, rows: Rows | None) -> Floats:
        template, inputs = make_content_free(self.content_free).asked(
            self.prompt_, rows or Rows(("text",), []), self.random_state
        )
        if not len(inputs) or len(self.classes_) == 1:
            return np.zeros(len(self.classes_))
        scorer = replace(self._scorer, template=template)
        requests = scorer.requests(inputs)
        outcomes = scorer.ask(requests, self.cache, self.usage_, self.verbose)
        return mean_log_proba(scorer.read(outcomes).scores)

    def _describe(self, outcomes: Sequence[Outcome], read: LabelScores) -> None:
        """Learn how well prompt and labels suit the model."""
        self.other_tokens_ = self._scorer.others(outcomes)
        self.sampling_error_ = self._scorer.sampling_error(outcomes)
        self.label_mass_ = self.censored_share_ = np.nan
        if not outcomes:
            return
        self.label_mass_ = float(np.nanmedian(label_mass(read.scores)))
        self.censored_share_ = float(read.censored.mean())
        if self.label_mass_ < LOW_LABEL_MASS:
            said = ", ".join(map(repr, self.other_tokens_["token"][:5].tolist()))
            warnings.warn(
                f"The labels hold {self.label_mass_:.1%} of the model's probability "
                f"(median over {len(read.scores)} texts). It would rather say {said}. "
                "End the prompt where the label comes next, list the labels in it "
                "({labels}), or choose words that the model uses (other_tokens_).",
                LowLabelMassWarning,
                stacklevel=3,
            )
