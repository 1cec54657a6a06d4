"""The measurement without a browser: the updates that it yields."""

import asyncio
import re

import pytest
from plots import drawn

from lineup.errors import BackboneError
from lineup.features.benchmark import panel
from lineup.page.connections import Connections
from lineup.page.visit import Visit

pytestmark = pytest.mark.usefixtures("fakes")
TWO = "backbones: ['fake:a', 'fake:b']"
THREE = "backbones: ['fake:a', 'fake:b', 'fake:c']"


def last_of(updates) -> dict:
    """Return the final value of every key."""
    return {key: value for update in updates for key, value in update.items()}


def measured(service, image):
    async def collect():
        return [update async for update in panel.measure(service, Connections(), Visit(), image)]

    return asyncio.run(collect())


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
    assert "fake:a" not in last_of(measured(service, image))["measured"]  # known to be unavailable


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
