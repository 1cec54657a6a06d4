"""The address by which a client's limits are counted."""

from types import SimpleNamespace

import pytest

from lineup.page.client_address import client_address

PROXIED = "10.16.3.80"


def address(host, forwarded=""):
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    return client_address(SimpleNamespace(client=SimpleNamespace(host=host), headers=headers))


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("8.8.8.8, 10.1.2.3", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8, 10.1.2.3", "8.8.8.8"),  # the first was written by the client
        ("nonsense, 8.8.8.8", "8.8.8.8"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::/64"),
        ("10.1.2.3, nonsense", PROXIED),
        ("", PROXIED),
    ],
)
def test_address_in_a_space_is_the_one_that_its_proxy_names(monkeypatch, forwarded, expected):
    monkeypatch.setenv("SPACE_ID", "me/lineup")
    assert address(PROXIED, forwarded) == expected


def test_forwarded_address_counts_only_in_a_space(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert address("9.9.9.9", "8.8.8.8") == "9.9.9.9"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::/64"),
        ("::ffff:9.9.9.9", "9.9.9.9"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_client_with_many_addresses_has_one(monkeypatch, host, expected):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert address(host) == expected


def test_request_without_a_client_has_an_address():
    assert client_address(SimpleNamespace(client=None, headers={})) == ""
