"""The estimator: prompts, answers, scores, probabilities and decisions, glued."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sklearn_logprob._builds import builds_of, warn_of_change
from sklearn_logprob._errors import BackendError, LowLabelMassWarning
from sklearn_logprob._exploring import make_page
from sklearn_logprob._garbage import no_garbage
from sklearn_logprob._heads import Head
from sklearn_logprob._inputs import Rows, read_rows
from sklearn_logprob._label_heads import LabelHeads
from sklearn_logprob._label_sets import indicator_of
from sklearn_logprob._planning import PlannedRequests, plan
from sklearn_logprob._preparing import prepare, without_content
from sklearn_logprob._same_model import check_model
from sklearn_logprob._streaming import predict_batches
from sklearn_logprob._types import Floats, Outcome, Request, Usage
from sklearn_logprob.content_free import mean_log_proba
from sklearn_logprob.page import OperatingPointPage
from sklearn_logprob.saving import SavedAsJson
from sklearn_logprob.scoring import LabelScores, label_mass
from sklearn_logprob.suggestions import SuggestedLabels, suggest_labels

__all__ = ["LogprobClassifier"]

LOW_LABEL_MASS = 0.1  # median probability on any label below which fit warns


class LogprobClassifier(SavedAsJson, ClassifierMixin, BaseEstimator):
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
    prompt : str, PromptTemplate, PromptEnsemble or None, default=None
        Template with named fields: ``{text}`` for texts, the column names for a table,
        ``{labels}`` for the list of labels; or the name of a style such as "question".
        None is the style "instruction".
    verbalizer : mapping, Verbalizer or None, default=None
        Class → surface form or list of them. None: the text of the class.
    classes : sequence or None, default=None
        All classes, where y may lack some, is encoded, or is absent. None: those of the
        verbalizer, else of y. Of an indicator matrix, the names of its columns.
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
    readout : {"labels", "tokens", "auto"} or TokenReadout, default="auto"
        What the answers are read for. "labels": the label log scores. "tokens": every
        returned token is a feature besides. "auto": as far as that is better on held-out
        rows; not at all without labels, without calibrator and for stacked prompts.
    threshold : number, sequence, str, selector or None, default=None
        Decisions: None is the most probable class; a number the probability of
        `pos_label` above which it is predicted; one number a class, by which
        probabilities are divided before the largest wins; a metric name or a selector,
        chosen on out-of-fold probabilities. It acts in `predict` only. Where several
        labels may apply it is about each, and a sequence has a number a label.
    reject : rejector or None, default=None
        What `accept` goes by: ``ChowRule(cost)`` or ``RiskAtMost(risk, delta=...)``.
    pos_label : label or None, default=None
        The class that a binary threshold is about. None: the last of `classes_`.
    multilabel : {"per_label", "one_query"} or None, default=None
        How to ask where several labels may apply to a row: whether each does, with
        ``{label}`` in the prompt, or once for the list of those that do. None asks about
        each if y is an indicator matrix or holds sets of labels, and about one class
        otherwise.
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
        The classes, sorted. Where several labels may apply to a row (n_classes labels),
        in the order of the columns of y; then `calibrator_` and `selector_` are lists,
        `threshold_` and `class_prior_` (share of the rows) hold a number each, and
        `report_` is a `LabelReports`.
    verbalizer_ : dict
        Class → surface forms.
    prompt_ : PromptTemplate or PromptEnsemble
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
        Median share of the model's probability that lands on any label (or on yes and
        no, about each label); nan where `fit` saw no texts, and 1 with "one_query".
    censored_share_ : float
        Share of (text, label) pairs of which the answers showed nothing.
    sampling_error_ : float
        Median standard error of the leading label's probability, for backends that draw
        answers (``"sampling:…"``); nan for all others.
    other_tokens_ : structured ndarray
        What else the model wanted to say: ``token`` and ``mean_probability``.
    usage_ : Usage
        Requests, cache hits and tokens so far, predictions included.
    builds_ : tuple of str
        Builds of the model that answered in `fit`, where its server says so.
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
        readout: Any = "auto",
        threshold: Any = None,
        reject: Any = None,
        pos_label: Any = None,
        multilabel: str | None = None,
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
        self.multilabel = multilabel
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
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Labels. None with `classes`: batch calibration only. Several a row: a matrix
            of 0 and 1, dense, sparse or a DataFrame whose columns name the labels, or a
            set of labels for each row.

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
        rows, labels, scorer, head = prepare(self, X, y)
        # A template that does not fit the data fails here, before anything is asked.
        requests = [] if rows is None or head.n_classes == 1 else scorer.requests(rows)
        for name in ("report_", "rejector_"):  # not fitted until everything is learnt
            self.__dict__.pop(name, None)
        self.classes_, self.verbalizer_ = labels.classes, scorer.forms
        self._names, self._fitted_on = labels.names, None  # for `to_json`
        self.backend_, self.prompt_ = scorer.backend, scorer.template
        self._scorer, self.usage_ = scorer, Usage()

        self.content_free_scores_ = self._ask_content_free(rows, head.n_classes)
        outcomes = self._ask(requests)
        self.builds_ = builds_of(outcomes)
        read = scorer.read(outcomes)
        if outcomes and np.isnan(read.scores).all():
            raise BackendError("No row of X got an answer: see the warning above.")
        self._describe(outcomes, read)
        S = self._debias(read.scores)
        self._take(head.learn(S, labels.codes, outcomes, scorer.features))
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
            Probabilities, in the order of `classes_`; of several labels a row, that of
            each to apply. With ``on_error="nan"``, NaN where there is no answer.
        """
        P = self._proba(X)
        return self._head.shown(P)

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
            Log-odds of ``classes_[1]`` for two classes, and of each label where several
            may apply; else log-probabilities.
        """
        log_proba = np.log(self._proba(X))
        if self._head.n_classes == 2:
            return np.asarray(log_proba[..., 1] - log_proba[..., 0])
        return np.asarray(log_proba)

    def predict(self, X: Any) -> NDArray[Any]:
        """Decide, with the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Members of `classes_`; of several labels a row, 1 where one applies.
        """
        P = self._proba(X)
        return self._head.named(self._head.decide(P), self.classes_)

    def predict_batches(
        self, batches: Iterable[Any], method: str | Sequence[str] = "predict_proba"
    ) -> Iterator[Any]:
        """Predict for rows that do not fit in memory, one batch at a time.

        Parameters
        ----------
        batches : iterable of array-like
            Texts or tables, as `predict` takes them, such as the chunks of
            ``pandas.read_csv(..., chunksize=1000)``. One is read when its result is
            wanted. Empty ones are let through.
        method : str or sequence of str, default="predict_proba"
            "predict_proba", "predict" or "accept"; or several of them, for which a row is
            asked about once.

        Returns
        -------
        results : iterator
            For each batch the array of the method, or a tuple of them.

        Raises
        ------
        ValueError
            If a method is none of these, before the first batch is read.
        """
        return predict_batches(self, batches, method)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Give the accuracy; of several labels a row, how often all are right.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels, in any form that `fit` takes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Share of the rows.
        """
        check_is_fitted(self)
        truth = indicator_of(y, self.classes_.tolist())
        check_consistent_length(X, truth, sample_weight)
        return float(super().score(X, truth, sample_weight))

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
        P = self._proba(X)
        return self._head.accept(P)

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
        P = self._proba(X)
        return self._head.sets(P, coverage)

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
        P = None if X is None else self._proba(X)
        adapted = copy(self)
        adapted._take(self._head.adapted(P, class_prior))
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
            most 0, the rest being what it gives to other tokens. Of several labels a
            row, shape (n_samples, n_labels, 2): of "no" and of "yes".
        """
        check_is_fitted(self)
        requests = self._scorer.requests(read_rows(X, self, reset=False))
        return self._scorer.read(self._ask(requests)).scores

    def suggest_labels(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        n: int = 5,
        min_probability: float = 0.01,
    ) -> SuggestedLabels:
        """Find words besides the labels that are worth a class, or a surface form.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`. With those of `fit` nothing is
            asked, for the answers are in the cache.
        y : array-like of shape (n_samples,), default=None
            Labels, which tell the class that a word goes with.
        n : int, default=5
            How many to give at most.
        min_probability : float, default=0.01
            Mean probability below which a word is not worth a label.

        Returns
        -------
        suggestions : SuggestedLabels
            A list of `SuggestedLabel`; ``print`` shows it. See
            `suggestions.suggest_labels` for what is left out.

        Raises
        ------
        ValueError
            If the model answers with codes.
        """
        check_is_fitted(self)
        view, per_row = self._scorer.views[0], self._scorer.per_row
        if view.answers:
            raise ValueError(
                "suggest_labels needs answers in words: fit without codes= of Verbalizer."
            )
        rows = read_rows(X, self, reset=False)
        check_consistent_length(rows.values, y)
        outcomes = self._ask(self._scorer.requests(rows))
        forms = view.spellings
        found = suggest_labels(outcomes, forms, y, min_probability, per_row=per_row)
        return SuggestedLabels(found[:n])

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
            A list, one request a row (or for each of its chains of thought, and each
            label that is asked about) and, before `fit`, those of `content_free` at the
            end; with ``n_sent``, ``prompt_tokens``, ``completion_tokens`` and ``cost``.
            Equal ones are sent once, and those in the cache not at all.
        """
        rows: Rows | None
        if self.__sklearn_is_fitted__():
            rows, scorer, head = read_rows(X, self, reset=False), self._scorer, self._head
            besides: list[Request] = []
        else:
            unfitted = clone(self)
            rows, _, scorer, head = prepare(unfitted, X, y)
            besides = without_content(unfitted, rows, scorer)[1]
        requests = [] if rows is None else scorer.requests(rows)
        asked = [*requests, *besides] if head.n_classes > 1 else []
        return plan(scorer.backend, asked, self.cache)

    def explore(
        self, X: Any, y: ArrayLike, path: Any = None, *, out_of_fold: bool = False
    ) -> OperatingPointPage:
        """Make a page on which to move thresholds and see what follows.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, n_columns)
            Texts, or a table like the one in `fit`; best rows that `fit` did not see.
        y : array-like of shape (n_samples,)
            Their labels.
        path : str or path, default=None
            Where to write the page; None writes none.
        out_of_fold : bool, default=False
            Whether to show probabilities of calibrators fitted anew, in `cv` folds of X
            and y, each to other rows than those it is shown for; for rows that `fit`
            saw.

        Returns
        -------
        page : OperatingPointPage
            One HTML file that needs no network; a notebook shows it.

        Raises
        ------
        ValueError, FileNotFoundError
            For bad data or a folder that is not there, before the model is asked.
        """
        check_is_fitted(self)
        return make_page(self, X, y, path, out_of_fold=out_of_fold)

    def __sklearn_tags__(self) -> Any:
        """Accept texts besides tables of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = tags.target_tags.multi_output = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether `fit` came to its end."""
        return hasattr(self, "rejector_")

    def _take(self, head: Head | LabelHeads) -> None:
        """Show what was learnt as attributes."""
        self._head = head
        self.calibrator_, self.class_prior_ = head.calibrator, head.class_prior
        self.threshold_, self.selector_ = head.threshold, head.selector
        if head.report is not None:
            self.report_ = head.report
        self.rejector_ = head.rejector

    @no_garbage()
    def _proba(self, X: Any) -> Floats:
        """Give probabilities of all classes; of several labels, in pairs."""
        check_is_fitted(self)
        rows = read_rows(X, self, reset=False)
        if self._head.n_classes == 1:
            return np.ones((len(rows), 1))
        outcomes = self._ask(self._scorer.requests(rows))
        warn_of_change(getattr(self, "builds_", ()), outcomes)
        S = self._debias(self._scorer.read(outcomes).scores)
        return self._head.proba(S, outcomes)

    def _ask(self, requests: Sequence[Request]) -> list[Outcome]:
        check_model(self)
        return self._scorer.ask(requests, self.cache, self.usage_, self.verbose)

    def _debias(self, scores: Floats) -> Floats:
        """Subtract what the labels get without content: contextual calibration."""
        return np.asarray(scores - self.content_free_scores_)

    def _ask_content_free(self, rows: Rows | None, n_classes: int) -> Floats:
        scorer, requests = without_content(self, rows, self._scorer)
        if not requests or n_classes == 1:
            return np.zeros(n_classes)
        outcomes = scorer.ask(requests, self.cache, self.usage_, self.verbose)
        return mean_log_proba(scorer.read(outcomes).scores)

    def _describe(self, outcomes: Sequence[Outcome], read: LabelScores) -> None:
        """Learn how well prompt and labels suit the model."""
        self.other_tokens_ = self._scorer.others(outcomes)
        self.sampling_error_ = self._scorer.sampling_error(outcomes)
        self.label_mass_ = self.censored_share_ = np.nan
        if not outcomes:
            return
        labelled = np.delete(read.scores, self._scorer.unnamed, axis=-1)
        self.label_mass_ = float(np.nanmedian(label_mass(labelled)))
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
