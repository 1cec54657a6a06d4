"""What feedback does beside the page: through the functions that the features' door names."""

import threading
from pkgutil import resolve_name

import pytest
from PIL import Image
from waiting import until

from lineup.features import FEATURES
from lineup.features.feedback import background, feature
from lineup.hub import scheduled_push

HUB = "feedback: {to: 'hf://datasets/me/birds'}\nbackbones: ['fake:a']"


@pytest.fixture
def spaces(hub, fresh_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 0.01)
    return hub.spaces


def test_door_names_both_functions():
    parts = FEATURES["feedback"]
    assert [resolve_name(parts.background), resolve_name(parts.warnings)] == [background.running, background.warnings]


def add(service, shade):
    collection = feature.of(service).collection
    return collection.add(Image.new("RGB", (8, 8), (shade, 0, 0)), "wren", [], "127.0.0.1").image


def threads():
    return [each.name for each in threading.enumerate() if each.name.startswith(("push ", "feedback"))]


def test_answers_are_pushed_when_the_server_stops(make_service, fakes, spaces):
    service = make_service(HUB)
    with background.running(service):
        first = add(service, 1)
        until(lambda: not feature.of(service).hub_copy.n_unsent)
        last = add(service, 2)
        assert background.warnings(service) == []
    files = spaces.files("datasets/me/birds")
    assert {f"unreviewed/wren/{name}.jpg" for name in (first, last)} <= files.keys()
    until(lambda: not threads())


def test_warning_lasts_as_long_as_the_hub_refuses(make_service, fakes, spaces):
    service = make_service(HUB)
    spaces.faults["create"] = "403"
    with background.running(service):
        add(service, 1)
        until(lambda: background.warnings(service))
        [warning] = background.warnings(service)
        assert "feedback is kept on this machine only" in warning
        assert "the token has no permission for this (403)" in warning
        spaces.faults.clear()
        until(lambda: not background.warnings(service))
    until(lambda: not threads())


def test_images_of_an_earlier_start_are_pulled_and_left_ones_pushed(make_service, fakes, spaces, tmp_path, monkeypatch):
    service = make_service(HUB)
    pushed, left = add(service, 1), ""
    assert feature.of(service).hub_copy.flush(10)
    feature.of(service).hub_copy.stop(10)
    left = add(service, 2)  # pushed by the next start
    again = make_service(HUB)
    with background.running(again):
        until(lambda: not feature.of(again).hub_copy.n_unsent)
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "empty"))  # as that of a Space after each restart
    third = make_service(HUB)
    with background.running(third):
        until(lambda: {image.id for image in feature.of(third).review.pending()} == {pushed, left})
    until(lambda: not threads())


def test_old_images_are_deleted_every_hour(make_service, fakes, spaces, monkeypatch):
    monkeypatch.setattr(background, "EVERY_S", 0.01)
    service = make_service("feedback: {to: feedback}\nbackbones: ['fake:a']")
    review, calls = feature.of(service).review, []
    failures = [OSError("a bug"), RuntimeError("another one")]

    def delete_old():
        calls.append(1)
        if failures:
            raise failures.pop()
        return 1

    monkeypatch.setattr(review, "delete_old", delete_old)
    with background.running(service):
        until(lambda: len(calls) > 4)
    until(lambda: not threads())


def test_nothing_runs_without_a_place_for_feedback(make_service, fakes, spaces):
    service = make_service("backbones: ['fake:a']")
    with background.running(service):
        assert threads() == []
        assert background.warnings(service) == []
