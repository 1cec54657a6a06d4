"""What the page does, without a browser: the streams of updates that its events give."""

import asyncio

import pytest

from lineup.errors import BackboneError, UnreachableError
from lineup.page import events

pytestmark = pytest.mark.usefixtures("fakes")
TWO = "backbones: ['fake:a', 'fake:b']"


def all_of(stream) -> list[dict]:
    async def collect():
        return [update async for update in stream]

    return asyncio.run(collect())


def answered(service, picture, name="fake:a", visit=None, top_k=2):
    return all_of(events.answer(service, visit or events.Visit(), picture, name, top_k, 3))


def test_a_picture_is_answered_and_the_answer_kept_for_another_top_k(make_service, picture):
    visit = events.Visit()
    last = answered(make_service(TWO), picture, visit=visit)[-1]
    assert (last["status"], last["result"].count("<li")) == ("", 2)
    assert "cat" in last["result"]
    assert len(visit.answer.predictions) == 3
    assert ("fake:a · ready", "fake:a") in last["choices"]


def test_without_a_picture_the_backbone_is_made_ready_and_the_visitor_invited(make_service):
    last = answered(make_service(TWO), None)[-1]
    assert "fake:a is ready" in last["status"]
    assert last["result"] == ""


def test_a_backbone_that_cannot_be_had_says_why_and_clears_the_old_answer(make_service, picture, fakes):
    fakes.errors["a"] = BackboneError("fake:a: expected weights; none came; add some")
    visit = events.Visit()
    last = answered(make_service(TWO), picture, visit=visit)[-1]
    assert "fake:a cannot run now" in last["status"]
    assert "None came; add some." in last["status"]
    assert (last["result"], last["retry"], visit.answer) == ("", False, None)


def test_what_may_work_later_offers_to_try_again(make_service, picture, fakes):
    fakes.errors["a"] = UnreachableError("fake:a: expected weights; nobody answers; try again later")
    assert answered(make_service(TWO), picture)[-1]["retry"] is True


def test_a_bug_is_one_plain_sentence(make_service, picture, monkeypatch, caplog):
    service = make_service(TWO)
    monkeypatch.setattr(service, "classify", lambda *_: 1 / 0)
    last = answered(service, picture)[-1]
    assert "Something went wrong" in last["status"]
    assert "division" not in last["status"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("name", [None, ["fake:a"], 3, "fake:c"])
def test_a_name_that_is_none_of_the_line_up_is_refused(make_service, picture, name):
    assert "This cannot be answered" in answered(make_service(TWO), picture, name)[-1]["status"]


def test_who_changes_his_mind_gets_the_new_answer_and_never_the_old_one(make_service, picture, fakes):
    service, visit = make_service(TWO), events.Visit()
    go = fakes.hold("build a")

    async def change_of_mind():
        old, new = [], []

        async def collect(name, into):
            async for update in events.answer(service, visit, picture, name, 1, 3):
                into.append(update)

        first = asyncio.create_task(collect("fake:a", old))
        await asyncio.sleep(0.3)
        second = asyncio.create_task(collect("fake:b", new))
        await asyncio.sleep(0.3)
        go.set()
        await asyncio.gather(first, second)
        return old, new

    old, new = asyncio.run(change_of_mind())
    assert not any("<li" in update.get("result", "") for update in old)
    assert "fake:b" in new[-1]["result"]
    assert visit.answer.backbone == "fake:b"


def test_the_open_page_tells_how_the_start_gets_on(make_service, fakes):
    service = make_service(TWO)
    go = fakes.hold("build a")
    service.start()

    async def watch():
        seen = []
        async for update in events.open_page(service, events.Visit()):
            seen.append(update)
            go.set()
        return seen

    seen = asyncio.run(watch())
    told = {key: value for update in seen for key, value in update.items()}
    assert "is getting ready" in seen[0]["status"]
    assert "fake:a is ready" in told["status"]
    assert told["selected"] == "fake:a"
    assert "notice" not in told


def test_the_open_page_selects_a_stand_in_and_names_both(make_service, fakes):
    fakes.errors["a"] = BackboneError("fake:a: expected weights; none came; add some")
    service = make_service(TWO)
    service.start()
    told = {key: value for update in all_of(events.open_page(service, events.Visit())) for key, value in update.items()}
    assert told["selected"] == "fake:b"
    assert "fake:a cannot run now, so fake:b is selected" in told["notice"]
    assert "fake:b is ready" in told["status"]


def test_a_visitor_who_has_chosen_keeps_the_choice(make_service, fakes):
    fakes.errors["a"] = BackboneError("fake:a: expected weights; none came; add some")
    service = make_service(TWO)
    service.start()
    updates = all_of(events.open_page(service, events.Visit(turn=2)))
    assert all("selected" not in update for update in updates)


def test_a_load_that_ends_after_the_mind_was_changed_shows_nothing_more(make_service, picture, fakes):
    service, visit = make_service(TWO), events.Visit()
    go = fakes.hold("build a")

    async def change_of_mind():
        seen = []

        async def collect():
            async for update in events.answer(service, visit, picture, "fake:a", 1, 3):
                seen.append(update)

        first = asyncio.create_task(collect())
        await asyncio.sleep(0.5)
        visit.turn += 1  # something newer was asked, and has its answer already
        before = len(seen)
        go.set()
        await first
        return seen[before:]

    assert asyncio.run(change_of_mind()) == []


def test_a_page_that_keeps_more_labels_than_there_are_does_not_blame_the_visitor(make_service, picture):
    last = all_of(events.answer(make_service(TWO), events.Visit(), picture, "fake:a", 3, 20))[-1]
    assert "is more than there are classes" not in last["result"]
