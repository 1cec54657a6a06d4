"""Answers of a Ray cluster, as the page's process gets them."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import cluster_fakes
import numpy as np
import pytest
from drawing import draw
from programs import module
from ray_cluster import ray_cluster

from lineup import registry
from lineup.errors import (
    BackboneError,
    BusyError,
    ForwardTimeout,
    ImageError,
    LineupError,
    UnknownBackboneError,
    UnreachableError,
)

BACKBONES = "backbones: ['fake:a', 'fake:b', 'fake:c']\nengine: torch\nprecision: float32\ntop_k: 3\n"
LIMITS = "limits: {forward_timeout_s: 30}\n"  # twice that is the deadline, within which a replica must start
DEADLINE_S = 60.0
SHORT = "limits: {forward_timeout_s: 4}\n"


@pytest.fixture(scope="module")
def cluster():
    module("ray", "requirements-cluster.txt")
    with ray_cluster() as running:
        yield running


@pytest.fixture
def front(cluster, make_service, monkeypatch, tmp_path):
    """Return a factory of services in front of the cluster, to which their config is deployed first."""
    monkeypatch.setitem(registry.SOURCES, "fake", cluster_fakes.plan)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = []

    def make(section="replicas: {max: 1}, cpus: 0.5", text=BACKBONES + LIMITS, deploy=True):
        text += f"cluster: {{address: '{cluster.address}', {section}}}\n"
        if deploy:
            cluster.call("deploy", text, str(tmp_path))
        service = make_service(text)
        made.append(service)
        return service

    yield make
    for service in made:
        link(service).close()


def link(service):
    return service.cluster


def alone(make_service):
    return make_service(BACKBONES + LIMITS)


def close_to(answer, expected):
    """Tell whether two answers are the same: classes, and probabilities up to float32."""
    pairs = zip(answer.predictions, expected.predictions, strict=True)
    return all(a.label == b.label and abs(a.probability - b.probability) <= 1e-6 for a, b in pairs)


def test_answer_of_a_replica_that_is_killed_comes_from_the_next(front, cluster, make_service, image):
    service = front()
    expected = alone(make_service).classify(image, "fake:a")
    answer = service.classify(image, "fake:a")
    assert close_to(answer, expected)
    assert (answer.engine, answer.device, answer.notes) == ("torch", "cpu", expected.notes)
    [replica] = cluster.replicas()
    os.kill(replica["pid"], signal.SIGKILL)
    started = time.monotonic()
    assert close_to(service.classify(image, "fake:a"), expected)
    assert time.monotonic() - started < DEADLINE_S


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return [draw(folder / f"{index}.png", seed=index, size=(80, 60)) for index in range(20)]


class Load:
    """Requests from several threads, each of which sends the next image as soon as it has its answer."""

    def __init__(self, service, images, expected, threads=6):
        self._service, self._images, self._expected = service, images, expected
        self.lates, self.wrong, self.errors = [], 0, []
        for name in "abc":  # the first answer waits for a load
            service.classify(images[0], f"fake:{name}")
        self._stop, self._threads = threading.Event(), ThreadPoolExecutor(threads)
        self._running = [self._threads.submit(self._run, index) for index in range(threads)]

    def _run(self, start):
        number = start
        while not self._stop.is_set():
            number += 1
            self.send(number)

    def send(self, number):
        name, image = f"fake:{'abc'[number % 3]}", self._images[number % len(self._images)]
        started = time.monotonic()
        try:
            answer = self._service.classify(image, name)
        except LineupError as error:
            self.errors.append(error)
        else:
            self.wrong += not close_to(answer, self._expected[image, name])
        self.lates.append(time.monotonic() - started)

    def wait(self, count):
        until = time.monotonic() + 120
        while len(self.lates) < count:
            assert time.monotonic() < until, (len(self.lates), self.errors[:3])
            time.sleep(0.02)

    def end(self):
        self._stop.set()
        for running in self._running:
            running.result(60)

    def assert_all_right(self):
        assert (self.errors, self.wrong) == ([], 0)
        print("latest answers:", [round(late, 2) for late in sorted(self.lates)[-12:]], "of", len(self.lates))
        assert max(self.lates) < DEADLINE_S


@pytest.fixture
def expected(make_service, images, monkeypatch):
    monkeypatch.setitem(registry.SOURCES, "fake", cluster_fakes.plan)
    service = alone(make_service)
    return {(image, f"fake:{name}"): service.classify(image, f"fake:{name}") for image in images for name in "abc"}


TWO = "replicas: {min: 2, max: 2}, backbones_per_replica: 3, cpus: 0.5"


@pytest.mark.long
def test_no_answer_is_lost_or_wrong_when_a_replica_is_killed_among_500_requests(front, cluster, images, expected):
    service = front(TWO)
    replicas = cluster.replicas(2)
    load = Load(service, images, expected)
    load.wait(150)
    os.kill(replicas[0]["pid"], signal.SIGKILL)
    load.wait(500)
    load.end()
    load.assert_all_right()


@pytest.mark.long
def test_update_of_the_config_under_load_fails_no_request(front, cluster, images, expected, tmp_path):
    service = front(TWO)
    before = {replica["id"] for replica in cluster.replicas(2)}
    load = Load(service, images, expected)
    load.wait(50)
    text = BACKBONES + LIMITS + f"title: New\ncluster: {{address: '{cluster.address}', {TWO}}}\n"
    cluster.call("deploy", text, str(tmp_path))
    until = time.monotonic() + 60
    while {replica["id"] for replica in cluster.call("seen")["replicas"]} & before:
        assert time.monotonic() < until
        time.sleep(0.2)
    load.wait(len(load.lates) + 50)
    load.end()
    load.assert_all_right()


@pytest.mark.long
def test_node_may_leave_and_another_one_join_under_load(front, cluster, images, expected):
    cluster.call("add_node")
    service = front("replicas: {min: 2, max: 2}, backbones_per_replica: 3, cpus: 1.5")  # one on each node
    cluster.replicas(2)
    load = Load(service, images, expected)
    load.wait(100)
    cluster.call("remove_node")
    load.wait(250)
    cluster.call("add_node")
    cluster.replicas(2)
    load.wait(len(load.lates) + 100)
    load.end()
    load.assert_all_right()
    cluster.call("remove_node")


@pytest.mark.long
def test_backbones_stay_on_replicas_that_have_them(front, cluster, images, expected):
    service = front("replicas: {min: 2, max: 2}, backbones_per_replica: 2, cpus: 0.5")
    cluster.replicas(2)
    for number in range(60):
        name, image = f"fake:{'ab'[number % 2]}", images[number % 20]
        assert close_to(service.classify(image, name), expected[image, name])
    time.sleep(2.5)  # replicas tell every two seconds
    found = cluster.replicas(2)
    loads = sum(sum(replica["loads"].values()) for replica in found)
    print("loads of 2 backbones in 60 requests:", loads)
    assert 2 <= loads <= 4
    assert sum(replica["answers"] for replica in found) >= 60
    assert service.classify(images[0], "fake:c")
    time.sleep(2.5)
    assert all(len(replica["loaded"]) <= 2 for replica in cluster.replicas(2))


@pytest.mark.long
def test_replica_whose_forward_pass_hangs_is_replaced(front, cluster, images, expected, tmp_path):
    service = front(text=BACKBONES + SHORT)
    [before] = cluster.replicas()
    service.classify(images[0], "fake:a")
    (tmp_path / "a.hang").touch()
    started = time.monotonic()
    with pytest.raises(ForwardTimeout, match="expected an answer within 4 s; it is still computing"):
        service.classify(images[0], "fake:a")
    assert time.monotonic() - started < 8
    (tmp_path / "a.hang").unlink()
    until = time.monotonic() + 60
    while [replica["id"] for replica in cluster.replicas()] == [before["id"]]:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert close_to(service.classify(images[0], "fake:a"), expected[images[0], "fake:a"])


@pytest.mark.long
def test_replica_that_is_stopped_costs_its_request_the_deadline(front, cluster, images):
    service = front(text=BACKBONES + SHORT)
    service.classify(images[0], "fake:a")
    [replica] = cluster.replicas()
    os.kill(replica["pid"], signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(ForwardTimeout, match="within 8 s"):
            service.classify(images[0], "fake:a")
        assert time.monotonic() - started < 10
        until = time.monotonic() + 90
        while [each["id"] for each in cluster.call("seen")["replicas"] if each["pid"]] in ([replica["id"]], []):
            assert time.monotonic() < until, cluster.call("seen")
            time.sleep(0.5)
    finally:
        with suppress(ProcessLookupError):
            os.kill(replica["pid"], signal.SIGKILL)
    assert service.classify(images[0], "fake:a")


@pytest.mark.long
def test_page_answers_again_when_the_cluster_is_back(front, cluster, images, expected, tmp_path):
    service = front()
    service.classify(images[0], "fake:a")
    cluster.call("end")
    until = time.monotonic() + 60
    while True:
        started = time.monotonic()
        try:
            service.classify(images[0], "fake:a")
        except UnreachableError as error:
            problem = error
            break
        except BusyError:
            pass
        assert time.monotonic() < until
    assert "cluster" in str(problem)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(UnreachableError):
            service.classify(images[0], "fake:a")
        assert time.monotonic() - started < 1  # at once
    assert service.status("fake:a").status == "unavailable"
    cluster.call("start")
    cluster.call("deploy", BACKBONES + LIMITS + "cluster: {replicas: {max: 1}, cpus: 0.5}\n", str(tmp_path))
    until = time.monotonic() + 90
    while True:
        try:
            answer = service.classify(images[0], "fake:a")
            break
        except LineupError:
            assert time.monotonic() < until
            time.sleep(0.5)
    assert close_to(answer, expected[images[0], "fake:a"])


@pytest.mark.long
def test_errors_and_outputs_are_those_of_one_machine(front, make_service, cluster, image, images, tmp_path):
    service, local = front(), alone(make_service)
    (tmp_path / "text.jpg").write_text("no image")
    for wrong in (tmp_path / "text.jpg", tmp_path / "none.jpg"):
        with pytest.raises(ImageError) as here:
            local.classify(wrong, "fake:a")
        with pytest.raises(ImageError) as there:
            service.classify(wrong, "fake:a")
        assert str(there.value) == str(here.value)
    with pytest.raises(UnknownBackboneError, match="expected a name of the line-up; got 'fake:d'"):
        service.classify(image, "fake:d")
    assert service.classify(image, "fake:b").model_input_jpeg == local.classify(image, "fake:b").model_input_jpeg
    comparison, expected = service.compare(image), local.compare(image)
    assert comparison.agreement == expected.agreement
    for name, answer in comparison.answers.items():
        assert close_to(answer, expected.answers[name])
    with service.pinned("fake:a") as there, local.pinned("fake:a") as here:
        assert np.abs(there.outputs(images[:3]) - here.outputs(images[:3])).max() <= 1e-5


@pytest.mark.long
def test_entry_that_differs_in_the_cluster_is_refused(front, cluster, image):
    front()
    other = front(text=BACKBONES.replace("'fake:a'", "{name: 'fake:a', backbone: 'fake:b'}") + LIMITS, deploy=False)
    with pytest.raises(BackboneError, match="expected the same entry in the cluster's config; its config has another"):
        other.classify(image, "fake:a")
    assert other.classify(image, "fake:c")


@pytest.mark.long
def test_request_of_a_client_that_left_is_cancelled_in_the_replica(front, cluster, images, tmp_path):
    service = front()
    service.classify(images[0], "fake:a")
    (tmp_path / "a.sleep").write_text("3")
    left = threading.Event()
    threading.Timer(0.5, left.set).start()
    started = time.monotonic()
    with pytest.raises(LineupError, match="the client disconnected"):
        service.classify(images[0], "fake:a", cancelled=left.is_set)
    assert time.monotonic() - started < 2
