"""The measurement without a browser: the updates that it yields."""

import asyncio
import re

import pytest
from plots import drawn
from updates import all_of, last_of

from lineup.errors import BackboneError
from lineup.features.benchmark import panel
from lineup.page.connections import Connections
from lineup.page.visit import Visit

pytestmark = pytest.mark.usefixtures("fakes")
TWO = "backbones: ['fake:a', 'fake:b']"
THREE = "backbones: ['fake:a', 'fake:b', 'fake:c']"


def measured(service, image):
    return all_of(panel.measure(service, Connections(), Visit(), image))


def runs(service) -> dict[str, int]:
    timings = {status.name: service.timing(status.name) for status in service.backbones()}
    return {name: timing.runs for name, timing in timings.items() if timing}


def test_measuring_requires_an_image(make_service, fakes):
    assert "No image yet" in last_of(measured(make_service(TWO), None))["measured"]
    assert fakes.built == []


def test_measuring_runs_each_three_times_and_updates_the_plot(make_service, image):
    service = make_service(THREE)
    updates = measured(service, image)
    assert runs(service) == {"fake:a": 3, "fake:b": 3, "fake:c": 3}
    plots = [update["plot"] for update in updates if "plot" in update]
    assert [len(drawn(plot)) for plot in plots] == [1, 2, 3]
    text = "".join(update.get("measured", "") for update in updates)
    assert list(dict.fromkeys(re.findall(r"\d of 3", text))) == ["0 of 3", "1 of 3", "2 of 3"]
    assert "fake:c is classifying the image" in text
    assert "<strong>3 measured" in updates[-1]["measured"]
    assert ("fake:c · ready", "fake:c") in updates[-1]["choices"][0]


def test_measuring_skips_measured_backbones_until_all_are(make_service, image):
    service = make_service(TWO)
    service.classify(image)
    measured(service, image)
    assert runs(service) == {"fake:a": 4, "fake:b": 3}  # including the warm-up by classify
    service.classify(image, "fake:b")
    measured(service, image)
    assert runs(service) == {"fake:a": 7, "fake:b": 7}


def test_failing_backbones_are_reported_and_others_measured(make_service, image, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    fakes.logits["b"] = [float("nan"), 0.0, 0.0]
    service = make_service(THREE)
    text = last_of(measured(service, image))["measured"]
    assert runs(service) == {"fake:c": 3}
    assert "<strong>1 measured" in text
    assert "fake:a: expected weights" in text
    assert "fake:b: expected finite numbers" in text


def test_backbones_that_cannot_run_are_named_with_their_reason(make_service, image, fakes):
    for target in "ab":
        fakes.errors[target] = BackboneError("", "weights", "none came", "add some")
    service = make_service(THREE)
    measured(service, image)  # finds them unavailable
    text = last_of(measured(service, image))["measured"]
    assert "<strong>1 measured" in text
    assert "Not measured: fake:a, fake:b. None came; add some." in text
    assert runs(service) == {"fake:c": 6}


def test_line_up_that_cannot_run_at_all_names_its_backbones(make_service, image, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    service = make_service("backbones: ['fake:a']")
    assert service.load("fake:a").exception()
    text = last_of(measured(service, image))["measured"]
    assert "<strong>0 measured" in text
    assert "Not measured: fake:a. None came; add some." in text


def test_answer_that_was_known_is_not_called_measured(make_service, image, monkeypatch):
    service = make_service(TWO)
    service.classify(image, "fake:a")
    service.classify(image, "fake:b")
    monkeypatch.setattr(service, "loads_on_demand", False)  # as on ZeroGPU, where the same image runs once
    monkeypatch.setattr(service, "classify", lambda *_: None)
    text = last_of(measured(service, image))["measured"]
    assert "<strong>0 measured" in text
    assert "Not measured: fake:a, fake:b. Its answer for this image was known" in text


def test_measuring_ends_without_a_result_once_it_is_superseded(make_service, image):
    service, calls = make_service(THREE), []

    def is_current():
        calls.append(1)
        return len(calls) < 3

    async def collect():
        return [update async for update in panel.measure(service, Connections(), Visit(), image, is_current)]

    assert "<strong>3 measured" not in str(asyncio.run(collect()))
    assert set(runs(service)) <= {"fake:a"}


def test_late_click_does_not_supersede_a_newer_one():
    measurement = panel.Measurement()
    assert [measurement.begin(order) for order in (4, 2, 5, None)] == [1, 0, 2, 3]


def test_measuring_stops_when_the_stream_is_closed(make_service, image):
    service = make_service(THREE)

    async def stop():
        updates = panel.measure(service, Connections(), Visit(), image)
        async for update in updates:
            if "plot" in update:
                break
        await updates.aclose()
        await asyncio.sleep(0.3)

    asyncio.run(stop())
    assert runs(service) == {"fake:a": 3}


def test_measurement_that_is_stopped_shows_no_further_progress(make_service, image):
    service = make_service(TWO)
    service.load("fake:a").result(10)

    async def collect():
        updates = panel.measure(service, Connections(), Visit(), image, is_current=lambda: False)
        return [update async for update in updates]

    assert asyncio.run(collect()) == []
    assert runs(service) == {}
