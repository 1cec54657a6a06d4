"""Requests to a server that did not respond fail at once for a while."""

import pytest

from lineup.errors import UnreachableError
from lineup.hub.circuit_breaker import CircuitBreaker
from lineup.hub.files import UrlFile


@pytest.fixture
def file(tmp_path):
    return UrlFile("http://127.0.0.1:9/a.pth", tmp_path / "a.pth")


def open_circuit(breaker, file):
    with pytest.raises(UnreachableError, match="no response"), breaker.guard(file):
        raise UnreachableError("", "", "no response")


def test_open_circuit_fails_at_once_and_is_closed_by_a_response(file):
    breaker = CircuitBreaker()
    open_circuit(breaker, file)
    with pytest.raises(UnreachableError, match="it did not respond a moment ago"), breaker.guard(file):
        pytest.fail("a request was sent")
    with breaker.guard(file, force=True):
        pass
    with breaker.guard(file):  # closed
        pass


def test_a_cached_file_passes_and_does_not_close_the_circuit(file):
    breaker = CircuitBreaker()
    open_circuit(breaker, file)
    file.path.write_bytes(b"1")
    with breaker.guard(file):
        pass
    file.path.unlink()
    with pytest.raises(UnreachableError), breaker.guard(file):
        pytest.fail("a request was sent")
