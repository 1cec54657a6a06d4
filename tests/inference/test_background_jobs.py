"""Jobs in threads of their own: how many run at once."""

import threading
from contextlib import nullcontext

import pytest

from lineup.errors import BusyError
from lineup.inference.background_jobs import BackgroundJobs
from lineup.inference.jobs import Jobs


class OneAtATime(BackgroundJobs):
    """Jobs that run until they are let go."""

    max_running = 1

    def __init__(self, jobs):
        super().__init__("job", jobs)
        self.go_on = threading.Event()

    def _work(self, job):
        self.go_on.wait(30)


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path, lambda cancelled: nullcontext())


@pytest.fixture
def background(jobs):
    background = OneAtATime(jobs)
    yield background
    background.go_on.set()
    for thread in background._threads:
        thread.join(30)


def test_two_starts_at_once_find_room_for_one(jobs, background, monkeypatch):
    first, second = (jobs.create("job", {}, 1) for _ in range(2))
    refused, started, start = threading.Event(), [], jobs.start

    def start_another():
        try:
            started.append(background.start(second))
        except BusyError:
            refused.set()

    def start_slowly(name, work):
        other = threading.Thread(target=start_another)
        if name == first:
            other.start()
            other.join(0.2)  # it waits for this start, and then finds no room
        return start(name, work)

    monkeypatch.setattr(jobs, "start", start_slowly)
    started.append(background.start(first))
    assert refused.wait(10)
    assert len(started) == 1
