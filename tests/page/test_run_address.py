"""The id of a long run, from the address that the browser shows."""

from types import SimpleNamespace

import pytest

from lineup.page.run_address import run_of


@pytest.mark.parametrize(
    ("referer", "query", "run"),
    [
        ("http://a/evaluate?__theme=dark&run=b", {"run": "a"}, "b"),  # it has changed since the load
        ("http://a/evaluate", {"run": "a"}, "a"),  # a browser that sends no query
        ("", {}, ""),
        ("http://a/evaluate?run=", {}, ""),
        ("run=x", {}, ""),
    ],
)
def test_run_is_that_of_the_address(referer, query, run):
    assert run_of(SimpleNamespace(headers={"referer": referer}, query_params=query)) == run
