"""The composition of the feature."""

import gc
import weakref

import pytest

from lineup.errors import LineupError
from lineup.features.feedback import feature


def test_parts_are_the_same_for_a_service_and_do_not_keep_it(make_service, fakes, tmp_path):
    service, other = (make_service(f"backbones: ['fake:a']\nfeedback: {{to: {tmp_path}/{name}}}") for name in "ab")
    parts = feature.of(service)
    assert feature.of(service) is parts
    assert feature.of(other).collection.root == (tmp_path / "b").resolve()
    assert feature.is_on(service)
    alive = weakref.ref(service)
    del service
    gc.collect()
    assert alive() is None
    assert not parts.collection.is_class("x")


def test_classes_of_backbones_are_labels_whatever_their_length(make_service, fakes, tmp_path):
    names = ["jay", "x" * 200]
    fakes.names = names
    service = make_service(f"backbones: ['fake:a']\nfeedback: {{to: {tmp_path}/a}}")
    assert feature.of(service).collection.label("x" * 200) == "x" * 200
    with pytest.raises(LineupError):
        feature.of(service).collection.label("y" * 200)


def test_data_set_has_a_folder_in_the_cache(make_service, fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    service = make_service("backbones: ['fake:a']\nfeedback: {to: 'hf://datasets/me/x'}")
    assert feature.root(service.config) == tmp_path / "cache" / "feedback" / "me--x"


def test_without_a_target_there_are_no_parts(make_service, fakes):
    service = make_service("backbones: ['fake:a']")
    assert not feature.is_on(service)
    with pytest.raises(LineupError, match=r"feedback\.to: expected where feedback is kept"):
        feature.of(service)
