import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from waiting import until

from lineup.errors import INTERNAL_ERROR, ClientDisconnected, LineupError
from lineup.inference import jobs as jobs_module
from lineup.inference.jobs import Jobs
from lineup.inference.queue import ComputeQueue

ROOT = Path(__file__).parents[2]
WORKER = """
import sys
from contextlib import nullcontext
from pathlib import Path
from lineup.inference.jobs import Jobs

def work(job):
    for item in range(job.done, 6):
        job.record([{"item": item, "by": "killed"}])
        print(item, flush=True)
        if item == 3:
            sys.stdin.read()

Jobs(Path(sys.argv[1]), lambda cancelled: nullcontext()).run(sys.argv[2], work)
"""


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jobs(tmp_path, clock):
    return Jobs(tmp_path / "jobs", lambda cancelled: nullcontext(), clock)


def record_all(job):
    for item in range(job.done, job.settings["items"]):
        with job.slice():
            result = {"item": item}
        job.record([result])


@contextmanager
def worker(tmp_path, name):
    """Run a job in another process, which blocks after four of six items, and kill it at the end."""
    command = [sys.executable, "-c", WORKER, str(tmp_path / "jobs"), name]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            while process.stdout.readline().strip() != "3":
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_results_are_on_disk_in_the_order_of_the_items(jobs, tmp_path):
    name = jobs.create("evaluation", {"items": 5, "folder": "birds"}, 5)
    status = jobs.run(name, record_all)
    assert (status.state, status.done, status.total, status.problem) == ("done", 5, 5, "")
    assert (status.kind, status.settings) == ("evaluation", {"items": 5, "folder": "birds"})
    again = Jobs(tmp_path / "jobs", lambda cancelled: nullcontext())
    assert list(again.results(name)) == [{"item": item} for item in range(5)]
    assert again.status(name) == status


def test_progress_has_the_rate_of_the_last_records_and_the_time_left(jobs, clock):
    seen, name = [], jobs.create("evaluation", {}, 1000)

    def work(job):
        seen.append(jobs.status(name))
        for _ in range(10):
            clock.now_s += 2
            job.record([{}] * 8)
        seen.append(jobs.status(name))
        clock.now_s += 20
        seen.append(jobs.status(name))

    jobs.run(name, work)
    assert [(each.state, each.done) for each in seen] == [("running", 0), ("running", 80), ("running", 80)]
    assert [each.rate_per_s for each in seen] == [None, 4, 2]  # halved by 20 seconds without a result
    assert [each.time_left_s for each in seen] == [None, 230, 460]


def test_the_rate_forgets_a_slow_start(jobs, clock):
    name = jobs.create("evaluation", {}, 1000)

    def work(job):
        clock.now_s += 1000  # loads a backbone
        for _ in range(100):
            clock.now_s += 1
            job.record([{}])
        assert job.rate_per_s == 1

    assert jobs.run(name, work).state == "done"


def test_a_resumed_job_counts_its_own_items_only_for_the_rate(jobs, clock):
    name = jobs.create("evaluation", {}, 10)

    def fail(job):
        job.record([{}] * 6)
        raise LineupError("", "", "no")

    def resume(job):
        clock.now_s += 4
        job.record([{}] * 2)
        assert (job.done, job.rate_per_s, jobs.status(name).time_left_s) == (8, 0.5, 4)

    assert jobs.run(name, fail).problem == "no"
    status = jobs.run(name, resume)
    assert (status.state, status.problem) == ("done", "")


@pytest.mark.parametrize("moment", ["in a slice", "before a slice", "after a record"])
def test_a_cancelled_job_ends_and_can_be_resumed(jobs, tmp_path, moment):
    name = jobs.create("evaluation", {"items": 4}, 4)
    other = Jobs(tmp_path / "jobs", lambda cancelled: nullcontext())  # as another process has

    def work(job):
        job.record([{"item": 0}])
        if moment == "before a slice":
            other.cancel(name)
        with job.slice():
            if moment == "in a slice":
                other.cancel(name)
        assert moment != "before a slice"
        if moment == "after a record":
            other.cancel(name)
        job.record([{"item": 1}])
        raise AssertionError(f"it goes on after {moment}")

    status = jobs.run(name, work)
    assert (status.state, status.problem) == ("cancelled", "")
    assert jobs.run(name, record_all).state == "done"
    assert [result["item"] for result in jobs.results(name)] == [0, 1, 2, 3]


def test_a_job_that_waits_for_its_turn_can_be_cancelled(tmp_path):
    queue = ComputeQueue(lambda: 10)
    jobs = Jobs(tmp_path / "jobs", queue.background_turn)
    name = jobs.create("evaluation", {"items": 4}, 4)
    with queue.turn():
        thread = jobs.start(name, record_all)
        until(lambda: queue._queued)
        assert jobs.status(name).state == "running"
        jobs.cancel(name)
        thread.join(10)
    assert (jobs.status(name).state, jobs.status(name).done) == ("cancelled", 0)


def test_a_request_overtakes_the_next_slice_of_a_job(tmp_path):
    queue, order = ComputeQueue(lambda: 10), []
    jobs = Jobs(tmp_path / "jobs", queue.background_turn)

    def request():
        with queue.turn():
            order.append("request")

    def work(job):
        for item in range(3):
            with job.slice():
                order.append(item)
                if item == 0:
                    thread.start()
                    until(lambda: len(queue) == 1)

    thread = threading.Thread(target=request)
    assert jobs.run(jobs.create("evaluation", {}, 3), work).state == "done"
    thread.join(10)
    assert order == [0, "request", 1, 2]


def test_a_killed_process_leaves_an_interrupted_job_to_resume(jobs, tmp_path):
    name = jobs.create("evaluation", {"items": 6}, 6)
    with worker(tmp_path, name):
        status = jobs.status(name)
        assert (status.state, status.done, status.rate_per_s, status.time_left_s) == ("running", 4, None, None)
    status = jobs.status(name)
    assert (status.state, status.done) == ("interrupted", 4)
    assert jobs.run(name, record_all).state == "done"
    results = list(jobs.results(name))
    assert [result["item"] for result in results] == [0, 1, 2, 3, 4, 5]
    assert [result.get("by") for result in results] == ["killed"] * 4 + [None] * 2


def test_job_that_ends_during_a_request_of_its_status_has_its_problem(jobs, monkeypatch):
    def ended(folder):
        jobs_module._write_state(folder, "failed", "no space")
        return False

    name = jobs.create("evaluation", {}, 1)
    monkeypatch.setattr(jobs_module, "_is_locked", ended)
    assert (jobs.status(name).state, jobs.status(name).problem) == ("failed", "no space")


def test_half_a_result_is_discarded_and_computed_again(jobs, tmp_path):
    name = jobs.create("evaluation", {"items": 3}, 3)
    (tmp_path / "jobs" / name / "results.jsonl").write_text('{"item": 0}\n{"item": 1')
    assert (jobs.status(name).done, list(jobs.results(name))) == (1, [{"item": 0}])
    assert jobs.run(name, record_all).done == 3
    assert [result["item"] for result in jobs.results(name)] == [0, 1, 2]


def test_a_second_writer_gets_an_error_and_the_first_goes_on(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "LOCK_TIMEOUT_S", 0.05)
    name = jobs.create("evaluation", {"items": 6}, 6)
    message = "job: expected a job that is not running; it is running already; wait for its end, or cancel it"
    with worker(tmp_path, name) as process:
        with pytest.raises(LineupError, match=message):
            jobs.start(name, record_all)
        assert jobs.status(name).state == "running"
        process.communicate(timeout=30)
    assert (jobs.status(name).state, jobs.status(name).done) == ("done", 6)


def test_a_job_runs_once_in_a_process(jobs, monkeypatch):
    monkeypatch.setattr(jobs_module, "LOCK_TIMEOUT_S", 0.05)
    name = jobs.create("evaluation", {}, 1)

    def work(job):
        with pytest.raises(LineupError, match="it is running already"):
            jobs.run(name, record_all)
        assert jobs.status(name).state == "running"

    assert jobs.run(name, work).state == "done"


def test_a_started_job_does_not_block_its_caller(jobs):
    name, go_on = jobs.create("evaluation", {}, 1), threading.Event()
    thread = jobs.start(name, lambda job: go_on.wait(10) and job.record([{}]))
    assert jobs.status(name).state == "running"
    go_on.set()
    thread.join(10)
    assert jobs.status(name).state == "done"


@pytest.mark.parametrize(
    ("error", "problem", "logged"),
    [(LineupError("a.jpg", "an image", "it is damaged"), "a.jpg: expected an image; it is damaged", False),
     (ZeroDivisionError("of a network"), INTERNAL_ERROR, True)],
)  # fmt: skip
def test_a_failed_job_keeps_its_results_and_its_error(jobs, caplog, error, problem, logged):
    def work(job):
        job.record([{"item": 0}])
        raise error

    name = jobs.create("evaluation", {"items": 2}, 2)
    status = jobs.run(name, work)
    assert (status.state, status.done, status.problem) == ("failed", 1, problem)
    assert ("of a network" in caplog.text) is logged
    assert jobs.run(name, record_all).state == "done"


def test_a_full_disk_is_an_error_and_nothing_is_lost(jobs):
    class Full:
        def write(self, body):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    def work(job):
        job.record([{"item": 0}])
        job._results, results = Full(), job._results
        results.close()
        job.record([{"item": 1}])

    name = jobs.create("evaluation", {"items": 2}, 2)
    problem = "job: expected results on disk; writing failed (No space left on device); free some space, and resume it"
    assert (jobs.run(name, work).problem, jobs.status(name).done) == (problem, 1)
    assert jobs.run(name, record_all).done == 2


def test_an_interrupt_leaves_an_interrupted_job(jobs):
    def work(job):
        job.record([{"item": 0}])
        raise KeyboardInterrupt

    name = jobs.create("evaluation", {"items": 2}, 2)
    with pytest.raises(KeyboardInterrupt):
        jobs.run(name, work)
    assert jobs.status(name).state == "interrupted"
    assert jobs.run(name, record_all).state == "done"


@pytest.mark.parametrize("name", ["", "..", "../jobs", "a" * 16, "x/../../../../etc", "\0" * 16])
def test_an_unknown_id_is_an_error(jobs, tmp_path, name):
    path = tmp_path / "jobs" / jobs.create("evaluation", {}, 1) / "job.json"
    (tmp_path / "job.json").write_bytes(path.read_bytes())  # beside the folder of jobs
    for call in (
        jobs.status,
        jobs.cancel,
        lambda name: list(jobs.results(name)),
        lambda name: jobs.run(name, record_all),
    ):
        with pytest.raises(LineupError, match="job: expected the id of a job; got "):
            call(name)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    jobs = Jobs(tmp_path / "file" / "jobs", lambda cancelled: nullcontext())
    with pytest.raises(LineupError, match=r"expected a folder for jobs; writing failed \(Not a directory\)"):
        jobs.create("evaluation", {}, 1)


def test_old_jobs_are_deleted_unless_they_run(jobs, tmp_path):
    old_s = time.time() - (jobs_module.KEEP_DAYS + 1) * 24 * 3600
    names = {key: jobs.create("evaluation", {"items": 1}, 1) for key in ("old", "new", "running")}
    jobs.run(names["old"], record_all)
    (tmp_path / "jobs" / "notes").mkdir()  # not a job: kept

    def work(job):
        for name in (names["old"], names["running"]):
            for path in (tmp_path / "jobs" / name).iterdir():
                os.utime(path, (old_s, old_s))
        jobs.create("evaluation", {}, 1)

    jobs.run(names["running"], work)
    assert {key for key, name in names.items() if (tmp_path / "jobs" / name).exists()} == {"new", "running"}
    assert (tmp_path / "jobs" / "notes").exists()


def test_results_without_a_json_form_are_a_failure(jobs):
    status = jobs.run(jobs.create("evaluation", {}, 1), lambda job: job.record([{"p": float("nan")}]))
    assert (status.state, status.done) == ("failed", 0)


def test_ids_cannot_be_guessed_and_do_not_repeat(jobs):
    names = {jobs.create("evaluation", {}, 1) for _ in range(50)}
    assert len(names) == 50
    assert {len(name) for name in names} == {16}


def test_zerogpu_slices_check_the_flag_themselves(jobs):
    name = jobs.create("evaluation", {}, 1)

    def work(job):
        jobs.cancel(name)
        with pytest.raises(ClientDisconnected), job.slice():
            raise AssertionError("it computes")
        raise ClientDisconnected

    assert jobs.run(name, work).state == "cancelled"


def test_a_state_that_cannot_be_written_leaves_an_interrupted_job(jobs, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    name = jobs.create("evaluation", {"items": 2}, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert jobs.run(name, record_all).state == "interrupted"
    assert "the state of the job cannot be written" in caplog.text
    assert jobs.run(name, record_all).state == "done"


def test_a_job_that_is_resumed_during_the_sweep_is_kept(jobs, tmp_path, monkeypatch):
    name = jobs.create("evaluation", {"items": 1}, 1)
    folder, old_s = tmp_path / "jobs" / name, time.time() - (jobs_module.KEEP_DAYS + 1) * 24 * 3600
    for path in folder.iterdir():
        os.utime(path, (old_s, old_s))
    take = jobs_module._take_lock

    def resumed_meanwhile(folder, *timeout_s):
        os.utime(folder / "job.json")
        return take(folder, *timeout_s)

    monkeypatch.setattr(jobs_module, "_take_lock", resumed_meanwhile)
    jobs.create("evaluation", {}, 1)
    assert jobs.status(name).id == name
