"""The page's event handlers without a browser: the updates that they yield."""

import asyncio
import re
import shutil
from itertools import groupby
from pathlib import Path

import pytest
from drawing import draw
from gradio.utils import get_upload_folder
from plots import drawn
from updates import all_of, last_of

from lineup.errors import BackboneError, ClientDisconnected, UnreachableError
from lineup.features.benchmark.panel import chart
from lineup.features.snippets.panel import code
from lineup.page import html
from lineup.page.connections import Connections
from lineup.page.events import Handlers
from lineup.page.handover import Handover, new_owner
from lineup.page.visit import Visit, address
from lineup.page.wiring import ending

pytestmark = pytest.mark.usefixtures("fakes")
TWO = "backbones: ['fake:a', 'fake:b']"
THREE = "backbones: ['fake:a', 'fake:b', 'fake:c']"


def handlers(service) -> Handlers:
    return Handlers(service, Connections(), Handover())


def answered(service, image, name="fake:a", others=(), visit=None, top_k=2):
    """Return the updates of an answer, with the panels' values at each refresh."""
    visit, updates = visit or Visit(), []

    async def collect():
        async for update in handlers(service).answer(visit, image, name, list(others), top_k):
            updates.append(with_panels(service, visit, image, update))

    asyncio.run(collect())
    return updates


def with_panels(service, visit, path, update):
    if "refresh" not in update:
        return update
    shown = {**update, "link": address(visit, path)}
    if update["refresh"] == "final":
        python, client, curl = code(service, visit)
        shown |= {"python": python, "client": client, "curl": curl, "plot": chart(service, visit)}
    return shown


def shown_more(service, visit, path, top_k, name="fake:a", others=()):
    """Return the final values after the slider was moved."""
    updates = all_of(handlers(service).show_more(visit, path, name, list(others), top_k))
    return last_of(with_panels(service, visit, path, update) for update in updates)


def cards(update) -> dict[str, bool]:
    """Map the names on the cards, in order, to whether they have an answer."""
    found = re.findall("(?s)<h3>(.*?)</h3>(.*?)</article>", update["result"].replace("<wbr>", ""))
    return {name: "<li" in body for name, body in found}


def test_answer_is_shown_and_cached_with_more_labels(make_service, image):
    visit = Visit()
    last = answered(make_service(TWO), image, visit=visit)[-1]
    assert (last["status"], last["result"].count("<li")) == ("", 2)
    assert "cat" in last["result"]
    assert len(visit.answers["fake:a"].predictions) == 3
    assert ("fake:a · ready", "fake:a") in last["choices"][0]


def test_without_an_image_the_backbone_is_loaded(make_service):
    last = answered(make_service(TWO), None)[-1]
    assert "fake:a is ready" in last["status"]
    assert last["result"] == ""


def test_unavailable_backbone_shows_error_and_clears_result(make_service, image, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    visit = Visit()
    last = answered(make_service(TWO), image, visit=visit)[-1]
    assert "fake:a cannot run now" in last["status"]
    assert "None came; add some." in last["status"]
    assert (last["result"], last["retry"], last["python"]) == ("", False, "")


def test_semicolon_in_a_name_does_not_truncate_the_error(make_service, image, fakes):
    fakes.errors["a"] = BackboneError(
        "", "the file a; b.bin", "a; b.bin is not there", "check the path: it is relative"
    )
    last = answered(make_service("backbones: [{name: 'a; b: c', backbone: 'fake:a'}]"), image, name="a; b: c")[-1]
    assert "<p>A; b.bin is not there; check the path: it is relative.</p>" in last["status"]
    assert "a; b: c: expected the file a; b.bin</p>" in last["status"]
    assert dict(map(reversed, last["choices"][0]))["a; b: c"].endswith("✕ unavailable: a; b.bin is not there")


def test_retryable_error_shows_the_retry_button(make_service, image, fakes):
    fakes.errors["a"] = UnreachableError("fake:a", "weights", "no response", "try again later")
    assert answered(make_service(TWO), image)[-1]["retry"] is True


def test_unexpected_exception_shows_a_generic_message(make_service, image, monkeypatch, caplog):
    service = make_service(TWO)
    monkeypatch.setattr(service, "answers", lambda *_, **__: 1 / 0)
    last = answered(service, image)[-1]
    assert "Something went wrong" in last["status"]
    assert "division" not in last["status"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("name", [None, ["fake:a"], 3, "fake:c"])
def test_unknown_backbone_is_rejected(make_service, image, name):
    assert "Classification failed" in answered(make_service(TWO), image, name)[-1]["status"]


def test_newer_request_supersedes_the_older_one(make_service, image, fakes):
    service, visit = make_service(TWO), Visit()
    go = fakes.hold("build a")

    async def newer_request():
        old, new = [], []

        async def collect(name, into):
            async for update in handlers(service).answer(visit, image, name, [], 1):
                into.append(update)

        first = asyncio.create_task(collect("fake:a", old))
        await asyncio.sleep(0.3)
        second = asyncio.create_task(collect("fake:b", new))
        await asyncio.sleep(0.3)
        go.set()
        await asyncio.gather(first, second)
        return old, new

    old, new = asyncio.run(newer_request())
    assert not any("<li" in update.get("result", "") for update in old)
    assert "fake:b" in new[-1]["result"]
    assert list(visit.answers) == ["fake:b"]


def test_open_page_shows_the_progress_of_the_start(make_service, fakes):
    service = make_service(TWO)
    go = fakes.hold("build a")
    service.start()

    async def watch():
        seen = []
        async for update in handlers(service).open_page(Visit(), {}, ""):
            seen.append(update)
            go.set()
        return seen

    seen = asyncio.run(watch())
    final = last_of(seen)
    assert "Loading " in seen[1]["status"]
    assert "fake:a is ready" in final["status"]
    assert final["selected"] == "fake:a"
    assert final["notice"] == ""


def test_open_page_falls_back_from_an_unavailable_default(make_service, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    service = make_service(TWO)
    service.start()
    final = last_of(all_of(handlers(service).open_page(Visit(), {}, "")))
    assert final["selected"] == "fake:b"
    assert "fake:a cannot run now, so fake:b is selected" in final["notice"]
    assert "fake:b is ready" in final["status"]


def test_open_page_keeps_a_backbone_chosen_meanwhile(make_service, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    service = make_service(THREE)
    service.start()
    updates = all_of(handlers(service).open_page(Visit(generation=1, names=["fake:c"]), {}, ""))
    assert all("selected" not in update for update in updates)


def test_superseded_request_yields_nothing_after_its_load(make_service, image, fakes):
    service, visit = make_service(TWO), Visit()
    go = fakes.hold("build a")

    async def newer_request():
        seen = []

        async def collect():
            async for update in handlers(service).answer(visit, image, "fake:a", [], 1):
                seen.append(update)

        first = asyncio.create_task(collect())
        await asyncio.sleep(0.5)
        visit.generation += 1  # a newer request that is already answered
        before = len(seen)
        go.set()
        await first
        return seen[before:]

    assert asyncio.run(newer_request()) == []


def test_caching_more_labels_than_classes_adds_no_note(make_service, image):
    last = all_of(handlers(make_service(TWO)).answer(Visit(), image, "fake:a", [], 3))[-1]
    assert "is more than there are classes" not in last["result"]


# --- several backbones ---


def test_cards_fill_in_as_answers_arrive_and_the_verdict_is_last(make_service, image, fakes):
    service, release = make_service(THREE), {1: fakes.hold("build c"), 2: fakes.hold("build a")}

    async def watch():
        seen = []
        async for update in handlers(service).answer(Visit(), image, "fake:c", ["fake:a", "fake:b"], 1):
            if "result" in update:
                seen.append(update)
                answered = sum(cards(update).values())
                release.pop(answered, fakes.hold("nothing")).set()
        return seen

    seen = asyncio.run(watch())
    steps = [[name for name, there in cards(update).items() if there] for update in seen]
    assert [step for step, _ in groupby(steps) if step] == [
        ["fake:b"],
        ["fake:c", "fake:b"],
        ["fake:c", "fake:a", "fake:b"],
    ]
    assert all(list(cards(update)) == ["fake:c", "fake:a", "fake:b"] for update in seen)
    assert [("lu-verdict" in update["result"]) for update in seen] == [len(step) == 3 for step in steps]
    assert "All 3 say cat" in seen[-1]["result"]

    statuses = [update["status"] for update, step in zip(seen, steps, strict=True) if step == ["fake:b"]]
    assert "2 backbones pending" in statuses[-1]
    assert "fake:c: building the network …, fake:a: building the network …" in statuses[-1]
    statuses = [update["status"] for update, step in zip(seen, steps, strict=True) if step == ["fake:c", "fake:b"]]
    assert "Loading fake:a" in statuses[-1]
    assert seen[-1]["status"] == ""


def test_failed_backbone_shows_its_error_on_its_card(make_service, image, fakes):
    fakes.errors["b"] = BackboneError("fake:b", "weights", "none came", "add some")
    last = answered(make_service(THREE), image, "fake:a", ["fake:b", "fake:c"])[-1]
    assert cards(last) == {"fake:a": True, "fake:b": False, "fake:c": True}
    assert "None came; add some." in last["result"]
    assert "fake:b did not answer." in last["result"]
    assert (last["status"], last["retry"]) == ("", False)
    assert figure_names(last) == ["fake:a", "fake:b", "fake:c"]


def test_retryable_error_in_a_comparison_shows_the_retry_button(make_service, image, fakes):
    fakes.errors["b"] = UnreachableError("fake:b", "weights", "no response", "try again later")
    last = answered(make_service(TWO), image, "fake:a", ["fake:b"])[-1]
    assert cards(last) == {"fake:a": True, "fake:b": False}
    assert last["retry"] is True


def test_unreadable_image_is_one_error_without_cards(make_service, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    last = answered(make_service(TWO), tmp_path / "text.jpg", "fake:a", ["fake:b"])[-1]
    assert "not one that can be read" in last["status"]
    assert (last["result"], last["table"], last["python"]) == ("", "", "")


def test_concurrent_sessions_do_not_mix_their_cards(make_service, image, fakes):
    service = make_service("backbones: ['fake:a', 'fake:b', 'fake:c', 'fake:d']")

    async def session(names, held):
        seen = []
        async for update in handlers(service).answer(Visit(), image, names[0], names[1:], 1):
            if "result" in update:
                seen.append(list(cards(update)))
                if sum(cards(update).values()) == 1:  # one of two backbones has answered
                    held.set()
        return seen

    async def both():
        one, other = fakes.hold("build b"), fakes.hold("build d")
        return await asyncio.gather(session(["fake:a", "fake:b"], one), session(["fake:d", "fake:c"], other))

    one, other = asyncio.run(both())
    assert min(len(one), len(other)) >= 2
    assert all(names == ["fake:a", "fake:b"] for names in one)
    assert all(names == ["fake:d", "fake:c"] for names in other)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        (["fake:a"], ["fake:a"]),
        (["fake:c", "fake:a", "fake:b"], ["fake:a", "fake:c", "fake:b"]),
        (None, ["fake:a"]),
        ("fake:b", ["fake:a"]),
    ],
)
def test_selected_backbone_is_not_compared_with_itself(make_service, image, others, chosen):
    visit = Visit()
    last = all_of(handlers(make_service(THREE)).answer(visit, image, "fake:a", others, 1))[-1]
    assert visit.names == chosen
    assert list(cards(last)) == (chosen if len(chosen) > 1 else [])
    assert last["result"].count("lu-line") == len(chosen)


def chosen_by_compare_all(service, visit, path=None, name="fake:a"):
    return last_of(all_of(handlers(service).compare_all(visit, path, name)))


def test_compare_all_selects_available_backbones_and_first_example(make_service, fakes, tmp_path):
    draw(tmp_path / "first.png")
    draw(tmp_path / "second.png")
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    service, visit = make_service(f"{THREE}\nexamples: ."), Visit()
    assert service.load("fake:b").exception()
    service.probed.set()
    update = chosen_by_compare_all(service, visit)
    first = str(tmp_path / "first.png")
    assert update == {"selected": "fake:a", "others": ["fake:c"], "image": first}
    assert visit.example == ("first", first)
    last = answered(service, first, "fake:a", ["fake:c"], visit)[-1]
    assert "Left out: fake:b (unavailable)." in last["result"]
    assert last["link"].endswith("&example=first")
    last = answered(service, first, "fake:a", [], visit)[-1]
    assert "Left out" not in last["result"]
    last = answered(service, first, "fake:c", ["fake:b"], visit)[-1]
    assert "Left out" not in last["result"]  # selected by hand


def test_compare_all_keeps_the_current_image_and_backbone(make_service, image):
    service = make_service(THREE)
    service.probed.set()
    update = chosen_by_compare_all(service, Visit(), image, "fake:c")
    assert update == {"selected": "fake:c", "others": ["fake:a", "fake:b"]}


def test_compare_all_names_backbones_beyond_max_compared(make_service, image):
    service, visit = make_service(f"limits: {{max_compared: 2}}\n{THREE}"), Visit()
    service.probed.set()
    assert chosen_by_compare_all(service, visit, image) == {"selected": "fake:a", "others": ["fake:b"]}
    last = answered(service, image, "fake:a", ["fake:b"], visit)[-1]
    assert "Left out: fake:c (at most 2 are compared at once)." in last["result"]


def test_exclusions_are_reset_by_the_next_selection(make_service, image):
    service, visit = make_service(f"limits: {{max_compared: 2}}\n{THREE}"), Visit()
    service.probed.set()
    chosen_by_compare_all(service, visit, image)
    assert "Left out" in answered(service, image, "fake:a", ["fake:b"], visit)[-1]["result"]
    answered(service, image, "fake:a", [], visit)
    assert "Left out" not in answered(service, image, "fake:a", ["fake:b"], visit)[-1]["result"]


def test_exclusions_outlive_a_request_that_was_on_its_way(make_service, image):
    """As that for the fallback's backbone, which the page selects at the start."""
    service, visit = make_service(f"limits: {{max_compared: 2}}\n{THREE}"), Visit()
    service.probed.set()
    chosen_by_compare_all(service, visit, image)
    assert "Left out" not in answered(service, image, "fake:a", ["fake:c"], visit)[-1]["result"]
    answered(service, None, "fake:b", [], visit)
    assert "Left out" in answered(service, image, "fake:a", ["fake:b"], visit)[-1]["result"]


def test_compare_all_waits_for_the_probe(make_service, image, fakes, tmp_path):
    draw(tmp_path / "first.png")
    fakes.errors["a"] = BackboneError("", "", "it is broken")
    service, visit, held = make_service(f"{THREE}\nexamples: ."), Visit(), fakes.hold("build a")

    async def click(meanwhile):
        updates = [update async for update in following(meanwhile)]
        return updates[0], last_of(updates[1:])

    async def following(meanwhile):
        async for update in handlers(service).compare_all(visit, None, "fake:a"):
            yield update
            if not held.is_set():
                meanwhile()
                held.set()

    service.start()
    first, last = asyncio.run(click(lambda: None))
    assert "Checking which backbones are available" in first["status"]
    assert last == {"selected": "fake:b", "others": ["fake:c"], "image": str(tmp_path / "first.png")}


def compared_while_waiting(service, visit, held, **request):
    """Return what *Compare all* chooses when a newer request comes while it waits for the probe."""

    async def click():
        updates = []
        async for update in handlers(service).compare_all(visit, None, "fake:a"):
            updates.append(update)
            if not held.is_set():
                visit.generation += 1  # as `answer` does
                vars(visit).update(request)
                held.set()
        return updates[-1]

    return asyncio.run(click())


def test_compare_all_keeps_a_backbone_chosen_while_waiting(make_service, image, fakes, tmp_path):
    draw(tmp_path / "first.png")
    service, visit, held = make_service(f"{THREE}\nexamples: ."), Visit(), fakes.hold("build a")
    service.start()
    first, last = str(tmp_path / "first.png"), compared_while_waiting(service, visit, held, names=["fake:c"])
    assert last == {"selected": "fake:c", "others": ["fake:a", "fake:b"], "image": first}


@pytest.mark.parametrize("chosen", [False, True])
def test_compare_all_keeps_an_image_chosen_while_waiting(make_service, image, fakes, tmp_path, chosen):
    """The fallback's backbone, which the page chooses at the start, is a newer request without an image."""
    draw(tmp_path / "first.png")
    service, visit, held = make_service(f"{THREE}\nexamples: ."), Visit(), fakes.hold("build a")
    service.start()
    last = compared_while_waiting(service, visit, held, path=image if chosen else None)
    assert ("image" in last) is not chosen


def test_compare_all_ignores_an_unavailable_example(make_service, hub):
    service = make_service(f"{TWO}\nexamples: ['https://127.0.0.1:1/a.png']")
    service.probed.set()
    assert chosen_by_compare_all(service, Visit()) == {"selected": "fake:a", "others": ["fake:b"]}


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["fake:b", "fake:c"], "Got 3; leave some out."),
        (["fake:d"], "expected a name of the line-up"),
        ([["fake:b"]], "expected one name of the line-up"),
    ],
)
def test_invalid_comparison_is_rejected(make_service, image, fakes, others, message):
    service = make_service(f"limits: {{max_compared: 2}}\n{THREE}")
    last = answered(service, image, "fake:a", others)[-1]
    assert "Classification failed" in last["status"]
    assert message in last["status"]
    assert (last["result"], fakes.built) == ("", [])


def test_top_k_change_uses_cached_answers(make_service, image):
    service, visit = make_service(TWO), Visit()
    answered(service, image, "fake:a", ["fake:b"], visit, top_k=1)
    more = shown_more(service, visit, image, 3, others=["fake:b"])
    assert more["result"].count("lu-line") == 6
    assert "lu-verdict" in more["result"]
    assert more["link"].endswith("&top_k=3")
    assert "top_k=3" in more["client"]
    assert shown_more(service, visit, image, 1, others=["fake:b"])["result"].count("lu-line") == 2
    assert service.timing("fake:a").runs == service.timing("fake:b").runs == 1


@pytest.mark.parametrize("top_k", [None, 0, 21, "3", float("nan"), [3]])
def test_invalid_top_k_is_replaced_by_that_of_the_config(make_service, image, top_k):
    service, visit = make_service(f"top_k: 2\n{TWO}"), Visit()
    assert answered(service, image, visit=visit, top_k=top_k)[-1]["result"].count("<li") == 2
    assert shown_more(service, visit, image, 1)["result"].count("<li") == 1
    assert shown_more(service, visit, image, top_k)["result"].count("<li") == 2


def test_top_k_change_without_answers_shows_no_result(make_service, image, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    service, visit = make_service(TWO), Visit()
    assert shown_more(service, visit, None, 3)["result"] == ""
    answered(service, image, visit=visit)
    assert list(shown_more(service, visit, image, 3)) == ["refresh", "link"]


def test_top_k_change_applies_to_pending_answers(make_service, image, fakes):
    service, visit, held = make_service(TWO), Visit(), fakes.hold("build a")

    async def change():
        async for raw in handlers(service).answer(visit, image, "fake:a", ["fake:b"], 1):
            update = with_panels(service, visit, image, raw)
            if "result" in update and not held.is_set():
                more = handlers(service).show_more(visit, image, "fake:a", ["fake:b"], 3)
                assert [list(update) async for update in more] == [["refresh"]]
                held.set()
        return update

    last = asyncio.run(change())
    assert last["result"].count("lu-line") == 6
    assert last["link"].endswith("&top_k=3")
    assert "top_k=3" in last["client"]


def test_waiting_for_a_download_does_not_block_other_sessions(make_service, image, fakes):
    service, visit, held = make_service(TWO), Visit(), fakes.hold("build a")

    async def ask(name, visit):
        updates = [update async for update in handlers(service).answer(visit, image, name, [], 1)]
        return updates[-1] if updates else {}

    async def many():
        waiting = [asyncio.create_task(ask("fake:a", visit)) for _ in range(40)]
        await asyncio.wait(waiting, timeout=0.3)  # all but the last are superseded
        try:
            return await asyncio.wait_for(ask("fake:b", Visit()), 5)
        finally:
            held.set()
            await asyncio.gather(*waiting)

    assert "fake:b" in asyncio.run(many())["result"]


# --- events that come late, and a session whose state is gone ---


def test_late_event_yields_nothing(make_service, image, fakes):
    service, visit = make_service(TWO), Visit()
    handle = handlers(service)
    assert "fake:b" in last_of(all_of(handle.answer(visit, image, "fake:b", [], 1, order=7)))["result"]
    assert all_of(handle.answer(visit, image, "fake:a", [], 3, order=6)) == []
    assert all_of(handle.show_more(visit, image, "fake:b", [], 3, order=5)) == []
    assert (visit.names, visit.top_k, fakes.built) == (["fake:b"], 1, ["b"])


def test_newer_request_yields_only_once_the_older_one_has_ended(make_service, image, fakes):
    service, visit, held = make_service(TWO), Visit(), fakes.hold("build a")
    service.classify(image, "fake:b")

    async def overlapping():
        older = handlers(service).answer(visit, image, "fake:a", [], 1)
        await anext(older)  # as while Gradio sends this update
        newer = asyncio.create_task(anext(handlers(service).answer(visit, image, "fake:b", [], 1)))
        done, _ = await asyncio.wait({newer}, timeout=0.1)
        assert not done
        assert [update async for update in older] == []
        held.set()
        return await newer

    assert asyncio.run(overlapping())["refresh"] == "partial"


def test_top_k_change_yields_only_once_the_answer_has_been_sent(make_service, image):
    service, visit = make_service(TWO), Visit()
    service.classify(image, "fake:a")

    async def overlapping():
        older = handlers(service).answer(visit, image, "fake:a", [], 1)
        while "choices" not in await anext(older):  # until the last update is being sent
            pass
        newer = asyncio.create_task(anext(handlers(service).show_more(visit, image, "fake:a", [], 3)))
        done, _ = await asyncio.wait({newer}, timeout=0.1)
        assert not done
        repeated = [update["result"] async for update in older]
        assert repeated == [(await newer)["result"]]
        return repeated[0]

    assert asyncio.run(overlapping()).count("lu-line") == 3


def test_slowly_sent_answer_ends_with_the_number_of_labels_chosen_meanwhile(make_service, image, monkeypatch):
    monkeypatch.setattr("lineup.page.events.OLDER_TIMEOUT_S", 0)
    service, visit = make_service(TWO), Visit()

    async def overlapping():
        older = handlers(service).answer(visit, image, "fake:a", [], 5)
        while "choices" not in await anext(older):  # until the last update is being sent
            pass
        assert [update async for update in handlers(service).show_more(visit, image, "fake:a", [], 3)]
        return [update["result"].count("lu-line") async for update in older]

    assert asyncio.run(overlapping()) == [3]


@pytest.mark.parametrize(("newest", "is_repeated"), [(4, True), (5, False)])
def test_last_value_is_repeated_until_a_newer_event_comes(newest, is_repeated):
    visit = Visit(order=4)

    async def updates():
        yield {"link": "a"}
        yield {"link": "b"}
        visit.order = newest

    async def collect():
        return [update async for update in ending(updates(), visit, "status", ["link"])]

    assert ("link" in asyncio.run(collect())[-1]) == is_repeated


def test_value_from_before_a_newer_event_is_not_repeated():
    """The opening of the page goes on after the first answer: its link must not replace that of the answer."""
    visit = Visit(order=4)

    async def updates():
        yield {"link": "a"}
        visit.order = 5
        yield {"choices": "b"}

    async def collect():
        return [update async for update in ending(updates(), visit, "status", ["link"])]

    assert "link" not in asyncio.run(collect())[-1]


def test_same_request_again_needs_no_second_run(make_service, image):
    service, visit = make_service(TWO), Visit()
    for _ in range(2):
        last = answered(service, image, "fake:a", ["fake:b"], visit)[-1]
    assert list(cards(last)) == ["fake:a", "fake:b"]
    assert service.timing("fake:a").runs == service.timing("fake:b").runs == 1


def test_same_request_again_repeats_what_failed(make_service, image, fakes):
    service, visit = make_service(TWO), Visit()
    fakes.logits["b"] = [float("nan"), 0.0, 0.0]
    answered(service, image, "fake:a", ["fake:b"], visit)
    fakes.logits.clear()
    assert cards(answered(service, image, "fake:a", ["fake:b"], visit)[-1]) == {"fake:a": True, "fake:b": True}
    assert service.timing("fake:a").runs == 1


def test_slider_asks_again_once_the_state_is_gone(make_service, image):
    service = make_service(THREE)
    shown = shown_more(service, Visit(address="https://me.hf.space/"), image, 2, "fake:b", ["fake:c"])
    assert list(cards(shown)) == ["fake:b", "fake:c"]
    assert shown["result"].count("lu-line") == 4
    assert shown["link"] == "https://me.hf.space/?backbone=fake%3Ab&backbone=fake%3Ac&top_k=2"
    assert "https://me.hf.space" in shown["client"]


def test_slider_asks_again_after_an_interrupted_request(make_service, image, fakes):
    service, visit = make_service(TWO), Visit()

    async def interrupted():
        updates = handlers(service).answer(visit, image, "fake:a", [], 1)
        await anext(updates)
        await updates.aclose()

    asyncio.run(interrupted())
    assert "cat" in shown_more(service, visit, image, 2)["result"]


@pytest.mark.parametrize(("name", "others"), [("fake:gone", []), ("fake:a", ["fake:gone"])])
def test_removed_backbone_is_an_error_with_the_new_choices(make_service, image, name, others):
    last = answered(make_service(TWO), image, name, others)[-1]
    assert "fake:gone" in last["status"]
    assert [value for _, value in last["choices"][0]] == ["fake:a", "fake:b"]


# --- link and code ---


def test_code_covers_the_successful_answers(make_service, image, fakes):
    fakes.more = {target: {"recipe": f"make_{target}()"} for target in "abc"}
    fakes.errors["b"] = BackboneError("fake:b", "weights", "none came", "add some")
    visit = Visit(address="https://me-birds.hf.space/")
    last = answered(make_service(THREE), image, "fake:c", ["fake:b", "fake:a"], visit, top_k=1)[-1]
    assert re.findall(r"^# backbone: .*|^make.*|^    \d+: .*", last["python"], re.MULTILINE) == [
        "# backbone: 'fake:c'",
        "make_c()",
        "    0: 'cat',",
        "# backbone: 'fake:a'",
        "make_a()",
        "    0: 'cat',",
    ]
    for call in (last["client"], last["curl"]):
        assert "https://me-birds.hf.space" in call
        assert "/compare" in call
        assert re.findall("fake:.", call) == ["fake:c", "fake:b", "fake:a"]
    assert last["link"] == "https://me-birds.hf.space/?backbone=fake%3Ac&backbone=fake%3Ab&backbone=fake%3Aa&top_k=1"


def test_code_for_one_backbone_calls_classify(make_service, image):
    last = answered(make_service(TWO), image, visit=Visit(address="http://127.0.0.1:7860/"))[-1]
    assert last["python"] == ""  # no recipe
    assert "'/classify'" in last["client"]
    assert "/classify" in last["curl"]
    assert last["link"] == "http://127.0.0.1:7860/?backbone=fake%3Aa&top_k=2"


def test_link_includes_the_example_while_it_is_shown(make_service, image, tmp_path):
    maze = draw(tmp_path / "maze.png", 1)
    service, visit = make_service(f"examples: [maze.png]\n{TWO}"), Visit(example=("maze", str(maze)))
    assert answered(service, maze, visit=visit)[-1]["link"].endswith("&example=maze")
    assert answered(service, image, visit=visit)[-1]["link"].endswith("&top_k=2")


def test_table_is_for_comparisons_and_plot_for_all_runs(make_service, image):
    service = make_service(THREE)
    alone = answered(service, image)[-1]
    assert alone["table"] == ""
    several = answered(service, image, "fake:c", ["fake:b"])[-1]
    assert figure_names(several) == ["fake:c", "fake:b"]
    assert drawn(alone["plot"]) == {"fake:a"}
    assert drawn(several["plot"]) == {"fake:a", "fake:b", "fake:c"}


def figure_names(update) -> list[str]:
    return re.findall('<th scope="row".*?>(.*?)</th>', update["table"].replace("<wbr>", ""))


# --- opening a link ---


def opened(service, query, visit=None):
    service.start()
    return all_of(handlers(service).open_page(visit or Visit(), query, ""))


def test_link_restores_the_state(make_service, tmp_path):
    maze = draw(tmp_path / "maze.png")
    visit = Visit()
    query = {"backbone": ["fake:b", "fake:a"], "top_k": ["1"], "example": ["maze"]}
    first, *later = opened(make_service(f"examples: [maze.png]\n{TWO}"), query, visit)
    assert first == {
        "selected": "fake:b",
        "others": ["fake:a"],
        "top_k": 1,
        "image": str(maze),
        "notice": "",
        "refresh": "final",
    }
    assert last_of(later).keys() == {"choices", "status"}  # the restored state is not changed again
    assert visit.example[0] == "maze"


def test_invalid_parts_of_a_link_are_reported_and_the_rest_applied(make_service):
    query = {"backbone": ["<b>", "fake:b"], "top_k": ["0"], "example": ["maze"]}
    final = last_of(opened(make_service(TWO), query))
    assert (final["selected"], final["others"]) == ("fake:b", [])
    assert final.keys().isdisjoint({"top_k", "image"})
    assert "this line-up has no &lt;b&gt;; its top_k is &#39;0&#39;" in final["notice"]
    assert "there is no example" in final["notice"]


def test_unavailable_linked_backbone_is_not_replaced(make_service, fakes):
    fakes.errors["a"] = BackboneError("fake:a", "weights", "none came", "add some")
    service = make_service(TWO)
    updates = opened(service, {"backbone": ["fake:a"]})
    assert service.preselected == "fake:b"
    assert [update["selected"] for update in updates if "selected" in update] == ["fake:a"]
    assert last_of(updates)["notice"] == ""
    assert "fake:a cannot run now" in last_of(updates)["status"]


def test_unavailable_linked_example_is_reported(make_service):
    service, visit = make_service(f"examples: ['https://127.0.0.1:9/maze.png']\n{TWO}"), Visit()
    final = last_of(opened(service, {"example": ["maze"]}, visit))
    assert "maze.png: expected a download from 127.0.0.1; 127.0.0.1 cannot be reached" in final["notice"]
    assert "image" not in final
    assert "fake:a is ready" in final["status"]
    assert visit.example is None


def test_disconnect_before_the_answer_yields_no_final_update(make_service, image, fakes, caplog):
    service, visit, held = make_service(TWO), Visit(), fakes.hold("build a")
    connections = Connections()

    async def run(collect):
        raise ClientDisconnected

    connections.run = run
    updates = all_of(Handlers(service, connections, Handover()).answer(visit, image, "fake:a", [], 3))
    held.set()
    assert updates[-1].get("refresh") != "final"
    assert caplog.messages == []


def test_idle_backbone_without_an_image_is_not_shown_as_loading(make_service, fakes):
    text = html.without_image(make_service(TWO).status("fake:b"))
    assert "fake:b loads on first use" in text
    assert "lu-pulse" not in text


def test_image_of_another_page_is_shown_to_its_owner_only(make_service, image):
    uploads = Path(get_upload_folder()) / "another-page"
    uploads.mkdir(parents=True)
    upload, owner = Path(shutil.copy(image, uploads)), new_owner()
    opened = handlers(make_service(TWO))
    opened.service.probed.set()
    image_id = opened.images.give(owner, upload)
    query = {"image": [image_id]}
    assert last_of(all_of(opened.open_page(Visit(), query, owner)))["image"] == str(upload.resolve())
    other = last_of(all_of(opened.open_page(Visit(), query, new_owner())))
    assert "image" not in other
    assert "This link does not fit this page" in other["notice"]
    shutil.rmtree(uploads)
