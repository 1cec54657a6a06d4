"""What is seen of the cluster: the owner's page, statuses and warnings, from what the broker has sent."""

import re
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from remotes import FakeRemote
from starlette.applications import Starlette
from starlette.testclient import TestClient

import app
from lineup.errors import LineupError, UnreachableError
from lineup.features import FEATURES
from lineup.features.cluster import notices
from lineup.inference.backbone_state import Loaded
from lineup.inference.cluster.client import RayBackbone
from lineup.inference.cluster.messages import Reply, State
from lineup.inference.cluster.status import ReplicaSeen, Seen
from lineup.inference.queue import ComputeQueue
from lineup.page import owner_pages

TOKEN = "a-secret-of-the-owner"
OWN = {"Origin": "http://testserver"}
SCRIPT = "<script>alert('a')</script>"
DASHBOARD = "http://10.0.0.1:8265"
BUSY = ReplicaSeen("abc1", "node-a", 17, ("fake:a", "fake:b"), {"fake:a": 3, "fake:b": 1}, 2, 1234, 5, 1.5)
SEEN = Seen("RUNNING", "", {"RUNNING": 2}, (BUSY, ReplicaSeen("abc2", "node-b", 18)), ("10.0.0.1",), DASHBOARD)
RUNS = State((), 2, DASHBOARD, SEEN)
GONE = State(("cluster", "a connection to it", "it was lost, and is made again", "check it"))


@dataclass
class FakeLink:
    """A connection whose state a test sets."""

    state: State = RUNS
    starting: LineupError | None = None  # raised by `start`
    starts: int = 0

    @property
    def problem(self):
        return UnreachableError(*self.state.problem) if self.state.problem else None

    @property
    def notice(self):
        return str(self.problem or "")

    def start(self):
        self.starts += 1
        if self.starting:
            raise self.starting

    def ask(self, *_):
        return Reply(0, "answered", "torch")


@pytest.fixture
def served(make_service, fakes, monkeypatch):
    """Return a factory of a service and a client of the routes of all features."""
    monkeypatch.setenv("LINEUP_OWNER_TOKEN", TOKEN)

    def make(text="cluster: {address: auto}", link=None):
        service = make_service(f"title: Pets\nbackbones: ['fake:a', 'fake:b']\nrest: {{enabled: false}}\n{text}\n")
        if link:
            service.cluster = link
        features = [FEATURES["feedback"], FEATURES["cluster"]]
        return service, TestClient(Starlette(routes=app._routes(service, features)), follow_redirects=False)

    return make


def sign_in(client):
    assert client.post("/owner/sign-in", data={"token": TOKEN}, headers=OWN).status_code == 303
    return client


def page(served, state=RUNS):
    _, client = served(link=FakeLink(state))
    answer = sign_in(client).get("/owner/cluster")
    assert answer.status_code == 200
    return answer.text


def words(text):
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_owner_sees_what_each_replica_does(served):
    text = page(served)
    assert "Running. Replicas: 2 running. Nodes: 10.0.0.1." in words(text)
    assert "abc1 fake: a, fake: b node-a:17 2 1.5 1,234 5 fake: a 3, fake: b 1" in words(text)
    assert "abc2 – node-b:18 0 0.0 0 0 –" in words(text)
    assert f'href="{DASHBOARD}"' in text
    assert "lu-notice" not in text


def test_notice_says_that_the_cluster_is_gone(served):
    text = words(page(served, GONE))
    assert "The cluster cannot be asked now It was lost, and is made again; check it." in text
    assert "The page connects again when the cluster is back." in text
    assert "Backbones" in text
    assert "Replicas" not in text


def test_replicas_that_start_are_shown_with_the_reason(served):
    seen = Seen("DEPLOYING", "no node has 3 GPUs", {"STARTING": 1}, (ReplicaSeen("abc3"),), ("10.0.0.1",))
    text = words(page(served, State(("cluster", "it to run", "it is DEPLOYING", "wait"), 0, "", seen)))
    assert "Deploying. Replicas: 1 starting." in text
    assert "Ray Serve no node has 3 GPUs" in text
    assert "abc3 – starting" in text


def test_names_from_other_machines_are_escaped(served):
    replica = ReplicaSeen(SCRIPT, SCRIPT, 1, (SCRIPT,), {SCRIPT: 1})
    seen = replace(SEEN, message=SCRIPT, replicas=(replica,), nodes=(SCRIPT,), states={SCRIPT: 1}, status=SCRIPT)
    text = page(served, State((), 1, "javascript:alert(1)", seen))
    assert "<script>" not in text.replace('<script src="', "")
    assert "javascript:" not in text
    assert "alert(" in text


def test_page_asks_for_a_connection_and_says_why_there_is_none(served):
    link = FakeLink(starting=LineupError("cluster", "Ray", "it is not installed", "pip install it"))
    answer = sign_in(served(link=link)[1]).get("/owner/cluster")
    assert (answer.status_code, link.starts) == (503, 1)
    assert "It is not installed; pip install it." in words(answer.text)


def test_without_feedback_the_owner_comes_to_the_cluster(served):
    _, client = served(link=FakeLink())
    answer = client.get("/owner/cluster")
    assert (answer.status_code, answer.headers["location"]) == (303, "/owner/sign-in")
    assert client.get("/owner").headers["location"] == "/owner/sign-in"
    assert sign_in(client).get("/owner").headers["location"] == "/owner/cluster"
    assert "<nav" not in client.get("/owner/cluster").text


def test_one_sign_in_opens_the_views_of_all_features(served):
    _, client = served("cluster: {address: auto}\nfeedback: {to: kept}", FakeLink())
    sign_in(client)
    for address in ("", "/cluster"):
        text = client.get(f"/owner{address}").text
        assert re.findall(r'<a href="(/owner[^"]*)"', text)[-4:] == [
            "/owner",
            "/owner?view=corrections",
            "/owner?view=accepted",
            "/owner/cluster",
        ]
        assert f'href="/owner{address}" aria-current="page"' in text
    client.post("/owner/sign-out", headers=OWN)
    assert client.get("/owner/cluster").status_code == 303


def test_without_a_cluster_there_is_no_page_of_it(served):
    _, client = served("feedback: {to: kept}")
    assert sign_in(client).get("/owner").status_code == 200
    assert client.get("/owner/cluster").status_code == 404
    _, client = served("")
    assert client.get("/owner/sign-in").status_code == 404


@pytest.mark.parametrize("path", ["", "/", "/cluster", "/sign-in", "/style.css"])
def test_without_a_token_there_is_nothing_below_owner(served, monkeypatch, path):
    monkeypatch.delenv("LINEUP_OWNER_TOKEN")
    _, client = served(link=FakeLink())
    assert client.get(f"/owner{path}").status_code == 404


def test_pages_do_not_keep_their_service(served):
    service, _ = served(link=FakeLink())
    other, _ = served(link=FakeLink())
    assert owner_pages.of(service) is owner_pages.of(service)
    assert owner_pages.of(service) is not owner_pages.of(other)


def test_warning_says_that_the_cluster_is_gone(served):
    assert notices.warnings(served(link=FakeLink())[0]) == []
    assert notices.warnings(served("")[0]) == []
    [warning] = notices.warnings(served(link=FakeLink(GONE))[0])
    assert "it was lost, and is made again" in warning


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (RUNS, "2 replicas of the cluster, loaded in 1 (1.5 answers/s)"),
        (State((), 1, "", replace(SEEN, replicas=())), "1 replica of the cluster, loaded in 0"),
        (State((), 2), "2 replicas of the cluster"),
        (GONE, "a cluster that does not answer now"),
    ],
    ids=["loaded", "loaded nowhere", "not seen yet", "gone"],
)
def test_backbone_says_which_replicas_compute_it(make_service, fakes, state, text):
    config = make_service("backbones: ['fake:a']").config
    assert RayBackbone(FakeLink(state), config, config.backbones[0], "classes").where == text


def test_status_says_where_a_backbone_is_computed(make_service, fakes, image):
    fakes.more["a"] = {"remote": FakeRemote().connect}
    service = make_service("backbones: ['fake:a', 'fake:b']")
    assert service.status("fake:a").computed_by == ""  # it is not known before it is connected
    service.classify(image, "fake:a")
    service.classify(image, "fake:b")
    assert [status.to_json()["computed_by"] for status in service.backbones()] == ["far.example", ""]


def test_requests_that_wait_for_it_are_counted():
    queue = SimpleNamespace(n_waiting=0)
    loaded = Loaded(None, None, "remote", None, remote=FakeRemote(), queue=queue)
    assert loaded.computed_by == "far.example"
    queue.n_waiting = 1
    assert loaded.computed_by == "far.example; 1 request waits"
    queue.n_waiting = 3
    assert loaded.computed_by == "far.example; 3 requests wait"
    assert ComputeQueue(lambda: 1).n_waiting == 0
