"""Fitted classifiers as JSON: everything learnt, and nothing that could be executed."""

from __future__ import annotations

import json
import os
from typing import Any, TypeVar

from sklearn.utils.validation import check_is_fitted

from sklearn_logprob._errors import LogprobError
from sklearn_logprob._json_values import parse
from sklearn_logprob._private_files import read_own, write_own
from sklearn_logprob._same_model import check_model, short
from sklearn_logprob._saved_state import document_of, restore

__all__ = ["SavedAsJson"]

Self = TypeVar("Self", bound="SavedAsJson")


class SavedAsJson:
    """What a classifier needs to be saved as JSON, and made again from it.

    Examples
    --------
    >>> from sklearn_logprob import FakeBackend, LogprobClassifier
    >>> clf = LogprobClassifier(FakeBackend(), classes=["bad", "good"]).fit()
    >>> twin = LogprobClassifier.from_json(clf.to_json())
    >>> bool((twin.predict_proba(["fine"]) == clf.predict_proba(["fine"])).all())
    True
    """

    def to_json(self, path: Any = None) -> str:
        """Save everything that was learnt, with all parameters, as JSON.

        No weights, no key, no answers; but demonstrations taken from the rows of `fit`,
        tokens that a read-out or `other_tokens_` knows, and a checksum of 32 bits of
        each row. `report_` is saved with its scores if they were computed before.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write, readable by its owner only; it is there as a whole or not at
            all. None writes none.

        Returns
        -------
        text : str
            What is, or would be, in the file.

        Raises
        ------
        ValueError
            If a parameter is an object of your own, or a function: pickle can save it.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        check_model(self)
        text = json.dumps(document_of(self), allow_nan=False)
        if path is not None:
            write_own(path, text)
        return text

    @classmethod
    def from_json(
        cls: type[Self], text_or_path: Any, *, backend: Any = None, prompt: Any = None
    ) -> Self:
        """Make a classifier from what `to_json` gave.

        Nothing in a file is executed, and everything is checked. Nothing is sent: what
        a server says of its model is held against the file before the first question.
        But a file names the server that texts go to, the environment variable whose
        value it gets as a key, and the folder of the cache: if it is not yours, give
        `backend`, which takes the place of the one in the file, and set `cache`.

        Parameters
        ----------
        text_or_path : str or path-like
            The text, or a file's path.
        backend : str or Backend, default=None
            Who answers from now on, such as the same model at another address. None:
            the backend in the file.
        prompt : str, PromptTemplate or PromptEnsemble, default=None
            The prompt that the classifier must have been fitted with. None: any.

        Returns
        -------
        clf : LogprobClassifier
            A fitted one. Its `usage_` starts from nothing.

        Raises
        ------
        ValueError
            If this is not what `to_json` gave, or is in a format of a later version;
            if the model or the prompt is another one than in `fit`.
        FileNotFoundError
            If there is no such file.
        """
        text = _text_of(text_or_path)
        try:
            clf: Self = restore(cls, parse(text), backend, prompt)
        except Exception as error:  # what any part of the package says of a wrong value
            told = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, ValueError | LogprobError | ImportError):
                told = f"the file is damaged, or was changed by hand: {told}"
            raise ValueError(f"from_json: {told}") from error
        return clf


def _text_of(text_or_path: Any) -> str:
    """Give the text itself, or that of the file."""
    if isinstance(text_or_path, str):
        if text_or_path.lstrip()[:1] == "{":
            return text_or_path
        if not os.path.isfile(text_or_path):
            raise ValueError(
                f"from_json: {short(text_or_path)} is neither the text of to_json nor "
                "the path of a file."
            )
    elif not isinstance(text_or_path, os.PathLike):
        raise TypeError(
            "from_json takes the text of to_json or the path of a file. Got "
            f"{short(text_or_path)} instead."
        )
    return read_own(text_or_path)
