"""The owner's sessions: attempts are limited, ids cannot be guessed or read, and all end."""

import hmac
import logging

import pytest

from lineup.page import owner_session
from lineup.page.owner_session import MAX_FAILURES, MAX_FAILURES_IN_ALL, SESSION_S, WINDOW_S, OwnerSession, Refusal

TOKEN = "a-secret-of-the-owner"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(clock):
    return OwnerSession(TOKEN, clock)


def failed(session, client, count):
    for _ in range(count):
        outcome = session.login("wrong", client)
        assert isinstance(outcome, Refusal)
    return outcome


def test_token_opens_a_session_that_signing_out_ends(session):
    first, second = session.login(TOKEN, "1.2.3.4"), session.login(TOKEN, "1.2.3.4")
    assert first != second
    assert len(first) >= 43  # 256 bits
    session.logout(first)
    session.logout("unknown")
    assert [session.is_signed_in(each) for each in (first, second, "", "unknown")] == [False, True, False, False]


def test_session_ends_after_its_time(session, clock):
    name = session.login(TOKEN, "1.2.3.4")
    clock.now += SESSION_S - 1
    assert session.is_signed_in(name)
    clock.now += 1
    assert not session.is_signed_in(name)


def test_oldest_session_ends_when_there_are_too_many(session):
    names = [session.login(TOKEN, "1.2.3.4") for _ in range(owner_session.MAX_SESSIONS + 1)]
    assert [session.is_signed_in(name) for name in names] == [False] + [True] * owner_session.MAX_SESSIONS


@pytest.mark.parametrize("candidate", ["", "A-SECRET-OF-THE-OWNER", TOKEN[:-1], TOKEN + "x", "\ud800", "é" * 21])
def test_anything_else_is_refused(session, candidate):
    assert isinstance(session.login(candidate, "1.2.3.4"), Refusal)


def test_comparison_is_of_hashes_and_takes_the_same_time(session, monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: compared.append(both) or False)
    session.login("x", "1.2.3.4")
    session.login("x" * 500, "1.2.3.4")
    assert [len(each) for both in compared for each in both] == [32] * 4


def test_neither_tokens_nor_session_ids_are_kept(session):
    name = session.login(TOKEN, "1.2.3.4")
    session.login("wrong-candidate", "1.2.3.4")
    held = repr(vars(session))
    assert not any(secret in held for secret in (name, TOKEN, "wrong-candidate"))


def test_an_address_has_few_attempts_and_then_waits_with_the_right_token_too(session, clock):
    assert failed(session, "1.2.3.4", MAX_FAILURES).retry_after_s == 0
    clock.now += 10
    refusal = session.login(TOKEN, "1.2.3.4")
    assert refusal.retry_after_s == WINDOW_S - 10
    assert str(WINDOW_S - 10) in refusal.text
    assert isinstance(session.login(TOKEN, "5.6.7.8"), str)
    clock.now += WINDOW_S - 10
    assert isinstance(session.login(TOKEN, "1.2.3.4"), str)


def test_attempts_while_waiting_do_not_lengthen_the_wait(session, clock):
    failed(session, "1.2.3.4", MAX_FAILURES)
    clock.now += 200
    assert failed(session, "1.2.3.4", 20).retry_after_s == WINDOW_S - 200


def test_success_forgets_the_failures_of_its_address_only(session):
    failed(session, "5.6.7.8", MAX_FAILURES)
    failed(session, "1.2.3.4", MAX_FAILURES - 1)
    session.login(TOKEN, "1.2.3.4")
    assert failed(session, "1.2.3.4", 1).retry_after_s == 0
    assert failed(session, "5.6.7.8", 1).retry_after_s


def test_many_addresses_share_a_limit_and_sessions_go_on(session):
    name = session.login(TOKEN, "1.2.3.4")
    for number in range(MAX_FAILURES_IN_ALL):
        failed(session, f"10.0.0.{number}", 1)
    assert session.login(TOKEN, "1.2.3.4").retry_after_s == WINDOW_S
    assert session.is_signed_in(name)


def test_log_has_refusals_without_the_candidate_or_the_address(session, caplog):
    with caplog.at_level(logging.DEBUG):
        session.login("wrong-candidate", "1.2.3.4")
        session.login(TOKEN, "1.2.3.4")
    assert "refused" in caplog.text
    assert not any(secret in caplog.text for secret in ("wrong-candidate", TOKEN, "1.2.3.4"))


@pytest.mark.parametrize("environment", [{}, {"LINEUP_OWNER_TOKEN": ""}, {"LINEUP_OWNER_TOKEN": " \n"}])
def test_no_token_means_no_sessions(environment, caplog):
    assert owner_session.from_environment(environment) is None
    assert caplog.text == ""


def test_short_token_is_refused_in_the_log_without_naming_it(caplog):
    assert owner_session.from_environment({"LINEUP_OWNER_TOKEN": "fifteen-letters"}) is None
    assert "LINEUP_OWNER_TOKEN: expected at least 16 characters" in caplog.text
    assert "fifteen" not in caplog.text


def test_pasted_token_may_end_in_a_line_break():
    found = owner_session.from_environment({"LINEUP_OWNER_TOKEN": f"{TOKEN}\n"})
    assert isinstance(found.login(TOKEN, "1.2.3.4"), str)
