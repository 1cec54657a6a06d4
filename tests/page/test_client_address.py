"""The address by which a client's limits are counted, as every limit asks for it."""

import logging
import uuid
from types import SimpleNamespace

import gradio as gr
import pytest
from starlette.requests import Request

from lineup.config.proxies import LOOPBACK
from lineup.page.client_address import UVICORN, Proxies, network_of

PROXIED = "10.16.3.80"
V6 = "2a00:1450:4001:81b::200e"
V6_NETWORK = "2a00:1450:4001:81b::/64"


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    for name in ("SPACE_ID", UVICORN):
        monkeypatch.delenv(name, raising=False)


def request(peer, *forwarded):
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded if each is not None]
    return Request({"type": "http", "client": peer and (peer, 4000), "headers": headers})


@pytest.fixture(params=["Starlette", "Gradio", "values"])
def address(request):
    """Return a function that asks for an address as a limit does: of each kind of request."""

    def of(trusted, peer, *forwarded):
        sent = globals()["request"](peer, *forwarded)
        if request.param == "Gradio":
            sent = gr.Request(sent)
        elif request.param == "values":  # what is left of Gradio's request in another process
            headers = {"x-forwarded-for": ",".join(each for each in forwarded if each is not None)}
            sent = gr.Request(None, client={"host": peer}, headers=headers)
        return Proxies(trusted).address_of(sent)

    return of


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("192.0.2.1", None, [], "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", LOOPBACK, "192.0.2.1"),  # whatever a client writes
        ("192.0.2.1", "198.51.100.9", ["10.0.0.0/8", "127.0.0.1"], "192.0.2.1"),
        ("10.0.0.2", "198.51.100.9", ["10.0.0.0/8"], "198.51.100.9"),
        ("10.0.0.2", "1.1.1.1, 198.51.100.9", ["10.0.0.0/8"], "198.51.100.9"),  # the client wrote the first one
        ("10.0.0.2", "198.51.100.9, 10.0.0.3", ["10.0.0.0/8"], "198.51.100.9"),
        ("10.0.0.2", "198.51.100.9:4000", ["10.0.0.2"], "198.51.100.9"),
        ("10.0.0.2", f"[{V6}]:4000", ["10.0.0.2"], V6_NETWORK),
        ("10.0.0.2", f"[{V6}]", ["10.0.0.2"], V6_NETWORK),
        ("10.0.0.2", V6, ["10.0.0.2"], V6_NETWORK),
        ("10.0.0.2", "::ffff:198.51.100.9", ["10.0.0.2"], "198.51.100.9"),
        ("10.0.0.2", "198.51.100.9, ::ffff:10.0.0.3", ["10.0.0.0/8"], "198.51.100.9"),
        ("10.0.0.2", "10.0.0.3", ["10.0.0.0/8"], "10.0.0.2"),
        ("10.0.0.2", "unknown", ["10.0.0.0/8"], "10.0.0.2"),
        ("10.0.0.2", "1.1.1.1, unknown", ["10.0.0.0/8"], "10.0.0.2"),  # all before it may be the client's
        ("10.0.0.2", ", ,", ["10.0.0.0/8"], "10.0.0.2"),
        ("fd00::2", "198.51.100.9", ["fd00::/8"], "198.51.100.9"),
        ("::ffff:10.0.0.2", "198.51.100.9", ["10.0.0.2"], "198.51.100.9"),
        ("10.0.0.2", "198.51.100.9", ["::ffff:10.0.0.0/104"], "198.51.100.9"),
        ("127.0.0.1", "198.51.100.9", LOOPBACK, "198.51.100.9"),
        (V6, None, [], V6_NETWORK),
        ("::ffff:9.9.9.9", None, [], "9.9.9.9"),
        ("testclient", None, [], "testclient"),
        (None, None, [], ""),
        # uvicorn has believed a proxy on this machine, and put the client's address in place of the proxy's:
        ("198.51.100.9", "198.51.100.9", LOOPBACK, "198.51.100.9"),
        ("198.51.100.9", "1.1.1.1, 198.51.100.9", ["127.0.0.0/8"], "198.51.100.9"),
        ("10.0.0.3", "1.1.1.1, 198.51.100.9, 10.0.0.3", ["127.0.0.1", "10.0.0.0/8"], "198.51.100.9"),
        ("198.51.100.9", "198.51.100.9", [], "forwarded"),  # which is not to be believed here
        ("198.51.100.9", "198.51.100.9", ["10.0.0.0/8"], "forwarded"),
    ],
)
def test_the_address_of_a_client_is_forwarded_only_by_trusted_proxies(address, peer, forwarded, trusted, expected):
    assert address(trusted, peer, forwarded) == expected


def test_each_of_several_headers_counts():
    assert Proxies(LOOPBACK).address_of(request("127.0.0.1", "1.1.1.1", "198.51.100.9")) == "198.51.100.9"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("8.8.8.8, 10.1.2.3", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8, 10.1.2.3", "8.8.8.8"),  # the first was written by the client
        ("nonsense, 8.8.8.8", "8.8.8.8"),
        ("8.8.8.8:4000, 10.1.2.3", "8.8.8.8"),
        (V6, V6_NETWORK),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("10.1.2.3, nonsense", PROXIED),
        ("", PROXIED),
    ],
)
@pytest.mark.parametrize("trusted", [(), LOOPBACK, ["192.0.2.0/24"]])
def test_in_a_space_the_hubs_proxies_are_trusted(monkeypatch, address, trusted, forwarded, expected):
    monkeypatch.setenv("SPACE_ID", "me/lineup")
    assert address(trusted, PROXIED, forwarded) == expected


def test_proxies_that_uvicorn_is_told_to_believe_are_trusted(monkeypatch):
    monkeypatch.setenv(UVICORN, "10.0.0.2, fd00::/8")
    proxies = Proxies([])
    assert proxies.address_of(request("198.51.100.9", "1.1.1.1, 198.51.100.9")) == "198.51.100.9"  # uvicorn's doing
    assert proxies.address_of(request("10.0.0.2", "198.51.100.9")) == "198.51.100.9"
    assert proxies.address_of(request("192.0.2.1", "198.51.100.9")) == "192.0.2.1"


def test_a_variable_that_lets_clients_choose_their_address_is_logged_and_gives_them_one(monkeypatch, caplog):
    name = f"*, {uuid.uuid4()}"  # each text is logged once
    monkeypatch.setenv(UVICORN, name)
    with caplog.at_level(logging.WARNING):
        found = [Proxies(LOOPBACK).address_of(request(peer, peer)) for peer in ("198.51.100.9", "1.1.1.1")]
    assert found == ["forwarded", "forwarded"]
    assert [record.getMessage().count("trusted_proxies") for record in caplog.records] == [1, 1]


def test_request_without_a_client_has_an_address():
    assert Proxies(LOOPBACK).address_of(SimpleNamespace(client=None, headers={})) == ""
    assert Proxies(LOOPBACK).address_of(None) == ""


def test_what_is_no_address_is_cut():
    assert network_of("x" * 1000) == "x" * 100
