"""Errors and warnings, in two trees.

A wrong parameter is a plain ValueError or TypeError. What goes wrong with a prompt or a
model is one of these::

    LogprobError
     ├─ PromptError (ValueError)         a template that does not fit the data
     │   └─ PromptTooLongError (RowError)     longer than the model's context
     ├─ OperatingPointError (ValueError) no threshold keeps what was asked for
     ├─ BackendError                     the model could not answer
     │   ├─ MissingKeyError              no key in the environment
     │   ├─ UnsupportedRequestError      this backend cannot do that
     │   ├─ LogprobsUnavailableError     it answered, without log-probabilities
     │   ├─ LimitReachedError            max_requests or max_cost stopped it
     │   ├─ RefusedError (RowError)      a refusal or a content filter
     │   └─ UnreadableAnswerError (RowError)  no label where one should be
     └─ RowError                         the fault of one row, whatever its kind

    UserWarning
     ├─ CacheWarning                     the cache is damaged, or cannot be written
     ├─ ExposedKeyWarning                a key goes over the network in clear text
     ├─ FailedRowsWarning                rows without an answer, with on_error="nan"
     ├─ FewLabelsWarning                 too few labels for what they are to decide
     ├─ LowLabelMassWarning              the labels hold little of the probability
     ├─ ModelChangedWarning              not the model, or not the build, that fit saw
     ├─ UninformativeModelWarning        no better than the class frequencies
     ├─ UnnamedLabelsWarning             label text would be bare numbers
     └─ SingleClassWarning               y holds one class only
"""

__all__ = [
    "BackendError",
    "CacheWarning",
    "ExposedKeyWarning",
    "FailedRowsWarning",
    "FewLabelsWarning",
    "LimitReachedError",
    "LogprobError",
    "LogprobsUnavailableError",
    "LowLabelMassWarning",
    "MissingKeyError",
    "ModelChangedWarning",
    "OperatingPointError",
    "PromptError",
    "PromptTooLongError",
    "RefusedError",
    "RowError",
    "SingleClassWarning",
    "UninformativeModelWarning",
    "UnnamedLabelsWarning",
    "UnreadableAnswerError",
    "UnsupportedRequestError",
]


class LogprobError(Exception):
    """Base of every error that a prompt or a model causes."""


class RowError(LogprobError):
    """One request fails for a reason of its own; others need not.

    Parameters
    ----------
    message : str
        What to tell the user, with ``{row}`` where the row is named.
    index : int
        Which request it was; `collect` turns it into the row of X.
    """

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message.replace("{row}", f"request {index}"))
        self.template = message
        self.index = index

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        """Pickle from both arguments: workers send errors to their parent."""
        return type(self), (self.template, self.index)

    def for_row(self, row: int) -> "RowError":
        """Name the row of X in place of the request.

        Parameters
        ----------
        row : int
            Position of the row in X.

        Returns
        -------
        error : RowError
            The same error, told in terms of X.
        """
        return type(self)(self.template.replace("{row}", f"row {row} of X"), row)


class PromptError(LogprobError, ValueError):
    """The prompt template does not fit the data."""


class PromptTooLongError(RowError, PromptError):
    """A prompt is longer than the model's context.

    Parameters
    ----------
    message : str
        What to tell the user, with ``{row}`` where the row is named.
    index : int
        Which request it was.
    """


class OperatingPointError(LogprobError, ValueError):
    """No threshold keeps the precision or recall that was asked for."""


class BackendError(LogprobError):
    """The model could not be reached or did not answer."""


class MissingKeyError(BackendError):
    """No key in the environment variable that should hold it."""


class UnsupportedRequestError(BackendError):
    """The backend cannot do what the request asks for."""


class LogprobsUnavailableError(BackendError):
    """The model answered, but without log-probabilities."""


class RefusedError(RowError, BackendError):
    """The model, or a filter before or behind it, refuses to answer this row.

    Parameters
    ----------
    message : str
        What to tell the user, with ``{row}`` where the row is named.
    index : int
        Which request it was.
    """


class UnreadableAnswerError(RowError, BackendError):
    """The answer ended before the label, or is not in the form that was asked for.

    Parameters
    ----------
    message : str
        What to tell the user, with ``{row}`` where the row is named.
    index : int
        Which request it was.
    """


class LimitReachedError(BackendError):
    """One more request would cross ``max_requests`` or ``max_cost``."""


class CacheWarning(UserWarning):
    """The files of a cache are damaged, or cannot be written; the work goes on."""


class ExposedKeyWarning(UserWarning):
    """A key is sent to another machine without encryption."""


class FailedRowsWarning(UserWarning):
    """Some rows got no answer, and `on_error` lets them be NaN."""


class FewLabelsWarning(UserWarning):
    """There are too few labels for what they are to decide."""


class LowLabelMassWarning(UserWarning):
    """The labels hold little of the model's probability: the prompt is wrong."""


class ModelChangedWarning(UserWarning):
    """The server says that another build of the model answers than the one in `fit`."""


class UninformativeModelWarning(UserWarning):
    """The model knows no more about these labels than how frequent they are."""


class UnnamedLabelsWarning(UserWarning):
    """The label text would be bare numbers that nobody named."""


class SingleClassWarning(UserWarning):
    """Only one class was seen in y, so little could be learnt."""
