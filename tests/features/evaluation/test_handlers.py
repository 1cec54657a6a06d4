"""The handlers of the page of evaluations: what each wish shows, which one counts, and what survives."""

import asyncio
import shutil

import pytest
from drawing import draw
from updates import all_of, shown

from lineup.errors import BusyError
from lineup.features.evaluation import handlers as handlers_module
from lineup.features.evaluation.handlers import Handlers, PageState
from lineup.features.evaluation.run import Evaluations
from lineup.page.folder_uploads import Uploads

LOGITS = {
    "a": [9.0, 1.0, 0.0],
    "b": [0.0, 9.0, 1.0],
    "c": [0.0, 0.0, 9.0],
    "d": [9.0, 1.0, 0.0],
}  # the classes are cat, dog and fox


@pytest.fixture
def handlers(make_service, fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    fakes.logits |= LOGITS
    service = make_service("backbones: ['fake:a', 'fake:b', 'fake:c', 'fake:d']")
    return Handlers(service, Evaluations(service), Uploads(service))


@pytest.fixture
def state(handlers, tmp_path):
    """A page on which a folder of three cats, a dog and a giraffe was uploaded."""
    upload = handlers.uploads.create()
    for index, label in enumerate(["cat", "cat", "cat", "dog", "giraffe"]):
        path = tmp_path / f"{index}.jpg"
        draw(path, seed=index)
        with path.open("rb") as file:
            handlers.uploads.add(upload, [(f"pets/{label}/{index}.jpg", file)])
    return PageState(upload=upload, names=["fake:a", "fake:b"])


def evaluated(handlers, state):
    return shown(handlers.start(state))


def test_upload_shows_its_labels_and_what_the_button_does(handlers, state):
    page = shown(handlers.upload(state, state.upload))
    assert "5 images, 3 labels in pets" in page["mapping"]
    assert (page["start"], page["ready"], page["run"]) == ("Evaluate 5 images with 2 backbones", True, "")


def test_upload_before_any_backbone_is_selected_selects_those_that_can_run(handlers, state):
    state.names = []
    opening = handlers.open(state)

    async def collect():
        opened = asyncio.create_task(anext(opening, None))
        await asyncio.sleep(0)  # until it waits for the probes
        uploaded = handlers.upload(state, state.upload)
        first = await anext(uploaded)
        handlers.service.probed.set()
        return [first] + [update async for update in uploaded], await opened

    (first, last), opened = asyncio.run(collect())
    assert "Finding the backbones" in first["status"]
    assert last["backbones"] == ["fake:a", "fake:b", "fake:c", "fake:d"]
    assert (last["start"], last["ready"]) == ("Evaluate 5 images with 4 backbones", True)
    assert "giraffe" in last["mapping"]
    assert opened is None  # superseded


def test_earlier_of_two_uploads_does_not_overtake_the_later_one(handlers, state, monkeypatch):
    """Both wait for the probes, and the earlier one goes on last."""
    state.names, went_on = [], []

    async def both():
        order = [asyncio.Event(), asyncio.Event()]

        async def probed(_):
            went_on.append(len(went_on))
            await order[went_on[-1]].wait()

        uploads = [handlers.upload(state, state.upload) for _ in order]
        for each in uploads:
            await anext(each)
        with monkeypatch.context() as patch:
            patch.setattr(handlers_module, "on_thread", probed)
            waiting = [asyncio.create_task(anext(each, None)) for each in uploads]
            await asyncio.sleep(0)
        order[1].set()
        await asyncio.sleep(0)  # the later one now reads its images
        order[0].set()
        return [await each for each in waiting]

    first, last = asyncio.run(both())
    assert first is None
    assert last["backbones"] == ["fake:a", "fake:b", "fake:c", "fake:d"]
    assert last["ready"]


def test_no_class_is_said_to_be_missing_while_no_backbone_is_selected(handlers, state):
    state.names = []
    page = shown(handlers.select(state))
    assert page["mapping"] == ""
    assert "No backbone is selected" in page["status"]
    assert (page["start"], page["ready"]) == ("Select a backbone above", False)


def test_start_puts_the_evaluation_into_the_address(handlers, state):
    page = evaluated(handlers, state)
    assert page["run"] == state.evaluation
    assert "fake:a is right on 3 of 4" in page["verdict"]
    assert not page["ready"]
    assert page["exists"]


def test_choice_of_a_meaning_outlives_the_page(handlers, state):
    all_of(handlers.choose(state, "giraffe", ["dog"]))
    evaluated(handlers, state)
    reopened = shown(handlers.open(PageState(evaluation=state.evaluation)))
    assert "3 of 5" in reopened["verdict"]
    all_of(handlers.choose(state, "dog", []))  # and one after the start
    reopened = shown(handlers.open(PageState(evaluation=state.evaluation)))
    assert "3 of 4" in reopened["verdict"]


@pytest.mark.parametrize("meaning", [["unicorn"], "nothing", [3], None, [["cat"]]])
def test_meaning_without_a_class_is_refused_and_changes_nothing(handlers, state, meaning):
    page = shown(handlers.choose(state, "giraffe", meaning))
    assert "giraffe keeps its meaning" in page["status"]
    assert state.chosen == {}
    assert "3 of 4" in evaluated(handlers, state)["verdict"]


def test_label_that_the_folder_lacks_cannot_be_given_a_meaning(handlers, state):
    evaluated(handlers, state)
    assert "keeps its meaning" in shown(handlers.choose(state, "zebra", ["cat"]))["status"]
    assert handlers.evaluations.chosen(state.evaluation) == {}


def test_the_latest_of_two_choices_is_shown(handlers, state):
    async def both():
        updates = [handlers.choose(state, "giraffe", [name]) for name in ("dog", "cat")]
        return await asyncio.gather(*(collected(each) for each in updates))

    async def collected(updates):
        return [update async for update in updates]

    first, last = asyncio.run(both())
    assert first == []
    assert len(last) == 1


def test_added_backbone_needs_no_second_upload(handlers, state, monkeypatch):
    all_of(handlers.choose(state, "giraffe", ["dog"]))
    evaluated(handlers, state)
    former = state.evaluation
    state.names = ["fake:a", "fake:b", "fake:c"]
    assert shown(handlers.select(state))["ready"]
    page = evaluated(handlers, state)
    assert state.evaluation != former
    handlers.evaluations.delete(former)
    page = shown(handlers.open(PageState(evaluation=state.evaluation)))
    assert "fake:c" in page["verdict"]
    assert "5 images" in page["mapping"]
    assert "3 of 5" in page["verdict"]  # the meaning that was chosen came along


def test_evaluation_that_cannot_start_loses_no_images(handlers, state, monkeypatch):
    def full(*_):
        raise BusyError("busy", "", "8 evaluations are running already", "try again in some minutes")

    with monkeypatch.context() as patch:
        patch.setattr(handlers.evaluations, "start", full)  # after the images have moved
        assert "try again" in evaluated(handlers, state)["status"]
    assert "3 of 4" in evaluated(handlers, state)["verdict"]


@pytest.mark.parametrize(("names", "text"), [(["fake:a"], "there is one backbone"), (["fake:a", "fake:d"], "the same")])
def test_images_that_cannot_decide_are_no_question(handlers, state, fakes, names, text):
    for label in ("cat", "dog"):
        all_of(handlers.choose(state, label, []))
    state.names = names
    page = evaluated(handlers, state)
    assert "<h2>Nothing to compare" in page["verdict"] or "<h2>The backbones give the same" in page["verdict"]
    assert text in page["verdict"]


def test_second_click_on_start_begins_nothing(handlers, state):
    async def both():
        await asyncio.gather(collected(handlers.start(state)), collected(handlers.start(state)))

    async def collected(updates):
        return [update async for update in updates]

    asyncio.run(both())
    jobs = handlers.evaluations.folder(state.evaluation).parent
    assert [path.name for path in jobs.iterdir()] == [state.evaluation]


def test_stopped_evaluation_goes_on_with_the_same_id(handlers, state, fakes):
    held = fakes.hold("answer b")

    async def stop_and_resume():
        starting = handlers.start(state)
        async for _ in starting:
            if handlers.evaluations.status(state.evaluation).done == 5:
                break
        stopping = handlers.stop(state)
        first = await anext(stopping)
        held.set()
        stopped = [update async for update in stopping][-1]
        evaluation = state.evaluation
        resumed = [update async for update in handlers.start(state)][-1]
        return first, stopped, evaluation, resumed

    first, stopped, evaluation, resumed = asyncio.run(stop_and_resume())
    assert "Stopping after the current batch" in first["status"]
    assert (stopped["start"], stopped["ready"]) == ("Go on", True)
    assert "Stopped" in stopped["status"]
    assert state.evaluation == evaluation
    assert (resumed["status"], resumed["ready"]) == ("", False)


def test_interrupted_evaluation_can_go_on(handlers, state):
    names = ["fake:a", "fake:b"]
    evaluation = handlers.evaluations.create_from(handlers.uploads, state.upload, names)  # and the server ends
    page = shown(handlers.open(reopened := PageState(evaluation=evaluation)))
    assert "Interrupted" in page["status"]
    assert (page["start"], page["ready"], page["backbones"]) == ("Go on", True, names)
    assert "3 of 4" in evaluated(handlers, reopened)["verdict"]


def test_page_of_a_deleted_evaluation_says_so(handlers, state):
    evaluated(handlers, state)
    other = PageState(evaluation=state.evaluation, names=state.names)
    folder = handlers.evaluations.folder(state.evaluation)
    page = shown(handlers.delete(state))
    assert "Deleted" in page["status"]
    assert not folder.exists()
    assert (page["run"], page["ready"], page["exists"]) == ("", False, False)
    assert "cannot be shown" in shown(handlers.score(other))["status"]
    page = shown(handlers.open(other))
    assert "has no such evaluation" in page["status"]
    assert page["run"] == ""


@pytest.mark.parametrize("wish", ["start", "stop", "delete", "score"])
def test_wish_on_a_page_without_images_is_answered(handlers, wish):
    page = shown(getattr(handlers, wish)(PageState(names=["fake:a"])))
    assert "choose the folder again" in page["status"].lower()


def test_upload_that_is_gone_is_said(handlers, state):
    shutil.rmtree(handlers.uploads.folder(state.upload))
    assert "hoose the folder again" in evaluated(handlers, state)["status"]


def test_scoring_of_all_classes_counts_other_answers(handlers, state):
    evaluated(handlers, state)
    state.scoring = "anywhere"
    page = shown(handlers.score(state))
    assert page["scoring"] == "anywhere"
    assert "scoring=anywhere" in page["downloads"]
    state.scoring = "nowhere"
    assert "among or anywhere" in shown(handlers.score(state))["status"]


def test_meaning_that_other_backbones_lack_is_said(handlers, state, monkeypatch):
    all_of(handlers.choose(state, "giraffe", ["dog"]))
    monkeypatch.setattr(handlers.service, "labels", lambda name: None)
    page = shown(handlers.select(state))
    assert "do not fit these backbones" in page["status"]
    assert state.chosen == {"giraffe": ["dog"]}
