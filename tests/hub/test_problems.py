import errno

import httpx2
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from lineup.errors import HubError, UnreachableError
from lineup.hub.problems import HubRequestError, download_errors, hub_errors

FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


def wrapped(error: Exception) -> RuntimeError:
    outer = RuntimeError("upload failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set; unset it, and push again"),
        (TimeoutError(), "the request timed out; push again: completed steps are kept"),
        (ConnectionResetError(), "the Hub cannot be reached; check this machine's network, and push again"),
        (wrapped(httpx2.ProxyError("502")), "the proxy does not let it through; check HTTPS_PROXY, and push again"),
        (wrapped(FULL_DISK), "the disk is full; free some space in the cache (HF_HOME, TORCH_HOME)"),
        (ValueError("bad\ncolour"), "bad colour; fix that, and push again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_hub_error_has_cause_and_remedy(error, message):
    with pytest.raises(HubRequestError) as caught, hub_errors("me/birds", "to push"):
        raise error
    assert str(caught.value) == f"me/birds: expected to push; {message}"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [NotImplementedError(), RecursionError(), KeyError()])
def test_bug_is_not_a_hub_error(error):
    with pytest.raises(type(error)), hub_errors("me/birds", "to push"):
        raise error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            httpx2.ProxyError("502"),
            HubError,
            "the proxy does not let it through; check HTTPS_PROXY, and try again later",
        ),
        (httpx2.ConnectTimeout("slow"), UnreachableError, "the Hub cannot be reached; check this machine's network; "),
        (TimeoutError(), UnreachableError, "the request timed out; try again later"),
        (KeyError("a"), HubError, "'a'; try again later"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_download_error_has_cause_and_remedy(error, kind, message):
    with pytest.raises(HubError) as caught, download_errors("w.bin", "the Hub"):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"w.bin: expected a download from the Hub; {message}")
