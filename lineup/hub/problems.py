"""What the Hub's client raises while a Space is pushed, in one sentence each, with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError

from lineup.errors import LineupError, brief

TOKENS = "https://huggingface.co/settings/tokens"
_KEPT = ": what is done stays done"


class RefusalError(LineupError):
    """The Hub did not do what was asked."""


@contextmanager
def told(repo: str, expected: str, hardware: str = "", command: str = "push") -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence, with what to do.

    Args:
        repo: what was asked about.
        expected: what should have happened, as in "to look at the Space".
        hardware: what was asked for, if it was.
        command: what somebody may do again.
    """
    try:
        yield
    except (HfHubHTTPError, httpx2.HTTPError, ValueError, OSError, RuntimeError) as error:
        if isinstance(error, NotImplementedError | RecursionError):
            raise  # a bug of ours; the client and Xet raise plain RuntimeErrors
        what, remedy = _explain(error, repo, expected, hardware)
        if command != "push":
            remedy = remedy.removesuffix(_KEPT).replace("push again", f"{command} again")
        raise RefusalError(repo, expected, what, remedy) from error


def _explain(error: BaseException, repo: str, expected: str, hardware: str) -> tuple[str, str]:
    """Say what happened and what to do about it."""
    if isinstance(error, RuntimeError):  # the client's own, around what an upload raised; or Xet's
        error = error.__cause__ or error
    root: BaseException | None = error
    while root:
        if isinstance(root, HfHubHTTPError) and (response := getattr(root, "response", None)) is not None:
            if response.status_code == 400:  # what is wrong stands in the error on top
                break
            if response.status_code == 403 and response.request.method == "PUT":  # signed for whoever has the address
                return f"{response.url.host} refused the upload (403)", "push again, or look for a proxy on the way"
            return _explain_status(response.status_code, repo, expected, hardware)
        if isinstance(root, httpx2.ConnectError | httpx2.ConnectTimeout):
            return "the Hub cannot be reached", "check this machine's network, and push again"
        if isinstance(root, httpx2.ProxyError):
            return "the proxy does not let it through", "check HTTPS_PROXY, and push again"
        if isinstance(root, httpx2.TimeoutException):
            return "no answer came in time", f"push again{_KEPT}"
        if isinstance(root, httpx2.HTTPError):
            return "the connection broke off", f"push again{_KEPT}"
        root = root.__cause__ or root.__context__
    return brief(error, most=300), "mend that, and push again"


def _explain_status(status: int, repo: str, expected: str, hardware: str) -> tuple[str, str]:
    if status == 401:
        if not get_token():
            return "there is no token (401)", f"make one that may write at {TOKENS}, and set HF_TOKEN to it"
        return "the token is not accepted (401)", f"make one that may write at {TOKENS}, and set HF_TOKEN to it"
    if status == 402:
        free = "free accounts push with --hardware zero-a10g"
        full = "delete a ZeroGPU Space that you do not need, or get a plan"
        return f"{hardware or 'that'} needs a paid plan (402)", full if hardware == "zero-a10g" else free
    if status == 403:
        owner = repo.partition("/")[0]
        return "the token may not do that (403)", f"use one that may write to {owner}, or push to a name of your own"
    if status == 409 and "create" in expected:
        return "the name is taken (409)", "choose another one, or use a token that may see what is there"
    if status in (409, 412):
        return f"somebody changed the Space meanwhile ({status})", "push again"
    if status == 429:
        return "too many requests (429)", "push again in some minutes"
    if status >= 500:
        return f"the Hub failed ({status})", f"push again later{_KEPT}"
    return f"the Hub refused ({status})", "push again later"
