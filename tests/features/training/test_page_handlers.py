"""The handlers of the page of trainings: what each event shows, which one counts, and what survives."""

import asyncio
import io
import re
import threading
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from updates import all_of, shown

from lineup.analysis.training import DoubtfulLabel, TrainedBackbone, TrainingReport
from lineup.analysis.verdict import Cost
from lineup.config import Entry
from lineup.errors import LineupError
from lineup.features.training.handlers import Handlers, PageState
from lineup.images.labelled_folder import folder_name
from lineup.inference.jobs import JobStatus
from lineup.page.folder_uploads import Uploads
from lineup.page.image_classes import HASH_DIGITS, Collections


class FakeTrainings:
    """Trainings that are done at once, or when `state` is set."""

    adding_problem = None
    doubtful = ()

    def __init__(self, service):
        self.service, self.created, self.state, self.cancelled, self.added = service, [], "done", [], []

    candidates = property(lambda self: self.service.names)

    def create(self, images, backbones, copied_from):
        if len(images.labels) < 2:
            raise LineupError("training", "two classes", "there is one", "add another")
        self.created.append((images, backbones))
        return f"training-{len(self.created)}"

    def start(self, training):
        assert training == f"training-{len(self.created)}"

    def status(self, training):
        if training != f"training-{len(self.created)}":
            raise LineupError("job", "the id of a job", f"got {training!r}", "start it again")
        return JobStatus(training, "training", {"backbones": self.created[-1][1]}, self.state, 1, 2)

    def cancel(self, training):
        self.cancelled.append(training)
        self.state = "cancelled"

    def add(self, training, backbone, name):
        self.status(training)
        self.added.append(name)
        return Entry(name=name, backbone=backbone)

    def python(self, training, backbone, name):
        return f"load({name!r})"

    def report(self, training):
        images, backbones = self.created[-1]
        n, classes = len(images.images), tuple(images.labels)
        wrong = np.tile(np.eye(len(classes), dtype=np.float32)[0], (n, 1))
        trained = [
            TrainedBackbone(name, "nearest centroid", None, 1.0, 8, wrong, cost=Cost(1.0, 2.0), doubtful=self.doubtful)
            for name in backbones
        ]
        return TrainingReport(images, classes, np.arange(n), (), tuple(trained))


@pytest.fixture
def handlers(make_service, fakes, tmp_path):
    service = make_service("backbones: ['fake:a', 'fake:b']")
    service.probed.set()
    uploads = Uploads(service, tmp_path / "up", lambda config: config.training)
    return Handlers(FakeTrainings(service), Collections(service, tmp_path / "classes"), uploads)


PAGE = dict.fromkeys(("key", "name", "upload", "image", "continued"), "")  # of an event


def edited(handlers, state, action, **values):
    return asyncio.run(handlers.edit(state, action, PAGE | values))


def upload(handlers, *names):
    folder = handlers.uploads.create()
    for seed, name in enumerate(names):
        Image.new("RGB", (40, 30), (seed * 20, sum(name.encode()) % 256, 9)).save(buffer := io.BytesIO(), "PNG")
        buffer.seek(0)
        handlers.uploads.add(folder, [(name, buffer)])
    return folder


@pytest.fixture
def state(handlers):
    """A page with two classes of two images."""
    state = PageState()
    all_of(handlers.open(state))
    folder = upload(handlers, "zoo/cat/1.png", "zoo/cat/2.png", "zoo/dog/3.png", "zoo/dog/4.png")
    edited(handlers, state, "add-images", upload=folder)
    return state


def test_new_page_says_what_is_missing(handlers):
    page = shown(handlers.open(PageState()))
    assert "Class 1" in page["classes"]
    assert (page["start"], page["ready"], page["backbones"]) == ("Train", False, ["fake:a", "fake:b"])
    assert "at least two classes" in page["missing"]


def test_button_says_what_is_trained(handlers, state):
    page = asyncio.run(handlers.changed(state))
    assert (page["start"], page["ready"], page["missing"]) == ("Train on 4 images of 2 classes", True, "")
    state.names = []
    page = asyncio.run(handlers.changed(state))
    assert (page["ready"], page["missing"]) == (False, "Select at least one backbone.")


def test_collection_of_a_browser_tab_is_found_again(handlers, state):
    page = shown(handlers.open(PageState(collection=state.collection)))
    assert "cat" in page["classes"]
    assert not page["message"]
    other = PageState(collection="x" * 22)
    page = shown(handlers.open(other))
    assert "no longer on this server" in page["message"]
    assert handlers.collections.read(other.collection).n_images == 0


def test_page_on_zerogpu_says_that_a_restart_lost_the_images(handlers, monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    page = shown(handlers.open(PageState(collection="x" * 22)))
    assert "This Space&#39;s disk is not kept when it restarts" in page["message"]


def test_lost_state_without_images_begins_anew(handlers):
    state = PageState()
    page = edited(handlers, state, "add-class")
    assert "Class 3" in page["classes"]


@pytest.mark.parametrize(
    ("action", "values", "sentence"),
    [
        ("rename", {"key": "1", "name": "dog"}, "The class keeps its name"),
        ("rename", {"key": "77", "name": "owl"}, "The class keeps its name"),
        ("remove", {"key": "../.."}, "The classes are unchanged"),
        ("add-images", {"key": "3", "upload": "../../etc"}, "The images cannot be added"),
        ("problem", {"text": "<b>The connection broke off.</b>"}, "&lt;b&gt;The connection"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(handlers, state, action, values, sentence):
    before = handlers.collections.read(state.collection)
    page = edited(handlers, state, action, **values)
    assert sentence in page["message"]
    assert handlers.collections.read(state.collection) == before


def test_left_out_files_are_listed(handlers, state):
    page = edited(handlers, state, "add-images", upload=upload(handlers, *(f"{index}.png" for index in range(7))))
    assert "7 files are left out" in page["message"]
    assert "and 2 more" in page["message"]


def test_message_of_a_change_outlives_a_later_one_that_began_before(handlers, state):
    async def both():
        refused = handlers.edit(state, "rename", PAGE | {"key": "1"})
        return await asyncio.gather(refused, handlers.edit(state, "add-class", PAGE))

    first, second = asyncio.run(both())
    assert first == {}  # the later one shows all
    assert "The class keeps its name" in second["message"]
    assert edited(handlers, state, "add-class")["message"] == ""


def test_uploads_that_follow_at_once_keep_the_message_of_an_earlier_one(handlers, state):
    def dropped(name, **values):
        return edited(handlers, state, "add-images", upload=upload(handlers, name), **values)["message"]

    assert "1.png: it has no class" in dropped("1.png")
    assert "1.png: it has no class" in dropped("zoo/owl/5.png", continued="1")
    message = dropped("2.png", continued="1")
    assert "1.png: it has no class" in message
    assert "2.png: it has no class" in message
    assert dropped("zoo/owl/6.png") == ""


def test_backbones_selected_before_the_start_is_over_stay(handlers):
    state = PageState()
    handlers.service.probed.clear()

    async def select_early():
        updates = handlers.open(state)
        await anext(updates)
        await handlers.select(state, ["fake:b"])
        handlers.service.probed.set()
        return [update async for update in updates]

    assert asyncio.run(select_early()) == []
    assert state.names == ["fake:b"]


def test_backbones_that_were_added_to_the_page_are_not_selected_at_first(handlers):
    handlers.service.add(Entry(name="my zoo", backbone="fake:c"))
    assert "my zoo" in handlers.trainings.candidates
    assert shown(handlers.open(PageState()))["backbones"] == ["fake:a", "fake:b"]


def test_verdict_shows_a_correction_once_the_server_has_made_it(handlers, state):
    handlers.trainings.doubtful = (DoubtfulLabel(0, "cat", "dog", 0.9),)
    before = shown(handlers.start(state))["verdict"]
    cat, dog = handlers.collections.read(state.collection).classes
    image = handlers.trainings.created[-1][0].images[0].sha256[:HASH_DIGITS]

    def corrected(action, **values):
        return asyncio.run(handlers.correct(state, action, PAGE | {"image": image} | values))

    refused = corrected("move", key=cat.key, target="77")
    assert "The classes are unchanged" in refused["message"]
    assert refused["verdict"] != before  # or the browser would not enable its buttons
    assert "lu-done" not in refused["verdict"]
    assert "Move to dog" in refused["verdict"]
    moved = corrected("move", key=cat.key, target=dog.key)["verdict"]
    assert "lu-done" in moved
    assert "moved since" in moved
    assert "Move to dog" not in moved
    assert "removed since" in corrected("remove", key=dog.key)["verdict"]
    handlers.trainings.state = "running"
    assert "verdict" not in corrected("remove", key=dog.key)


def test_two_clicks_add_one_backbone(handlers, state):
    all_of(handlers.start(state))

    async def click_twice():
        first, second = handlers.add(state, "fake:a", "zoo"), handlers.add(state, "fake:a", "zoo")
        begun = await anext(first)
        return begun, [update async for update in second], [update async for update in first]

    begun, second, rest = asyncio.run(click_twice())
    assert "Adding zoo" in begun["added"]
    assert second == []
    assert "zoo is in the dropdown" in rest[-1]["added"]
    assert handlers.trainings.added == ["zoo"]
    assert "It was not added" in shown(handlers.add(PageState(collection="x" * 22), "fake:a", "zoo"))["added"]
    assert not state.is_adding


def test_last_of_two_names_is_the_one_to_take_away(handlers, state):
    all_of(handlers.start(state))

    async def both():
        return await asyncio.gather(*(handlers.take(state, "fake:a", name) for name in ("zo", "zoo")))

    first, second = asyncio.run(both())
    assert first == {}
    assert "local-dir:zoo" in second["texts"]


def test_python_is_shown_without_an_archive(handlers, state):
    all_of(handlers.start(state))
    page = asyncio.run(handlers.show_python(state, "fake:a", " zoo "))
    assert "load(&#39;zoo&#39;)" in page["texts"]


def test_link_to_the_archive_has_the_name_as_it_was_typed(handlers, state):
    all_of(handlers.start(state))
    texts = asyncio.run(handlers.take(state, "fake:a", "tits/100% "))["texts"]
    assert "local-dir:tits%2F100%25&#34;" in texts
    [name] = re.findall('&amp;name=([^&"]*)', texts)
    assert folder_name(unquote(name)) == "tits%2F100%25"  # as the route calls the folder in the archive


def test_training_has_the_images_that_were_there_when_it_began(handlers, state):
    dog = handlers.collections.read(state.collection).classes[1]
    create, removals = handlers.trainings.create, []

    def removed_meanwhile(images, backbones, copied_from):
        removals.append(threading.Thread(target=handlers.collections.remove, args=(state.collection, dog.key)))
        removals[0].start()
        removals[0].join(0.2)
        assert all(Path(image.path).is_file() for image in images.images)
        return create(images, backbones, copied_from)

    handlers.trainings.create = removed_meanwhile
    assert "Take" in shown(handlers.start(state))["verdict"]
    removals[0].join()


def test_training_that_cannot_begin_is_a_sentence(handlers, state):
    dog = handlers.collections.read(state.collection).classes[1]
    edited(handlers, state, "remove", key=dog.key)
    page = shown(handlers.start(state))
    assert "The training cannot begin" in page["status"]
    assert not handlers.collections.read(state.collection).training


def test_training_that_was_deleted_by_its_age_is_said_with_what_to_do(handlers, state):
    all_of(handlers.start(state))
    handlers.trainings.created *= 2  # there is none of that id any more
    page = shown(handlers.open(PageState(collection=state.collection)))
    assert "The training has been deleted" in page["status"]
    assert "Your images are still here: train again." in page["status"]
    assert (page["verdict"], page["trained"], page["running"], page["ready"]) == ("", [], False, True)
    assert "Train again on 4 images" in page["start"]


def test_training_shows_progress_and_can_be_stopped(handlers, state):
    handlers.trainings.state = "running"

    async def start_and_stop():
        updates = handlers.start(state)
        first = await anext(updates)
        stopped = [update async for update in handlers.stop(state)]
        return first, stopped, [update async for update in updates]

    first, stopped, rest = asyncio.run(start_and_stop())
    assert (first["running"], first["ready"]) == (True, False)
    assert "1 of 2 steps" in first["status"]
    assert "Stopped" in stopped[-1]["status"]
    assert stopped[-1]["ready"]
    assert rest == []  # the later event shows the end
    assert handlers.trainings.cancelled == ["training-1"]
