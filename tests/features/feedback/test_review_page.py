"""The owner's page over HTTP: what it shows, what it takes, and what it keeps to itself."""

import html
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from lineup.errors import LineupError
from lineup.features.feedback import feature, review_page
from lineup.features.feedback.records import AnswerRow, Said
from lineup.page import owner_pages
from lineup.server.allowlist import AllowlistMiddleware

TOKEN = "a-secret-of-the-owner"
OWN = {"Origin": "http://testserver"}
SCRIPT = "<script>alert('a')</script>"


@pytest.fixture
def owner(make_service, fakes, monkeypatch):
    """A client that is signed in, and the feedback behind it."""
    monkeypatch.setenv("LINEUP_OWNER_TOKEN", TOKEN)
    service = make_service("{title: Pets, feedback: {to: kept, per_visitor: 1000}, backbones: ['fake:a', 'fake:b']}")
    return Owner(service)


class Owner:
    def __init__(self, service, parts=None):
        self.service, self.parts = service, parts or feature.of(service)
        app = Starlette(routes=[*review_page.routes(service, self.parts), *owner_pages.routes(service)])
        self.client = TestClient(app, follow_redirects=False)
        assert self.client.post("/owner/sign-in", data={"token": TOKEN}, headers=OWN).status_code == 303

    def give(self, given, said=("cat",), seed=0, probability=0.5):
        image = Image.new("RGB", (64, 48), (seed % 256, seed // 256, 90))
        answers = [Said(f"fake:{name}", "", label, probability) for name, label in zip("ab", said, strict=False)]
        return self.parts.collection.add(image, given, answers, "1.2.3.4").image

    def page(self, query=""):
        answer = self.client.get(f"/owner{query}")
        assert answer.status_code == 200
        return answer.text

    def decide(self, **values):
        return self.client.post("/owner/review", json=values, headers=OWN)

    def rows(self, query=""):
        """Return the rows of the page: the label, and the ids of its images."""
        parts = re.split(r'<div class="lu-row ', self.page(query))[1:]
        found = [re.search(r"<h3 [^>]*>([^<]*)</h3>", part)[1] for part in parts]
        ids = [re.findall(r'type="checkbox" value="(\w+)"', part) for part in parts]
        return [(html.unescape(label), set(some)) for label, some in zip(found, ids, strict=True)]


def test_images_are_in_rows_by_label_with_the_disputed_ones_first(owner):
    agreed = owner.give("cat", ["cat", "cat"], 1)
    disputed = {owner.give("dog", ["cat", "dog"], 2), owner.give("dog", ["owl"], 3)}
    ant = owner.give("ant", ["cat"], 4)
    assert owner.rows() == [("ant", {ant}), ("dog", disputed), ("cat", {agreed})]
    text = owner.page()
    assert text.index("Backbones and visitors disagree") < text.index("Backbones and visitors agree")


def test_tile_says_what_each_backbone_said(owner):
    owner.give("dog", ["cat", "dog"], probability=0.25)
    owner.give("hound", ["cat", "dog"], probability=0.25)
    owner.give("dog", ["cat", "owl"], probability=0.125)
    text = " ".join(re.sub(r"<[^>]+>", " ", owner.page()).split())
    assert "dog 2 hound 1" in text
    assert "cat fake: a 12.5%" in text
    assert "owl fake: b 12.5%" in text
    assert 'aria-label="Visitors: dog, hound; fake:a: cat; fake:b: owl"' in owner.page()


def test_decision_reads_each_answer_once(owner, monkeypatch):
    image, parsed = owner.give("dog"), []
    from_json = AnswerRow.from_json
    monkeypatch.setattr(AnswerRow, "from_json", lambda value: parsed.append(1) or from_json(value))
    assert owner.decide(action="accept", ids=[image]).json() == {"done": 1}
    assert len(parsed) == 1


def test_accepting_and_rejecting_move_the_images(owner):
    first, second, third = (owner.give("dog", seed=seed) for seed in range(3))
    assert owner.decide(action="accept", ids=[first]).json() == {"done": 1}
    assert owner.decide(action="accept", ids=[second], label="  old   hound ").json() == {"done": 1}
    assert owner.decide(action="reject", ids=[third]).json() == {"done": 1}
    kept = {
        path.relative_to(owner.parts.collection.root).as_posix() for path in owner.parts.collection.root.rglob("*.jpg")
    }
    assert kept == {f"accepted/dog/{first}.jpg", f"accepted/old hound/{second}.jpg"}
    assert "Nothing to review" in owner.page()
    assert "All images were reviewed: 2 are accepted." in owner.page()


def test_images_that_were_reviewed_in_another_tab_do_not_stop_the_others(owner):
    first, second = owner.give("dog", seed=1), owner.give("dog", seed=2)
    owner.decide(action="accept", ids=[first])
    assert owner.decide(action="accept", ids=[first, second, "0" * 16]).json() == {"done": 1}
    assert owner.decide(action="reject", ids=[first]).json() == {"done": 0}


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": "abc", "action": "accept"}, "ids"),
        ({"ids": [1], "action": "accept"}, "ids"),
        ({"ids": ["a"], "action": "delete"}, "action"),
        ({"ids": ["a"], "action": ["accept"]}, "action"),
        ({"ids": ["a"], "action": "accept", "label": 3}, "label"),
    ],
)
def test_other_requests_are_refused_with_a_sentence(owner, values, where):
    image = owner.give("dog")
    answer = owner.decide(**{**values, **({"ids": [image]} if values.get("ids") == ["a"] else {})})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{where}: expected ")
    assert owner.rows() == [("dog", {image})]


@pytest.mark.parametrize("label", ["", " ", "a\x00b", "a\u202eb", "x" * 101])
def test_labels_that_cannot_be_one_change_nothing(owner, label):
    image = owner.give("dog")
    answer = owner.decide(action="accept", ids=[image], label=label)
    assert answer.status_code == 400
    assert owner.rows() == [("dog", {image})]


def test_scripts_and_paths_in_labels_are_text(owner):
    images = {label: owner.give(label, [SCRIPT], seed) for seed, label in enumerate((SCRIPT, "../../etc/passwd"))}
    assert dict(owner.rows()) == {label: {image} for label, image in images.items()}
    assert SCRIPT not in owner.page()
    for image in images.values():
        owner.decide(action="accept", ids=[image])
    assert SCRIPT not in owner.page("?view=corrections")
    assert not (owner.parts.collection.root.parent / "etc").exists()


def test_image_and_its_thumbnail_are_shown_to_the_owner_only(owner):
    image = owner.give("dog")
    owner.page()
    full, small = owner.client.get(f"/owner/image/{image}"), owner.client.get(f"/owner/image/{image}?small")
    assert full.content == owner.parts.review.image(image).read_bytes()
    assert small.headers["content-type"] == full.headers["content-type"] == "image/jpeg"
    owner.client.cookies.clear()
    assert owner.client.get(f"/owner/image/{image}").status_code == 401
    assert owner.client.get("/owner/labels").status_code == 401
    assert owner.decide(action="reject", ids=[image]).status_code == 401
    assert owner.client.get("/owner").status_code == 303
    assert owner.parts.review.image(image).is_file()


@pytest.mark.parametrize("name", ["0" * 16, "%2e%2e%2fanswers", "answers.jsonl", "x" * 500, "\udcff"])
def test_ids_are_no_paths(owner, name):
    owner.give("dog")
    answer = owner.client.get(f"/owner/image/{name.encode(errors='replace').decode()}")
    assert answer.status_code == 404


def test_links_in_the_folder_are_not_followed(owner, tmp_path):
    image = owner.give("dog")
    owner.page()
    path, secret = owner.parts.review.image(image), tmp_path / "secret.jpg"
    path.rename(secret)
    path.symlink_to(secret)
    assert owner.client.get(f"/owner/image/{image}").status_code == 404


def test_changed_image_is_an_error_and_no_traceback(owner):
    image = owner.give("dog")
    owner.parts.review.image(image).write_bytes(b"no image")
    assert owner.client.get(f"/owner/image/{image}?small").status_code == 404


def test_more_images_than_a_page_are_on_several(owner, monkeypatch):
    monkeypatch.setattr(review_page, "PAGE_IMAGES", 2)
    images = {label: owner.give(label, seed=seed) for seed, label in enumerate("abcde")}
    shown = [owner.rows(f"?page={number}") for number in (1, 2, 3)]
    assert [[label for label, _ in rows] for rows in shown] == [["a", "b"], ["c", "d"], ["e"]]
    assert "3 to 4 of 5" in owner.page("?page=2")
    for wrong in ("0", "-1", "x", "", "%00", "٣"):
        assert owner.rows(f"?page={wrong}")[0][0] in ("a", "e")
    assert owner.rows("?page=99999999999999999999") == shown[2]
    owner.decide(action="accept", ids=[images["e"]])
    assert owner.rows("?page=3") == shown[1]


def test_row_over_several_pages_says_how_many_there_are(owner, monkeypatch):
    monkeypatch.setattr(review_page, "PAGE_IMAGES", 2)
    for seed in range(5):
        owner.give("dog", seed=seed)
    assert "<b data-left>2</b> on this page, 5 in all" in owner.page()


def test_100_000_images_are_grouped_into_pages():
    pending = [replace(IMAGE, id=str(number), label=f"label {number % 1000}") for number in range(100_000)]
    page = review_page.image_page(pending, 2, 300)
    assert (page.n, page.n_pages, page.first, page.last, len(page.rows)) == (100_000, 334, 301, 600, 3)
    assert page.rows[0].n == 100


IMAGE = review_page.PendingImage("0", "", (), (), None, False, ())


def test_corrections_have_intervals_and_say_who_gave_them(owner):
    for seed in range(3):
        owner.give("dog", ["cat", "dog"], seed)
    text = owner.page("?view=corrections")
    assert "visitors who chose to click" in text
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL)]
    assert rows == [
        "Backbone Answers Corrected Share, 95% interval",
        "fake: a 3 3 100%, 44 to 100% 3 of 3",
        "fake: b 3 0 0%, 0 to 56% 0 of 3",
        "Class Backbone Answers Corrected Share, 95% interval",
        "cat fake: a 3 3 100%, 44 to 100% 3 of 3",
    ]


def test_accepted_images_are_offered_to_the_commands(owner):
    assert "Nothing is accepted yet" in owner.page("?view=accepted")
    owner.decide(action="accept", ids=[owner.give("dog")])
    text = html.unescape(owner.page("?view=accepted"))
    folder = owner.parts.collection.root / "accepted"
    assert f"python -m lineup evaluate {folder}\n" in text.replace("</code>", "\n")
    assert f"python -m lineup train {folder} --out my-classes" in text
    assert 'href="/evaluate"' in text
    assert 'href="/classes"' in text


def test_doors_of_features_that_are_off_are_not_offered(make_service, fakes, monkeypatch):
    monkeypatch.setenv("LINEUP_OWNER_TOKEN", TOKEN)
    off = "{evaluation: {enabled: false}, training: {enabled: false}, feedback: {to: kept}, backbones: ['fake:a']}"
    owner = Owner(make_service(off))
    owner.decide(action="accept", ids=[owner.give("dog")])
    text = owner.page("?view=accepted")
    assert "lu-doors" not in text
    assert "python -m lineup evaluate" in text


def test_labels_of_all_backbones_can_be_searched(owner):
    assert owner.client.get("/owner/labels").json() == ["cat", "dog", "owl"]


class StandIn:
    """A copy on the Hub that has failed."""

    problem, n_unsent, pulled = "The Hub answers 403: give HF_TOKEN write access.", 3, 0

    def pull(self, timeout_s):
        self.pulled += 1


def test_problem_of_the_copy_on_the_hub_is_at_the_top(owner):
    copy = StandIn()
    owner = Owner(owner.service, replace(owner.parts, hub_copy=copy))
    owner.give("dog")
    text = owner.page()
    assert text.index("give HF_TOKEN write access. 3 files wait on this machine.") < text.index("lu-row")
    assert copy.pulled == 1
    copy.problem = ""
    assert "lu-notice" not in owner.page("?view=corrections")


@pytest.mark.parametrize("token", [None, "", "too-short"])
def test_without_a_token_there_are_no_routes(make_service, fakes, monkeypatch, token):
    if token is None:
        monkeypatch.delenv("LINEUP_OWNER_TOKEN", raising=False)
    else:
        monkeypatch.setenv("LINEUP_OWNER_TOKEN", token)
    service = make_service("{feedback: {to: kept}, backbones: ['fake:a']}")
    assert [*review_page.routes(service, feature.of(service)), *owner_pages.routes(service)] == []


@pytest.mark.parametrize("path", ["/owner", "/owner/sign-in", "/owner/review", "/owner/image/0123456789abcdef"])
def test_without_a_token_paths_are_as_unknown_as_any(make_service, fakes, monkeypatch, path):
    monkeypatch.delenv("LINEUP_OWNER_TOKEN", raising=False)
    service = make_service("{feedback: {to: kept}, backbones: ['fake:a']}")
    routes = [*review_page.routes(service, feature.of(service)), *owner_pages.routes(service)]
    stack = [Middleware(AllowlistMiddleware, SimpleNamespace(pages=[("", "Home", True)]), routes)]
    client = TestClient(Starlette(routes=routes, middleware=stack))
    for method in ("GET", "POST", "HEAD", "PUT"):
        answers = [client.request(method, each) for each in (path, path.replace("owner", "other"))]
        assert answers[0].status_code == answers[1].status_code == 404
        assert answers[0].headers == answers[1].headers
        assert answers[0].text.replace("owner", "other") == answers[1].text


def test_full_disk_is_a_sentence(owner, monkeypatch):
    image = owner.give("dog")

    def full(*_):
        raise LineupError("feedback", "a folder", "writing failed (No space left on device)", "free some")

    monkeypatch.setattr(owner.parts.review, "accept", full)
    answer = owner.decide(action="accept", ids=[image])
    assert answer.status_code == 400
    assert "No space left" in answer.json()["detail"]


def test_folder_that_cannot_be_read_is_a_sentence(owner, monkeypatch):
    def unreadable():
        raise LineupError("/data/kept", "a folder that can be read", "Permission denied", "check it")

    monkeypatch.setattr(owner.parts.review, "pending", unreadable)
    answer = owner.client.get("/owner")
    assert answer.status_code == 503
    assert "Permission denied; check it." in answer.text
    assert answer.headers["cache-control"] == "no-store"
