"""What the page asks about an answer, and what is kept of the client's answer to that; without a browser."""

import asyncio
import json
import logging
import re
import shutil
from types import SimpleNamespace

import pytest
from drawing import draw
from rendering import HOSTILE, Tags
from starlette.applications import Starlette
from starlette.testclient import TestClient
from updates import all_of

from lineup.errors import BusyError
from lineup.features.feedback import asking
from lineup.features.feedback.asking import Asking, sentence
from lineup.features.feedback.collection import Collection
from lineup.features.feedback.panel import routes
from lineup.page.connections import Connections
from lineup.page.events import Handlers
from lineup.page.handover import Handover
from lineup.page.visit import Visit

VISITOR = "192.0.2.7"
TWO = ["fake:a", "fake:b"]


class Page:
    """An open page with the question, and the folder of what is kept."""

    def __init__(self, service, image, root):
        self.service, self.image, self.root, self.visit = service, image, root, Visit()
        self.collection = Collection(root, service.config.feedback)
        self.asking = Asking(service, lambda: self.collection)

    def classify(self, name="fake:a", others=(), image=None):
        handlers = Handlers(self.service, Connections(), Handover())
        all_of(handlers.answer(self.visit, image or self.image, name, list(others), 3))
        return self.shown()

    def shown(self):
        return self.asking.shown(self.visit)

    @property
    def token(self):
        return re.search('data-token="([^"]+)"', self.shown())[1]

    def answer(self, label=None, token=""):
        return asyncio.run(self.asking.answer(self.visit, token or self.token, label, VISITOR))

    @property
    def images(self):
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.jpg"))

    @property
    def rows(self):
        lines = [line for path in self.root.rglob("answers*.jsonl") for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]


@pytest.fixture
def page(make_service, fakes, tmp_path):
    fakes.logits |= {"a": [3.0, 2.0, 1.0], "b": [1.0, 3.0, 2.0], "c": [3.0, 0.0, 0.0]}
    service = make_service(f"backbones: ['fake:a', 'fake:b', 'fake:c']\nfeedback: {{to: {tmp_path}/kept}}")
    return Page(service, draw(tmp_path / "image.png"), tmp_path / "kept")


def text_of(html):
    return " ".join(Tags(html).text.split())


def test_nothing_is_asked_before_an_answer_and_nothing_is_kept_before_a_click(page):
    assert page.shown() == ""
    assert text_of(page.classify()).startswith("Is “ cat ” right? Right It is …")
    assert not page.root.exists()
    page.answer()
    assert len(page.images) == len(page.rows) == 1


def test_nothing_is_asked_while_a_backbone_is_pending(page):
    page.classify("fake:a", ["fake:b"])
    del page.visit.answers["fake:b"]
    assert page.shown() == ""


def test_right_records_the_label_and_what_was_said(page, monkeypatch):
    monkeypatch.setattr(page.service, "fingerprint", lambda answer: f"of {answer.backbone}")
    page.classify()
    assert "Thank you. Recorded: “cat” is right. It waits for a review on this server." in text_of(page.answer())
    [row], [image] = page.rows, page.images
    assert image.startswith("unreviewed/cat/")
    assert (row["given"], row["is_right"]) == ("cat", True)
    [said] = row["said"]
    assert (said["backbone"], said["fingerprint"], said["label"]) == ("fake:a", "of fake:a", "cat")
    assert said["probability"] == pytest.approx(0.665, abs=0.001)
    assert VISITOR not in json.dumps(page.rows)


@pytest.mark.parametrize(
    ("text", "label"), [("OWL", "owl"), ("  Great   tit ", "Great tit"), ("../../etc/passwd", "../../etc/passwd")]
)
def test_correction_is_a_class_or_free_text(page, text, label):
    page.classify()
    assert f"Recorded: it is “{label}”, not “cat”." in text_of(page.answer(text))
    assert page.rows[0]["given"] == label
    assert page.images[0].count("/") == 2  # it is no path
    assert not page.rows[0]["is_right"]


def test_client_cannot_say_what_the_backbone_said(page):
    """A token of the right question, and a label: the event has nothing else that is used."""
    page.classify()
    page.answer("dog")
    assert [each["label"] for each in page.rows[0]["said"]] == ["cat"]


def test_comparison_is_asked_once_for_the_label_of_most(page):
    shown = text_of(page.classify("fake:b", ["fake:a", "fake:c"]))
    assert "Is “ cat ” right? 2 of 3 backbones say so; answer once for the image." in shown
    assert "Recorded: it is “cat”, as 2 of 3 backbones say." in text_of(page.answer())
    [row] = page.rows
    assert [each["label"] for each in row["said"]] == ["dog", "cat", "cat"]


def test_comparison_without_a_majority_asks_for_the_first(page):
    assert "Is “ dog ” right? fake:b says so" in text_of(page.classify("fake:b", ["fake:a"]))
    page.answer()
    assert page.rows[0]["given"] == "dog"


def test_numbered_classes_are_not_confirmed(page, fakes):
    from lineup.registry.labels import numbered

    fakes.more["a"] = {"labels": numbered(3)}
    shown = page.classify()
    assert "What is it?" in shown
    assert 'data-act="right"' not in shown
    assert "Is “ dog ” right?" in text_of(page.classify("fake:a", ["fake:b"]))


def test_double_click_records_one_answer(page):
    page.classify()
    token = page.token

    async def twice():
        clicks = (page.asking.answer(page.visit, token, label, VISITOR) for label in (None, "dog"))
        return await asyncio.gather(*clicks)

    first, second = asyncio.run(twice())
    assert "Thank you" in first
    assert second is None  # the page shows what the first click returns
    assert "Recorded: “cat” is right." in text_of(page.answer("dog", token))  # as if the answer to the first was lost
    assert len(page.rows) == 1


def test_slider_keeps_the_thanks_and_a_new_answer_asks_again(page):
    page.classify()
    page.answer()
    handlers = Handlers(page.service, Connections(), Handover())
    all_of(handlers.show_more(page.visit, page.image, "fake:a", [], 2))
    assert "Thank you" in page.shown()
    assert "right?" in page.classify("fake:b")
    page.answer("owl")
    assert [row["given"] for row in page.rows] == ["cat", "owl"]
    assert len(page.images) == 1  # the same image


def test_answer_to_an_older_question_is_not_recorded(page, tmp_path):
    page.classify()
    token = page.token
    page.classify(image=draw(tmp_path / "other.png", seed=1))
    shown = page.answer(None, token)
    assert "Not recorded. The answers have changed since. These are the new ones." in text_of(shown)
    assert page.token != token
    page.classify("fake:a", ["fake:b"])
    newest, page.visit.answers = page.token, {}
    assert "lost these answers" in page.answer(None, newest)
    assert page.images == []


@pytest.mark.parametrize("is_pending", [True, False])
def test_answer_that_arrives_after_the_next_request_is_not_recorded(page, is_pending):
    page.classify("fake:a", ["fake:b"])
    token = page.token
    page.visit.generation += 1  # the next request: its question is not asked yet
    if is_pending:
        del page.visit.answers["fake:b"]
    shown = page.answer(None, token)
    assert (shown is None) if is_pending else "The answers have changed since." in shown
    assert not page.root.exists()


def test_page_of_an_earlier_process_is_answered_with_a_sentence(page):
    shown = page.answer(None, "0123456789abcdef")
    assert "The server has lost these answers, as after a restart. Classify the image again" in text_of(shown)
    assert not page.root.exists()


def test_removed_upload_is_reported_in_place(page):
    page.classify()
    page.image.unlink()
    shown = text_of(page.answer())
    assert "Not recorded. It is no longer on this server; choose it again." in shown
    assert "Is “ cat ” right?" in shown


def test_refused_answer_can_be_given_again(page, monkeypatch):
    add, refusals = page.collection.add, [BusyError("feedback", "at most 1", "today's are given", "try again tomorrow")]

    def busy(*args):
        if refusals:
            raise refusals.pop()
        return add(*args)

    monkeypatch.setattr(page.collection, "add", busy)
    page.classify()
    assert "Not recorded. Today's are given; try again tomorrow." in text_of(page.answer("dog"))
    assert "Thank you" in page.answer("dog")


@pytest.mark.parametrize("label", ["", "  ", "x" * 101, "a\0b", "\ud800", 7, ["cat"], {"a": 1}])
def test_invalid_label_is_refused(page, label):
    page.classify()
    assert "Not recorded." in page.answer(label)
    assert not page.root.exists()


def test_unexpected_error_is_logged_and_named(page, monkeypatch, caplog):
    monkeypatch.setattr(page.collection, "add", lambda *args: 1 / 0)
    page.classify()
    with caplog.at_level(logging.ERROR):
        assert "Something went wrong on the server" in page.answer()
    assert "ZeroDivisionError" in caplog.text


def test_class_with_a_long_name_is_taken_as_it_is(page, fakes):
    long = "a " * 80 + "bird"
    fakes.names = ("cat", long, "owl")
    page.collection.is_class = lambda label: label == long
    page.classify()
    page.answer(long.upper())
    assert page.rows[0]["given"] == long


def test_external_text_is_escaped(page, fakes):
    fakes.names = (HOSTILE, "dog", "owl")
    shown = page.classify()
    assert [name for name, _ in Tags(shown + page.answer(f"<b>{HOSTILE}")).elements if name in ("img", "b")] == []


def test_example_is_named_as_one(page, tmp_path):
    page.classify()
    page.visit.example = "other", str(draw(tmp_path / "other.png", seed=1))
    assert "one of the page's examples" not in page.shown()
    page.visit.example = "shapes", str(shutil.copy(page.image, tmp_path / "example.png"))
    assert "This is one of the page's examples: it is kept once, and every answer counts." in page.shown()


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [
        ("to: FOLDER", "on this server, but no address; the image is deleted after 90 days unless"),
        ("to: FOLDER, keep_days: 1", "the image is deleted after 1 day unless the owner accepts it. What is kept"),
        ("to: hf://datasets/me/birds", "in the private data set me/ birds on the Hugging Face Hub, but no address;"),
        ("to: hf://datasets/me/birds, private: false", "in the public data set me/ birds on the Hugging Face Hub"),
    ],
    ids=["folder", "one day", "private", "public"],
)
def test_page_says_what_is_kept_where_and_for_how_long(make_service, image, fakes, tmp_path, feedback, expected):
    text = feedback.replace("FOLDER", f"{tmp_path}/kept")
    page = Page(make_service(f"backbones: ['fake:a']\nfeedback: {{{text}}}"), image, tmp_path / "kept")
    shown = text_of(page.classify())
    assert expected in shown
    assert "(re-encoded, without EXIF)" in shown


@pytest.mark.parametrize(
    ("given", "labels", "expected"),
    [
        ("cat", ["cat"], "“cat” is right."),
        ("owl", ["cat"], "it is “owl”, not “cat”."),
        ("cat", ["cat", "cat"], "it is “cat”, as both backbones say."),
        ("cat", ["cat"] * 3, "it is “cat”, as all 3 backbones say."),
        ("cat", ["dog", "cat", "owl"], "it is “cat”, as 1 of 3 backbones says."),
        ("cow", ["dog", "cat", "owl"], "it is “cow”, which none of the 3 backbones says."),
    ],
)
def test_sentence_says_what_was_recorded(given, labels, expected):
    assert sentence(given, labels) == f"Recorded: {expected}"


def test_classes_are_searched_over_http(page):
    client = TestClient(Starlette(routes=routes(page.service)))
    query = {"backbone": TWO, "text": "O"}
    assert client.get("/feedback/classes", params=query).json() == [
        {"label": "owl", "synonyms": ""},
        {"label": "dog", "synonyms": ""},
    ]
    unknown = client.get("/feedback/classes", params={"backbone": "nope", "text": "o"})
    assert (unknown.status_code, unknown.json()["remedy"][:10]) == (400, "use one of")


def test_page_without_a_folder_has_no_question(assembled, fakes):
    from lineup import features

    page = assembled("backbones: ['fake:a']", features.FEATURES.values())
    assert "feedback" not in page.element_ids
    assert routes(page.service) == []
    assert "feedback" not in {getattr(fn, "api_name", "") for fn in page.demo.fns.values()}


def test_question_is_part_of_the_page(assembled, fakes, tmp_path):
    from lineup import features

    page = assembled(f"backbones: ['fake:a']\nfeedback: {{to: {tmp_path}/kept}}", features.FEATURES.values())
    assert "Is “ cat ” right?" in text_of(page.answered("fake:a")["feedback"])
    [endpoint] = [fn for fn in page.demo.fns.values() if fn.api_name == "feedback"]
    assert endpoint.api_visibility == "undocumented"  # no tool of MCP
    assert not (tmp_path / "kept").exists()


def test_one_image_is_decoded_at_a_time(page, monkeypatch):
    monkeypatch.setattr(asking, "open_image", lambda *args, **kwargs: (asking._decoding.locked(), None)[1])
    page.collection = SimpleNamespace(add=lambda *args: SimpleNamespace(given="cat", locked=asking._decoding.locked()))
    page.classify()
    assert page.asking.record(page.image, "cat", list(page.visit.answers.values()), VISITOR).locked
