"""A service with an address, a key and ways of refusing, for all that is asked there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sklearn_logprob._errors import BackendError, LogprobError
from sklearn_logprob.backends._http import HttpError, call_bytes, call_json
from sklearn_logprob.backends._params import MALFORMED

__all__ = ["Service"]

T = TypeVar("T")


@dataclass(frozen=True)
class Service:
    """Who is asked, where, and as whom.

    Parameters
    ----------
    url : str
        What stands before all paths.
    who : str
        How messages call it.
    headers : mapping
        What goes with each request: the key is there.
    key : str
        What no message may show; may be empty.
    timeout : float
        Seconds to wait for an answer.
    max_retries : int
        How often to ask again.
    explain : callable
        From a refusal, and the index of the request, to what is raised.

    Examples
    --------
    >>> from sklearn_logprob.backends._service import Service
    >>> told = dict(timeout=60, max_retries=5, explain=lambda error, index: error)
    >>> Service("http://u", "m at u", {"x-api-key": "abc"}, "abc", **told).who
    'm at u'
    """

    url: str
    who: str
    headers: Mapping[str, str] = field(repr=False)
    key: str = field(repr=False)
    timeout: float
    max_retries: int
    explain: Callable[[HttpError, int], LogprobError]

    def call(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        index: int = 0,
        **options: Any,
    ) -> dict[str, Any]:
        """Ask, and give the JSON object that comes back.

        Parameters
        ----------
        path : str
            Where, after the address.
        body : mapping, default=None
            What to post; None gets.
        index : int, default=0
            Which request it is, for what is raised.
        **options : dict
            Further parameters of `call_json`, in place of the service's own.

        Returns
        -------
        content : dict
            The object.

        Raises
        ------
        LogprobError
            What `explain` makes of a refusal, or there is no server.
        """
        try:
            return call_json(self.url + path, body, **self._given(options))
        except HttpError as error:
            failure = self.explain(error, index)
        raise failure  # not in the handler: see call_json

    def find(self, path: str) -> dict[str, Any] | None:
        """Ask for what may not be there.

        Parameters
        ----------
        path : str
            Where, after the address.

        Returns
        -------
        content : dict or None
            None if the service does not know it.

        Raises
        ------
        LogprobError
            As for `call`.
        """
        try:
            return call_json(self.url + path, **self._given({}))
        except HttpError as error:
            failure = None if error.status == 404 else self.explain(error, 0)
        if failure is not None:
            raise failure
        return None

    def pages(
        self, path: str, listed: Callable[[dict[str, Any]], tuple[list[T], str | None]]
    ) -> Iterator[T]:
        """Give what the service lists on several pages.

        Parameters
        ----------
        path : str
            Of the first one, after the address.
        listed : callable
            From a page to what is on it, and what the path of the next one adds; None
            if it is the last.

        Yields
        ------
        thing : object
            Whatever `listed` makes.

        Raises
        ------
        LogprobError
            As for `call` and `parsed`.
        """
        further: str | None = ""
        while further is not None:
            found, further = self.parsed(listed, self.call(path + further))
            yield from found

    def fetch(self, path: str, timeout: float) -> bytes:
        """Get a file.

        Parameters
        ----------
        path : str
            Where, after the address.
        timeout : float
            Seconds to wait for it.

        Returns
        -------
        content : bytes
            All of it.

        Raises
        ------
        LogprobError
            As for `call`.
        """
        try:
            return call_bytes(self.url + path, **self._given({"timeout": timeout}))
        except HttpError as error:
            failure = self.explain(error, 0)
        raise failure

    def parsed(self, parse: Callable[[dict[str, Any]], T], content: dict[str, Any]) -> T:
        """Take a reply apart.

        Parameters
        ----------
        parse : callable
            How; it may fail in any way that a strange reply makes it fail.
        content : dict
            The reply.

        Returns
        -------
        parsed : object
            What `parse` gives.

        Raises
        ------
        BackendError
            If it fails.
        """
        try:
            return parse(content)
        except MALFORMED:
            pass
        raise BackendError(f"{self.who} did not answer in its format: check base_url=.")

    def _given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "who": self.who,
            "headers": self.headers,
            "secret": self.key,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            **options,
        }
