"""Translates what the Hub's client, httpx and urllib raise into one sentence each, with a remedy."""

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.error import HTTPError, URLError

import httpx2
from huggingface_hub import errors, get_token
from huggingface_hub.errors import HfHubHTTPError

from lineup.errors import HubError, LineupError, UnreachableError, brief

TOKENS = "https://huggingface.co/settings/tokens"


class HubRequestError(LineupError):
    """A request to the Hub failed."""


class ConflictError(HubRequestError):
    """Another commit came first."""


class Explanation(NamedTuple):
    """The `got` and the `remedy` of an error, and whether the server did not respond at all."""

    got: str
    remedy: str
    unreachable: bool = False


@dataclass(frozen=True)
class Wording:
    """What differs between the errors of two operations.

    Attributes:
        host: the server, as the user knows it.
        retry: the remedy if something has to be fixed first.
        resume: the remedy after an interruption.
        network: the remedy if the server cannot be reached.
        status: explains an HTTP error status; None if the message of the error itself says more.
        known: the `got` and the `remedy` of specific errors of the Hub's client.
    """

    host: str
    retry: str
    resume: str
    network: str
    status: Callable[[int], Explanation | None]
    known: Mapping[type[BaseException], tuple[str, str]]


def _explain(error: BaseException, wording: Wording) -> Explanation | None:
    """Explain the first known error in a chain of causes; None if there is none."""
    cause: BaseException | None = error
    while cause:
        for kind, got_and_remedy in wording.known.items():
            if isinstance(cause, kind):
                return Explanation(*got_and_remedy)
        if isinstance(cause, HfHubHTTPError) and (response := getattr(cause, "response", None)) is not None:
            if response.status_code == 403 and response.request.method == "PUT":  # a signed URL, which takes no token
                remedy = f"{wording.retry}, or check for a proxy in between"
                return Explanation(f"{response.url.host} refused the upload (403)", remedy)
            return wording.status(response.status_code)
        if isinstance(cause, HTTPError):
            return wording.status(cause.code)
        if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | URLError | ConnectionError):
            return Explanation(f"{wording.host} cannot be reached", wording.network, unreachable=True)
        if isinstance(cause, httpx2.ProxyError):
            return Explanation("the proxy does not let it through", f"check HTTPS_PROXY, and {wording.retry}")
        if isinstance(cause, httpx2.TimeoutException | TimeoutError):
            return Explanation("the request timed out", wording.resume, unreachable=True)
        if isinstance(cause, httpx2.HTTPError):
            return Explanation("the connection was interrupted", wording.resume)
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return Explanation("the disk is full", "free some space in the cache (HF_HOME, TORCH_HOME)")
        cause = cause.__cause__ or cause.__context__
    return None


_LATER = "try again later"
_DOWNLOAD_ERRORS: dict[type[BaseException], tuple[str, str]] = {  # subclasses before their base class
    errors.GatedRepoError: ("the repository is gated", "accept the terms on its page, and set HF_TOKEN"),
    errors.RevisionNotFoundError: ("it has no such revision", "check the part after the @"),
    errors.RepositoryNotFoundError: ("no such public repository", "check the name; for a private one set HF_TOKEN"),
    errors.RemoteEntryNotFoundError: (
        "the repository has no such file",
        "check that it is a model of timm or transformers",
    ),
    errors.OfflineModeIsEnabled: ("HF_HUB_OFFLINE is set and the file is not cached", "unset it, or fetch it once"),
    errors.FileMetadataError: ("the response is not the Hub's", "check HF_ENDPOINT, and any proxy in between"),
}
_DOWNLOAD_STATUSES = {
    401: ("the token is not accepted (401)", "set HF_TOKEN to a valid one, or unset it: public files need none"),
    403: ("access was refused (403)", "set HF_TOKEN to a token that may read it"),
    404: ("there is no such file (404)", "check the name"),
    429: ("too many requests (429)", "wait a few minutes; with HF_TOKEN the rate limit is higher"),
}


@contextmanager
def download_errors(file: str, host: str) -> Iterator[None]:
    """Translate any exception of a download into a `HubError`."""
    network = "check this machine's network; cached backbones still work"
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        wording = Wording(host, _LATER, _LATER, network, _download_status, _DOWNLOAD_ERRORS)
        explanation = _explain(error, wording) or Explanation(brief(error, line=0), _LATER)
        kind = UnreachableError if explanation.unreachable else HubError
        raise kind(file, f"a download from {host}", explanation.got, explanation.remedy) from error


def _download_status(status: int) -> Explanation:
    got = "the server failed" if status >= 500 else "the request was refused"
    return Explanation(*_DOWNLOAD_STATUSES.get(status, (f"{got} ({status})", _LATER)))


@contextmanager
def hub_errors(repo: str, expected: str, hardware: str = "", command: str = "push") -> Iterator[None]:
    """Translate what the Hub's client raises into a `HubRequestError`.

    Args:
        repo: the repository, token or server that the request is about; the `where` of the error.
        expected: the purpose of the request, as in "to read the Space".
        hardware: the requested hardware, if any.
        command: the verb of the remedies, as in "push again".
    """
    try:
        yield
    except (HfHubHTTPError, httpx2.HTTPError, ValueError, OSError, RuntimeError) as error:
        if isinstance(error, NotImplementedError | RecursionError):
            raise  # a bug in Lineup; the client and Xet raise plain RuntimeErrors
        # the client wraps what an upload raised in a RuntimeError; Xet raises plain ones
        root = (error.__cause__ or error) if isinstance(error, RuntimeError) else error
        retry = f"{command} again"
        done = ": completed steps are kept" if command == "push" else ""

        def status(code: int) -> Explanation | None:
            if code >= 500:
                return Explanation(f"the Hub failed ({code})", f"{retry} later{done}")
            return _request_status(code, repo, expected, hardware, retry)

        network = f"check this machine's network, and {retry}"
        offline = ("HF_HUB_OFFLINE is set", f"unset it, and {retry}")
        known: dict[type[BaseException], tuple[str, str]] = {errors.OfflineModeIsEnabled: offline}
        wording = Wording("the Hub", retry, f"{retry}{done}", network, status, known)
        explanation = _explain(root, wording) or Explanation(brief(root, max_chars=300), f"fix that, and {retry}")
        response = _response_of(root)
        conflicts = response is not None and response.status_code in (409, 412) and "create" not in expected
        kind = ConflictError if conflicts else HubRequestError
        raise kind(repo, expected, explanation.got, explanation.remedy) from error


def retry_after_s(error: BaseException) -> float:
    """Return how long the server asks to wait, in the response behind an error: 0 if it does not say."""
    response = _response_of(error)
    if response is None:
        return 0.0
    asked = re.fullmatch(r"[0-9]{1,9}", response.headers.get("Retry-After", ""))
    # the Hub's own: "api";r=0;t=55, for none left and 55 s, which it sends with every response
    left = re.search(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*([0-9]{1,9})", response.headers.get("RateLimit", ""))
    return max(float(asked[0]) if asked else 0.0, float(left[1]) if left else 0.0)


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed a moment later: not with a token that has been refused."""
    response = _response_of(error)
    if response is None:
        return error.__cause__ is not None  # a failed connection; what Lineup refuses itself has no cause
    return response.status_code >= 500 or response.status_code in (408, 409, 412, 429)


def _response_of(error: BaseException) -> httpx2.Response | None:
    """Return the response behind the first error of a chain of causes that has one."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, HfHubHTTPError) and (response := getattr(cause, "response", None)) is not None:
            return response
        cause = cause.__cause__ or cause.__context__
    return None


def _request_status(status: int, repo: str, expected: str, hardware: str, retry: str) -> Explanation | None:
    if status == 400:
        return None
    if status == 401:
        got = "the token is not accepted (401)" if get_token() else "there is no token (401)"
        return Explanation(got, f"create one with write access at {TOKENS}, and set HF_TOKEN to it")
    if status == 402:
        free = "free accounts push with --hardware zero-a10g"
        full = "delete a ZeroGPU Space that you do not need, or get a plan"
        return Explanation(f"{hardware or 'that'} needs a paid plan (402)", full if hardware == "zero-a10g" else free)
    if status == 403:
        remedy = f"use one with write access to {repo.partition('/')[0]}, or push to a name of your own"
        return Explanation("the token has no permission for this (403)", remedy)
    if status == 409 and "create" in expected:
        remedy = "choose another one, or use a token with access to the existing one"
        return Explanation("the name is taken (409)", remedy)
    if status in (409, 412):
        return Explanation(f"the repository was changed in the meantime ({status})", retry)
    if status == 429:
        return Explanation("too many requests (429)", f"{retry} in a few minutes")
    return Explanation(f"the Hub refused ({status})", f"{retry} later")
