import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from waiting import until

from lineup.errors import BusyError, ClientDisconnected
from lineup.inference import queue
from lineup.inference.queue import ComputeQueue


class Flag:
    """A cancel flag that a test sets."""

    def __init__(self):
        self.is_set = False

    def __call__(self):
        return self.is_set


@pytest.fixture
def compute_queue():
    return ComputeQueue(lambda: 20)


def enqueue(threads, compute_queue, name, served, cancelled=queue.never_cancelled, turn=ComputeQueue.turn):
    """Begin to wait for a turn on a thread, and return once the request or job is in the queue."""

    def n_waiters():
        return len(compute_queue._queued) + len(compute_queue._computing)

    before = n_waiters()

    def take():
        with turn(compute_queue, cancelled):
            served.append(name)

    waiting = threads.submit(take)
    until(lambda: n_waiters() > before or waiting.done())
    return waiting


take_in_background = partial(enqueue, turn=ComputeQueue.background_turn)


def test_requests_take_turns_in_order_of_arrival(compute_queue):
    served, inside = [], []
    with ThreadPoolExecutor(9) as threads:
        with compute_queue.turn():
            for name in range(8):
                enqueue(threads, compute_queue, name, served)
            inside.append(list(served))
        until(lambda: len(served) == 8)
    assert inside == [[]]
    assert served == list(range(8))
    assert len(compute_queue) == 0


def test_on_wait_is_called_once_and_only_if_the_request_waits(compute_queue):
    calls = []
    with ThreadPoolExecutor(1) as threads:
        with compute_queue.turn(on_wait=lambda: calls.append("first")):
            waiting = threads.submit(lambda: compute_queue.turn(on_wait=lambda: calls.append("second")).__enter__())
            until(lambda: calls == ["second"])
            assert not waiting.done()
        waiting.result(5)
    assert calls == ["second"]


@pytest.mark.parametrize("turn", [ComputeQueue.turn, ComputeQueue.background_turn])
def test_a_cancelled_request_or_job_is_removed_from_the_queue(compute_queue, turn):
    served, cancelled = [], Flag()
    with ThreadPoolExecutor(2) as threads, compute_queue.turn():
        waiting = enqueue(threads, compute_queue, "cancelled", served, cancelled, turn)
        cancelled.is_set = True
        with pytest.raises(ClientDisconnected):
            waiting.result(5)
        assert len(compute_queue) == 1
    assert served == []
    with compute_queue.turn():
        pass


def test_a_cancelled_request_is_skipped_before_it_notices(compute_queue, monkeypatch):
    monkeypatch.setattr(queue, "POLL_S", 60)
    served, cancelled = [], Flag()
    with ThreadPoolExecutor(2) as threads:
        with compute_queue.turn():
            enqueue(threads, compute_queue, "cancelled", served, cancelled)
            enqueue(threads, compute_queue, "next", served)
            cancelled.is_set = True
        until(lambda: served == ["next"])
        gone = compute_queue._queued[0]
        monkeypatch.setattr(queue, "POLL_S", 0)
        gone.woken.set()  # so that the test ends


def test_a_request_cancelled_at_its_turn_passes_it_on(compute_queue, monkeypatch):
    monkeypatch.setattr(queue, "POLL_S", 60)
    served, checks = [], []
    with ThreadPoolExecutor(2) as threads:
        with compute_queue.turn():
            # False when the turn is granted, True when it is checked again before the request computes
            gone = enqueue(threads, compute_queue, "gone", served, lambda: checks.append(1) or len(checks) > 1)
            with compute_queue._lock:  # as `turn` does
                compute_queue._queued.append(waiter := queue._Waiter(queue.never_cancelled))
        with pytest.raises(ClientDisconnected):
            gone.result(5)
        until(lambda: waiter.is_granted)
    assert served == []


def test_a_request_that_fails_passes_its_turn_on(compute_queue):
    for _ in range(3):
        with pytest.raises(ValueError, match="no"), compute_queue.turn():
            raise ValueError("no")
    assert len(compute_queue) == 0


def test_a_full_queue_raises_busy_error_with_its_length():
    compute_queue, served = ComputeQueue(lambda: 2), []
    with ThreadPoolExecutor(2) as threads, compute_queue.turn():
        enqueue(threads, compute_queue, "second", served)
        with (
            pytest.raises(BusyError, match="busy: 2 requests are waiting already; try again in some seconds"),
            compute_queue.turn(),
        ):
            pass


def test_cancelled_requests_do_not_fill_the_queue():
    compute_queue, served, cancelled = ComputeQueue(lambda: 2), [], Flag()
    with ThreadPoolExecutor(3) as threads:
        with compute_queue.turn():
            enqueue(threads, compute_queue, "cancelled", served, cancelled)
            cancelled.is_set = True
            enqueue(threads, compute_queue, "next", served)
        until(lambda: served == ["next"])


def test_concurrent_requests_compute_one_at_a_time():
    compute_queue, inside, served = ComputeQueue(lambda: 1000), [], []

    def take(name):
        for _ in range(20):
            with compute_queue.turn():
                inside.append(name)
                assert len(inside) == 1
                served.append(name)
                inside.pop()

    threads = [threading.Thread(target=take, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(served) == sorted(list(range(16)) * 20)
    assert len(compute_queue) == 0


def test_a_cancelled_request_stays_cancelled(compute_queue, monkeypatch):
    monkeypatch.setattr(queue, "POLL_S", 0.2)
    served, checks = [], []
    with ThreadPoolExecutor(1) as threads:
        with compute_queue.turn():
            # True once, when the next turn is granted, and False at the next poll: its client has connected again
            waiting = enqueue(threads, compute_queue, "gone", served, lambda: checks.append(1) or len(checks) == 1)
        with pytest.raises(ClientDisconnected):
            waiting.result(5)
    assert served == []
    assert len(compute_queue) == 0


def test_requests_overtake_jobs_and_jobs_take_turns(compute_queue):
    served = []
    with ThreadPoolExecutor(6) as threads:
        with compute_queue.turn():
            for name in ("job 1", "job 2"):
                take_in_background(threads, compute_queue, name, served)
            for name in ("request 1", "request 2"):
                enqueue(threads, compute_queue, name, served)
            take_in_background(threads, compute_queue, "job 3", served)
            enqueue(threads, compute_queue, "request 3", served)
        until(lambda: len(served) == 6)
    assert served == ["request 1", "request 2", "request 3", "job 1", "job 2", "job 3"]


def test_a_request_waits_for_the_slice_of_a_job_and_no_other(compute_queue):
    served = []
    with ThreadPoolExecutor(2) as threads:
        with compute_queue.background_turn():
            take_in_background(threads, compute_queue, "next slice", served)
            enqueue(threads, compute_queue, "request", served)
            assert served == []
        until(lambda: len(served) == 2)
    assert served == ["request", "next slice"]


def test_jobs_neither_fill_the_queue_nor_count_as_requests():
    compute_queue, served = ComputeQueue(lambda: 1), []
    with ThreadPoolExecutor(3) as threads:
        with compute_queue.background_turn():
            take_in_background(threads, compute_queue, "job", served)
            assert len(compute_queue) == 0
            enqueue(threads, compute_queue, "request", served)
            assert len(compute_queue) == 1
            with pytest.raises(BusyError, match="busy: 1 requests are waiting already"), compute_queue.turn():
                pass
            take_in_background(threads, compute_queue, "another job", served)
        until(lambda: len(served) == 3)
    assert served == ["request", "job", "another job"]


def test_the_latency_of_requests_does_not_include_jobs(compute_queue):
    before = compute_queue.mean_compute_s
    with compute_queue.background_turn():
        pass
    assert compute_queue.mean_compute_s == before


def test_a_job_that_fails_passes_its_turn_on(compute_queue):
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), compute_queue.background_turn():
            raise ValueError("no")
    with compute_queue.turn():
        assert len(compute_queue) == 1


from_rest = partial(enqueue, turn=partial(ComputeQueue.turn, client="rest"))


def test_kinds_of_clients_take_turns_and_each_in_order_of_arrival(compute_queue):
    served = []
    with ThreadPoolExecutor(12) as threads:
        with compute_queue.turn():  # of the page
            take_in_background(threads, compute_queue, "job", served)
            for number in range(4):
                from_rest(threads, compute_queue, f"rest {number}", served)
            for number in range(2):
                enqueue(threads, compute_queue, f"page {number}", served)
        until(lambda: len(served) == 7)
    assert served == ["rest 0", "page 0", "rest 1", "page 1", "rest 2", "rest 3", "job"]


def test_two_saturated_kinds_of_clients_each_get_half_of_the_turns():
    compute_queue, served = ComputeQueue(lambda: 100), []
    with ThreadPoolExecutor(64) as threads:
        with compute_queue.turn():
            for number in range(60):  # five requests over REST for one of the page
                enqueue_one = enqueue if number % 6 == 5 else from_rest
                enqueue_one(threads, compute_queue, "page" if number % 6 == 5 else "rest", served)
        until(lambda: len(served) == 60)
    assert served[:20].count("page") == 10


def test_a_full_queue_of_one_kind_of_clients_leaves_room_for_another():
    compute_queue, served = ComputeQueue(lambda: 2), []
    with ThreadPoolExecutor(4) as threads:
        with compute_queue.turn(client="rest"):
            from_rest(threads, compute_queue, "rest", served)
            with pytest.raises(BusyError, match="busy: 2 requests"), compute_queue.turn(client="rest"):
                pass
            for number in range(2):
                enqueue(threads, compute_queue, f"page {number}", served)
            with pytest.raises(BusyError, match="busy: 2 requests"), compute_queue.turn():
                pass
        until(lambda: len(served) == 3)
    assert served == ["page 0", "rest", "page 1"]


# --- requests that do not need all cores ---


class Turns:
    """Requests that hold their turns until a test lets them go."""

    def __init__(self, compute_queue, threads):
        self._queue, self._threads = compute_queue, threads
        self.computing, self.ends = [], {}

    def begin(self, name, turn=ComputeQueue.turn, **options):
        """Begin to wait for a turn, and return once the request computes or is in the queue."""
        self.ends[name] = threading.Event()

        def take():
            with turn(self._queue, **options):
                self.computing.append(name)
                assert self.ends[name].wait(30)
                self.computing.remove(name)

        before = len(self._queue._queued) + len(self._queue._computing)
        self._threads.submit(take)
        until(lambda: len(self._queue._queued) + len(self._queue._computing) > before)

    def end(self, name):
        self.ends[name].set()
        until(lambda: name not in self.computing)


@pytest.fixture
def turns():
    with ThreadPoolExecutor(8) as threads:
        turns = Turns(ComputeQueue(lambda: 20, lambda: 2), threads)
        yield turns
        for end in turns.ends.values():
            end.set()


def test_requests_that_need_not_be_alone_compute_at_the_same_time_up_to_the_concurrency(turns):
    for name in "abcd":
        turns.begin(name, is_alone=False)
    until(lambda: sorted(turns.computing) == ["a", "b"])
    turns.end("b")
    until(lambda: sorted(turns.computing) == ["a", "c"])


def test_a_request_that_computes_alone_waits_for_all_and_is_not_overtaken(turns):
    for name, is_alone in (("a", False), ("b", False), ("alone", True), ("c", False), ("d", False)):
        turns.begin(name, is_alone=is_alone)
    until(lambda: len(turns.computing) == 2)
    turns.end("a")
    assert turns.computing == ["b"]
    turns.end("b")
    until(lambda: turns.computing == ["alone"])
    turns.end("alone")
    until(lambda: sorted(turns.computing) == ["c", "d"])


def test_a_job_computes_alone_and_waits_for_all_requests(turns):
    turns.begin("a", is_alone=False)
    turns.begin("job", turn=ComputeQueue.background_turn)
    turns.begin("b", is_alone=False)  # although a job waits
    until(lambda: sorted(turns.computing) == ["a", "b"])
    turns.end("a")
    assert turns.computing == ["b"]
    turns.end("b")
    until(lambda: turns.computing == ["job"])
    turns.begin("c", is_alone=False)
    assert turns.computing == ["job"]


def test_a_request_that_gives_up_lets_those_behind_it_compute(turns):
    cancelled = Flag()
    turns.begin("a", is_alone=False)
    turns.begin("alone", cancelled=cancelled)
    turns.begin("b", is_alone=False)
    assert turns.computing == ["a"]
    cancelled.is_set = True
    until(lambda: sorted(turns.computing) == ["a", "b"])


def test_requests_that_compute_at_the_same_time_fill_the_queue():
    compute_queue = ComputeQueue(lambda: 2, lambda: 2)
    with (
        compute_queue.turn(is_alone=False),
        compute_queue.turn(is_alone=False),
        pytest.raises(BusyError, match="busy: 2 requests"),
        compute_queue.turn(is_alone=False),
    ):
        pass


def test_two_kinds_of_clients_take_turns_at_the_same_time(turns):
    for name in ("a", "b", "c", "d"):
        turns.begin(name, is_alone=False, client="rest")
    turns.begin("page", is_alone=False)
    until(lambda: len(turns.computing) == 2)
    turns.end("a")
    until(lambda: sorted(turns.computing) == ["b", "page"])


# --- what requests prepare while others compute ---


def prepare(threads, compute_queue, name, prepared, served, error=None):
    """Begin to wait for a turn with something to prepare, as `enqueue` does."""

    def note():
        prepared.append(name)
        if error:
            raise error

    return enqueue(threads, compute_queue, name, served, turn=partial(ComputeQueue.turn, prepare=note))


def test_the_next_requests_prepare_and_those_behind_them_wait(compute_queue):
    prepared, served = [], []
    with ThreadPoolExecutor(8) as threads:
        with compute_queue.turn(prepare=lambda: prepared.append("first")):  # computes at once, and prepares itself
            for name in range(queue.AHEAD + 3):
                prepare(threads, compute_queue, name, prepared, served)
            until(lambda: len(prepared) == queue.AHEAD)
            assert served == []
            assert not any(waiter.is_next for waiter in compute_queue._queued[queue.AHEAD :])
        until(lambda: len(served) == queue.AHEAD + 3)
    assert sorted(prepared)[: queue.AHEAD] == list(range(queue.AHEAD))
    assert served == list(range(queue.AHEAD + 3))


def test_a_request_that_cannot_prepare_leaves_the_queue_and_the_next_one_prepares(compute_queue):
    prepared, served = [], []
    with ThreadPoolExecutor(8) as threads:
        with compute_queue.turn():
            failed = prepare(threads, compute_queue, "bad", prepared, served, ValueError("no image"))
            with pytest.raises(ValueError, match="no image"):
                failed.result(5)
            assert len(compute_queue) == 1
            for name in range(queue.AHEAD):
                prepare(threads, compute_queue, name, prepared, served)
            until(lambda: len(prepared) == 1 + queue.AHEAD)
        until(lambda: len(served) == queue.AHEAD)
    assert len(compute_queue) == 0


def test_a_turn_that_is_granted_to_a_request_that_cannot_prepare_is_passed_on(compute_queue):
    served, granted = [], threading.Event()
    with ThreadPoolExecutor(2) as threads:
        with compute_queue.turn():

            def fail():
                assert granted.wait(5)
                raise ValueError("no image")

            failed = enqueue(threads, compute_queue, "bad", served, turn=partial(ComputeQueue.turn, prepare=fail))
            waiter = compute_queue._queued[0]
            enqueue(threads, compute_queue, "next", served)
        until(lambda: waiter.is_granted)
        granted.set()
        with pytest.raises(ValueError, match="no image"):
            failed.result(5)
        until(lambda: served == ["next"])


def test_kinds_of_clients_prepare_in_turn(compute_queue):
    prepared, served = [], []

    def add(threads, name, client):
        turn = partial(ComputeQueue.turn, client=client, prepare=lambda: prepared.append(name))
        enqueue(threads, compute_queue, name, served, turn=turn)

    with ThreadPoolExecutor(8) as threads:
        with compute_queue.turn(client="rest"):
            for index in range(4):
                add(threads, f"rest {index}", "rest")
            add(threads, "page", queue.PAGE)
            until(lambda: "page" in prepared)  # it is the next one, although it came last
            assert len(prepared) == 1 + queue.AHEAD
            add(threads, "page 2", queue.PAGE)
            order = [waiter.client for waiter in compute_queue._in_order()]
            assert order == [queue.PAGE, "rest", queue.PAGE, "rest", "rest", "rest"]
        until(lambda: len(served) == 6)
    assert served == ["page", "rest 0", "page 2", "rest 1", "rest 2", "rest 3"]


def test_jobs_that_need_not_be_alone_take_the_places_that_requests_leave(turns):
    turns.begin("job", turn=ComputeQueue.background_turn, is_alone=False)
    turns.begin("request", is_alone=False)
    turns.begin("job 2", turn=ComputeQueue.background_turn, is_alone=False)
    turns.begin("request 2", is_alone=False)
    until(lambda: sorted(turns.computing) == ["job", "request"])
    turns.end("job")
    until(lambda: sorted(turns.computing) == ["request", "request 2"])
    turns.end("request")
    until(lambda: sorted(turns.computing) == ["job 2", "request 2"])
