"""Measuring the line-up, without a browser: the stream of updates."""

import asyncio
import re

import pytest
from plots import drawn

from lineup.errors import BackboneError
from lineup.features.benchmark import panel
from lineup.page.visit import Visit

pytestmark = pytest.mark.usefixtures("fakes")
TWO = "backbones: ['fake:a', 'fake:b']"
THREE = "backbones: ['fake:a', 'fake:b', 'fake:c']"


def last_of(updates) -> dict:
    """Return what each component shows in the end."""
    return {key: value for update in updates for key, value in update.items()}


def measured(service, image):
    async def collect():
        return [update async for update in panel.measure(service, Visit(), image)]

    return asyncio.run(collect())


def runs(service) -> dict[str, int]:
    found = {status.name: service.timing(status.name) for status in service.backbones()}
    return {name: timing.runs for name, timing in found.items() if timing}


def test_to_measure_takes_a_image(make_service, fakes):
    assert "There is no image yet" in last_of(measured(make_service(TWO), None))["measured"]
    assert fakes.built == []


def test_measuring_runs_each_three_times_and_draws_as_it_goes(make_service, image):
    service = make_service(THREE)
    updates = measured(service, image)
    assert runs(service) == {"fake:a": 3, "fake:b": 3, "fake:c": 3}
    plots = [update["plot"] for update in updates if "plot" in update]
    assert [len(drawn(plot)) for plot in plots] == [1, 2, 3]
    told = "".join(update.get("measured", "") for update in updates)
    assert list(dict.fromkeys(re.findall(r"\d of 3", told))) == ["0 of 3", "1 of 3", "2 of 3"]
    assert "fake:c is looking at your image" in told
    assert "<strong>3 measured" in updates[-1]["measured"]
    assert ("fake:c · ready", "fake:c") in updates[-1]["choices"][0]


def test_measuring_leaves_out_what_has_run_until_all_has(make_service, image):
    service = make_service(TWO)
    service.classify(image)
    measured(service, image)
    assert runs(service) == {"fake:a": 4, "fake:b": 3}  # one run is a cold one
    service.classify(image, "fake:b")
    measured(service, image)
    assert runs(service) == {"fake:a": 7, "fake:b": 7}


def test_what_cannot_be_measured_is_named_and_the_others_are_measured(make_service, image, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    fakes.logits["b"] = [float("nan"), 0.0, 0.0]
    service = make_service(THREE)
    told = last_of(measured(service, image))["measured"]
    assert runs(service) == {"fake:c": 3}
    assert "<strong>1 measured" in told
    assert "fake:a: expected weights" in told
    assert "fake:b: expected finite numbers" in told
    assert "fake:a" not in last_of(measured(service, image))["measured"]  # it is known that it cannot run


def test_measuring_stops_when_nobody_listens(make_service, image):
    service = make_service(THREE)

    async def stop():
        updates = panel.measure(service, Visit(), image)
        async for update in updates:
            if "plot" in update:
                break
        await updates.aclose()
        await asyncio.sleep(0.3)

    asyncio.run(stop())
    assert runs(service) == {"fake:a": 3}
