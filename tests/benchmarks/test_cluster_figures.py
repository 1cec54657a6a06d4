"""The tables of benchmarks/cluster.py, from figures that are not measured."""

import threading
import time

import cluster
import pytest
import scaling
from cluster import Fault, Found, Overhead, Rate
from cluster_processes import BROKER, FRONT, GROUPS, REPLICAS, Usage


def rate(per_s, **cpu_ms):
    return Rate(per_s, {group: cpu_ms.get(group, 1.0) for group in GROUPS}, 0.9)


@pytest.fixture
def found():
    faults = {"a replica killed": Fault(500, 0, 1, 0.01, 7.5), "the config updated": Fault(90, 0, 0, 0.01, 0.5, 4)}
    rates = {("slow", 1): rate(2.0), ("slow", 8): rate(14.0), ("fast", 8): rate(80.0, replicas=8.0)}
    return Found(
        overheads={"resnet18": Overhead([20.0, 21, 22], [24.0, 26, 80], 40.0, dict.fromkeys(cluster.BATCHES, 9.0))},
        rates=rates,
        http=rate(50.0, front=6.0, broker=4.0),
        pss_mb={group: [100.0, 200.0] for group in GROUPS},
        idle=dict.fromkeys(GROUPS, 0.02),
        faults=faults,
        image_kb=150.4,
        seconds={"cluster": 9.0},
    )


def verdicts(found):
    return {subject: (measured, verdict) for subject, measured, _, verdict in cluster.targets(found)}


def test_targets_are_met_missed_or_not_measured(found):
    told = verdicts(found)
    assert told["resnet18: p50 of one request through the cluster, more than here"] == ("+5.0 ms", "met")
    assert told["test_resnet: p50 of one request through the cluster, more than here"] == ("-", "not measured")
    assert told["500 ms asleep: 8 replicas, of 8 times the rate of 1"] == ("0.88", "**missed**")
    assert told["a replica killed: failed requests"] == ("1", "**missed**")
    assert told["a replica killed: the latest answer, s"] == ("7.5", "met")
    assert told["the config updated under load: failed requests"] == ("0", "met")


def test_nothing_measured_is_a_report_of_targets_and_reasons():
    text = cluster.report(Found(problems={"overhead and memory": "no replica has started"}))
    assert "Not measured: overhead and memory: no replica has started" in text
    assert "met |" not in text
    assert "##" not in text
    assert cluster.figures(Found()) is None


def test_report_names_what_takes_the_most_time(found):
    text = cluster.report(found)
    assert "an answer takes 13.0 ms of CPU time, of which 62% is that of: replicas" in text
    assert "1500 MB" in text  # without the front
    assert "4 (0.044 per request)" in text


def test_figures_for_the_calculation_are_read_back(found, tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "MEASURED", tmp_path / "CLUSTER.md")
    given = cluster.figures(found)
    scaling.MEASURED.write_text(given.as_line())
    assert scaling.measured() == given == scaling.Figures(40.0, 6.0, 4.0, 150, 200)


class Used:
    """Processes that use a tenth of a second between two looks."""

    def __init__(self):
        self._looks = 0

    def usage(self):
        self._looks += 1
        return Usage({1: 5.0, 2: self._looks / 10}, {1: FRONT, 2: BROKER})


def test_rate_is_that_of_the_answers_and_cpu_time_after_the_warm_up():
    answered, warm = threading.Semaphore(0), threading.Event()

    def send():
        answered.release()
        time.sleep(0.01)

    found = cluster.measured(send, 2, 0.3, Used(), lambda: warm.set() or answered.acquire(timeout=10))
    assert warm.is_set()
    assert found.per_s > 0
    assert found.cpu_ms[FRONT] == found.cpu_ms[REPLICAS] == 0
    assert 0 < found.busy <= 0.1 / 0.3 / cluster.CORES  # an oversleep makes it less
    assert found.cpu_ms[BROKER] * found.per_s / 1e3 / cluster.CORES == pytest.approx(found.busy)
    assert found.most == BROKER


def test_first_error_of_a_request_ends_the_measurement():
    def fail():
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        cluster.measured(fail, 2, 0.05, Used(), lambda: None)
