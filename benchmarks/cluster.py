"""Measures answers of a Ray cluster on this machine: overhead, scaling, memory, starts and faults; writes CLUSTER.md.

    python benchmarks/cluster.py           # about 8 minutes, on an otherwise idle machine
    python benchmarks/cluster.py --quick   # 3 minutes: fewer rounds, and only one replica and eight

Starts a cluster of its own. The table in docs/scaling.md is computed from the figures, and written again, too.
"""

import argparse
import http.client
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "inference")]

import cluster_fakes
import numpy as np
import psutil
import scaling
from bench import machine, table
from cluster_processes import BROKER, FRONT, GROUPS, REPLICAS, Processes
from drawing import draw
from ray_cluster import RayCluster, ray_cluster
from rest import row
from served import App
from served import running as page_running
from test_cluster import BACKBONES, DEADLINE_S, LIMITS, TWO, Load

from lineup import config, registry
from lineup.config import yaml_source
from lineup.service import Service

NETWORKS = ("test_resnet", "resnet18")
BATCHES = (1, 2, 4, 8)
PAUSES_MS = {"slow": 500, "fast": 50}
SIZE, SMALL = (1024, 768), (64, 64)
CORES = psutil.cpu_count() or 1
MAX_OVERHEAD_MS, MIN_LINEAR = 10.0, 0.9
OUTPUT = HERE / "CLUSTER.md"


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: requests on each side, of each network.
        replicas: how many of them, one deployment after the other.
        seconds: of the rates of each network that sleeps.
        idle_s: how long the idle cluster's CPU time is measured.
        http_s: how long requests are sent by HTTP.
        requests: among which a replica is killed.
    """

    rounds: int = 200
    replicas: tuple[int, ...] = (1, 2, 4, 8)
    seconds: tuple[float, float] = (20, 10)
    idle_s: float = 15
    http_s: float = 10
    requests: int = 500


QUICK = Effort(rounds=40, replicas=(1, 8), seconds=(8, 5), idle_s=5, http_s=4)


@dataclass
class Overhead:
    """Milliseconds of one request at a time, here and there, and what the cluster's processes used for one."""

    here: list[float] = field(default_factory=list)
    there: list[float] = field(default_factory=list)
    replica_ms: float = 0.0  # CPU time
    batches_ms: dict[int, float] = field(default_factory=dict)  # per image, here

    @property
    def p50_ms(self) -> float:
        """What the cluster adds to the median."""
        return statistics.median(self.there) - statistics.median(self.here)


@dataclass
class Rate:
    """Answers a second, and the CPU milliseconds of each group of processes for one."""

    per_s: float
    cpu_ms: dict[str, float]
    busy: float  # the share of the cores that all groups use

    @property
    def most(self) -> str:
        """The group that uses the most CPU time."""
        return max(self.cpu_ms, key=lambda group: self.cpu_ms[group])


@dataclass
class Fault:
    """What became of the requests of a `Load`."""

    requests: int
    wrong: int
    failed: int
    p50_s: float
    max_s: float
    loads: int = 0


@dataclass
class Found:
    """All figures."""

    load: float = field(default_factory=lambda: os.getloadavg()[0])
    seconds: dict[str, float] = field(default_factory=dict)
    overheads: dict[str, Overhead] = field(default_factory=dict)
    rates: dict[tuple[str, int], Rate] = field(default_factory=dict)  # by the network that sleeps, and replicas
    http: Rate | None = None
    pss_mb: dict[str, list[float]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)  # shares of a core
    faults: dict[str, Fault] = field(default_factory=dict)
    image_kb: float = 0.0
    problems: dict[str, str] = field(default_factory=dict)


class Bench:
    """A run.

    Args:
        folder: a temporary one.
        cluster: the cluster that answers.
        effort: how much to measure.
    """

    def __init__(self, folder: Path, cluster: RayCluster, effort: Effort) -> None:
        self._folder, self._cluster, self._effort, self.found = folder, cluster, effort, Found()
        self._image, self._small = (draw(folder / f"{size[0]}.jpg", size=size) for size in (SIZE, SMALL))
        self.found.image_kb = self._image.stat().st_size / 1e3
        for name, pause_ms in PAUSES_MS.items():
            (folder / f"{name}.sleep").write_text(str(pause_ms / 1e3))

    def run(self) -> Found:
        """Measure everything; a part that fails is reported, and the others are measured."""
        parts: dict[str, Callable[[], None]] = {"overhead and memory": self._one_replica}
        parts |= {f"{count} replicas": lambda count=count: self._scaled(count) for count in self._effort.replicas}
        parts["faults"] = self._faults
        for name, part in parts.items():
            started = time.monotonic()
            try:
                part()
            except (Exception, AssertionError) as error:
                self.found.problems[name] = " ".join(str(error).split())[-300:] or type(error).__name__
            _say(f"{name}: {time.monotonic() - started:.0f} s {self.found.problems.get(name, '')}")
        return self.found

    @contextmanager
    def _front(self, text: str, section: str) -> Iterator[Service]:
        """Deploy a config afresh, and return a service in front of it."""
        content = self._with(text, section)
        self._cluster.call("remove")
        self._cluster.call("deploy", content, str(self._folder), 240)
        service = _service(content, self._folder)
        try:
            yield service
        finally:
            service.cluster.close()

    def _with(self, text: str, section: str) -> str:
        return f"{text}cluster: {{address: '{self._cluster.address}', {section}}}\n"

    def _processes(self, front: int = 0) -> Processes:
        return Processes(front or os.getpid(), self._cluster._process.pid)

    def _one_replica(self) -> None:
        names = ", ".join(f"{{backbone: {name}, pretrained: false}}" for name in NETWORKS)
        text = f"backbones: [{names}]\nengine: torch\nprecision: float32\n"
        section = f"replicas: {{max: 1}}, cpus: {CORES}"  # as many threads as here
        started = time.monotonic()
        with self._front(text, section) as there:
            deployed = time.monotonic()
            there.classify(self._image, NETWORKS[0])
            self.found.seconds |= {"replica": deployed - started, "first answer": time.monotonic() - deployed}
            here = _service(text, self._folder)
            for name in NETWORKS:
                self.found.overheads[name] = self._overhead(here, there, name)
            self._idle()
        self._http(self._with(text, section))

    def _overhead(self, here: Service, there: Service, name: str) -> Overhead:
        found = Overhead()
        for service in (here, there):
            service.classify(self._image, name)
        before = self._processes().usage()
        for _ in range(self._effort.rounds):  # alternately: what else the machine does concerns both
            for service, elapsed in ((here, found.here), (there, found.there)):
                started = time.perf_counter()
                service.classify(self._image, name)
                elapsed.append((time.perf_counter() - started) * 1e3)
        used = self._processes().usage().since(before)
        found.replica_ms = used[REPLICAS] / self._effort.rounds * 1e3
        with here.pinned(name) as pinned:
            for size in BATCHES:
                pinned.outputs([self._image] * size)
                batch = np.concatenate([pinned.prepared(self._image)] * size)
                times = [pinned.forward(batch).forward_ms for _ in range(20)]
                found.batches_ms[size] = statistics.median(times) / size
        return found

    def _idle(self) -> None:
        processes = self._processes()
        self.found.pss_mb = processes.pss_mb()
        before = processes.usage()
        time.sleep(self._effort.idle_s)
        used = processes.usage().since(before)
        self.found.idle = {group: seconds / self._effort.idle_s for group, seconds in used.items()}

    def _http(self, text: str) -> None:
        """Measure what a front uses that is asked by HTTP, in a process of its own."""
        path = self._folder / "front.yaml"
        path.write_text(text)
        app = App("front", ("app.py", "--config", str(path), "--port", "{port}"))
        env = {"LINEUP_CACHE": str(self._folder / "front"), "GRADIO_TEMP_DIR": str(self._folder / "uploads")}
        with page_running(app, self._folder, {**env, "GRADIO_ANALYTICS_ENABLED": "False"}) as page:
            image, address, own = self._image.read_bytes(), urlsplit(page.url), threading.local()

            def send() -> None:
                if not hasattr(own, "connection"):
                    own.connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
                own.connection.request("POST", f"/v1/models/{NETWORKS[0]}", image, {"Content-Type": "image/jpeg"})
                response = own.connection.getresponse()
                content = response.read()
                if response.status != 200:
                    raise RuntimeError(f"{response.status}: {content[:200]!r}")

            send()  # the front connects, and the backbone is loaded
            processes = self._processes(page.process.pid)
            self.found.http = measured(send, 4, self._effort.http_s, processes, lambda: time.sleep(1))

    def _scaled(self, count: int) -> None:
        names = [f"fake:{name}" for name in PAUSES_MS]
        text = f"backbones: {names}\nengine: torch\nprecision: float32\n{LIMITS}"
        section = f"replicas: {{min: {count}, max: {count}}}, cpus: 0.1"  # so that eight fit two cores
        with self._front(text, section) as service:
            for name, seconds in zip(PAUSES_MS, self._effort.seconds, strict=True):
                rate = measured(
                    lambda name=name: service.classify(self._small, f"fake:{name}"),
                    3 * count,  # more than replicas take at once, so that none waits for a request
                    seconds,
                    self._processes(),
                    lambda name=name: self._wait_for_loads(f"fake:{name}", count),
                )
                self.found.rates[name, count] = rate
                _say(f"  {name}, {count}: {rate.per_s:.1f}/s, {rate.busy:.0%} of the cores")

    def _wait_for_loads(self, name: str, count: int) -> None:
        """Wait until every replica has loaded a backbone, as replicas without it are sent requests last."""
        until = time.monotonic() + 60
        while sum(name in replica["loaded"] for replica in self._cluster.replicas(count)) < count:
            if time.monotonic() > until:
                raise RuntimeError(f"not every replica has loaded {name}: {self._cluster.call('seen')}")
            time.sleep(0.3)

    def _faults(self) -> None:
        images = [draw(self._folder / f"{index}.png", seed=index, size=(80, 60)) for index in range(20)]
        alone = _service(BACKBONES + LIMITS, self._folder)
        names = [f"fake:{name}" for name in "abc"]
        expected = {(image, name): alone.classify(image, name) for image in images for name in names}
        with self._front(BACKBONES + LIMITS, TWO.replace("per_replica: 3", "per_replica: 2")) as service:
            self._cluster.replicas(2)
            with Load(service, images, expected) as load:
                load.wait(self._effort.requests)
            time.sleep(2.5)  # replicas report every two seconds what they have loaded
            loads = sum(sum(replica["loads"].values()) for replica in self._cluster.replicas(2))
            self.found.faults["two replicas, two backbones each, of three"] = _fault(load, loads)

            with Load(service, images, expected) as load:
                load.wait(self._effort.requests // 3)
                os.kill(self._cluster.replicas(2)[0]["pid"], signal.SIGKILL)
                load.wait(self._effort.requests)
            self.found.faults["a replica killed"] = _fault(load)

            before = {replica["id"] for replica in self._cluster.replicas(2)}
            with Load(service, images, expected) as load:
                changed = self._with(f"{BACKBONES}{LIMITS}title: New\n", TWO)
                self._cluster.call("deploy", changed, str(self._folder), 240)
                until = time.monotonic() + 120
                while {replica["id"] for replica in self._cluster.call("seen")["replicas"]} & before:
                    if time.monotonic() > until:
                        raise RuntimeError("the replicas have not been replaced within two minutes")
                    time.sleep(0.2)
                load.wait(len(load.lates) + 50)
            self.found.faults["the config updated"] = _fault(load)


def measured(send: Callable[[], object], clients: int, seconds: float, processes: Processes, warm_up: Any) -> Rate:
    """Send requests from several threads, each one after the other; measure once they are warm.

    Raises:
        Exception: that of the first request that fails.
    """
    ended, errors, stop = list[float](), list[Exception](), threading.Event()

    def run() -> None:
        try:
            while not stop.is_set():
                send()
                ended.append(time.monotonic())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        warm_up()
        before, started = processes.usage(), time.monotonic()
        stop.wait(seconds)
        used, until = processes.usage().since(before), time.monotonic()
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    if errors:
        raise errors[0]
    count, seconds = sum(started < each <= until for each in ended), until - started
    cpu_ms = {group: value / max(1, count) * 1e3 for group, value in used.items()}
    return Rate(count / seconds, cpu_ms, sum(used.values()) / seconds / CORES)


@contextmanager
def _cluster() -> Iterator[RayCluster]:
    """Start a cluster, again if a busy machine takes longer than Ray's half a minute."""
    with ExitStack() as stack:
        for tries_left in (2, 1, 0):
            try:
                cluster = stack.enter_context(ray_cluster())
                break
            except AssertionError as error:
                if not tries_left or "timed out during startup" not in str(error):
                    raise
                _say("Ray did not start in time; trying again")
        yield cluster


def _service(text: str, folder: Path) -> Service:
    return Service(config.build(yaml_source.parse(text, "config.yaml"), folder))


def _fault(load: Load, loads: int = 0) -> Fault:
    lates = load.lates
    return Fault(len(lates), load.wrong, len(load.errors), statistics.median(lates), max(lates), loads)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the report ---


def report(found: Found) -> str:
    """Return the figures as Markdown, without a heading."""
    parts = [table(["", "measured", "target", ""], targets(found))]
    parts += [f"Not measured: {name}: {problem}" for name, problem in found.problems.items()]
    for title, section in SECTIONS.items():
        if text := section(found):
            parts.append(f"## {title}\n\n{text}")
    return "\n\n".join(parts)


def targets(found: Found) -> list[list[str]]:
    """Return the rows that compare the figures with the targets."""
    rows = []
    for name in NETWORKS:
        each = found.overheads.get(name)
        subject = f"{name}: p50 of one request through the cluster, more than here"
        rows.append(row(subject, each.p50_ms if each else None, "≤", MAX_OVERHEAD_MS, "{:+.1f} ms"))
    rows.append(row("500 ms asleep: 8 replicas, of 8 times the rate of 1", linear(found, "slow", 8), "≥", MIN_LINEAR))
    killed, updated = found.faults.get("a replica killed"), found.faults.get("the config updated")
    rows += [
        row("a replica killed: wrong answers", killed and killed.wrong, "≤", 0, "{:.0f}"),
        row("a replica killed: failed requests", killed and killed.failed, "≤", 0, "{:.0f}"),
        row("a replica killed: the latest answer, s", killed and killed.max_s, "≤", DEADLINE_S, "{:.1f}"),
        row("the config updated under load: failed requests", updated and updated.failed, "≤", 0, "{:.0f}"),
    ]
    return rows


def linear(found: Found, name: str, count: int) -> float | None:
    """Return a rate as a share of that many times the rate of one replica."""
    one, several = found.rates.get((name, 1)), found.rates.get((name, count))
    return several.per_s / one.per_s / count if one and several else None


def overheads(found: Found) -> str:
    """Tell what a request costs beyond the work itself."""
    rows, batches = [], []
    for name, each in found.overheads.items():
        cells = [f"{p(times):.1f}" for p in (statistics.median, _p95) for times in (each.here, each.there)]
        more = f"{_p95(each.there) - _p95(each.here):+.1f}"
        rows.append(
            [name, cells[0], cells[1], f"{each.p50_ms:+.1f}", cells[2], cells[3], more, f"{each.replica_ms:.1f}"]
        )
        batches.append([name, *(f"{each.batches_ms[size]:.2f}" for size in BATCHES)])
    if not rows:
        return ""
    head = ["ms", "p50 here", "p50 there", "more", "p95 here", "p95 there", "more", "CPU time of the replica"]
    return (
        f"One request at a time, alternately, decoding included on both sides: a JPEG of {SIZE[0]} × {SIZE[1]} pixels "
        f"({found.image_kb:.0f} kB), torch in float32, untrained, as many threads there as here.\n\n"
        f"{table(head, rows)}\n\nForward passes of batches, ms per image, here: what a replica would gain by computing "
        f"several images at once.\n\n{table(['batch of', *map(str, BATCHES)], batches)}"
    )


def scaled(found: Found) -> str:
    """Tell how the rate grows with the replicas, and what ends that."""
    rows = []
    for (name, count), rate in sorted(found.rates.items(), key=lambda each: (-PAUSES_MS[each[0][0]], each[0][1])):
        share = linear(found, name, count)
        cells = [f"{PAUSES_MS[name]} ms", str(count), f"{rate.per_s:.1f}", "-" if share is None else f"{share:.2f}"]
        rows.append([*cells, *(f"{rate.cpu_ms[group]:.1f}" for group in GROUPS), f"{rate.busy:.0%}"])
    if not rows:
        return ""
    head = ["asleep", "replicas", "answers/s", "of linear", *(f"{group}, ms" for group in GROUPS), "cores used"]
    (name, count), last = max(found.rates.items(), key=lambda each: (-PAUSES_MS[each[0][0]], each[0][1]))
    total_ms = sum(last.cpu_ms.values())
    told = (
        f"With {count} replicas that sleep {PAUSES_MS[name]} ms, an answer takes {total_ms:.1f} ms of CPU time, of "
        f"which {last.cpu_ms[last.most] / total_ms:.0%} is that of: {last.most}. {CORES} cores have no more than "
        f"{CORES * 1e3 / total_ms:.0f} times as much in a second; {last.busy:.0%} of them were used."
    )
    busy = max((last.cpu_ms[group] * last.per_s / 1e3, group) for group in (FRONT, BROKER))
    told += (
        f" The front and its broker compute on one core each at most: the busier one ({busy[1]}) used {busy[0]:.0%}."
    )
    return (
        f"A network that sleeps, on images of {SMALL[0]} pixels; three clients for each replica, in the front's "
        f"process. CPU milliseconds are per answer; those of the front include its clients.\n\n"
        f"{table(head, rows)}\n\n{told}"
    )


def asked_by_http(found: Found) -> str:
    """Tell what a front uses."""
    if not (rate := found.http):
        return ""
    cells = [f"{rate.per_s:.0f}", *(f"{rate.cpu_ms[group]:.1f}" for group in GROUPS)]
    head = ["answers/s", *(f"{group}, ms" for group in GROUPS)]
    return (
        f"`POST /v1/models/{NETWORKS[0]}` with the same JPEG from four clients, whose CPU time is not counted; CPU "
        f"milliseconds per answer.\n\n{table(head, [cells])}"
    )


def memory(found: Found) -> str:
    """Tell what the processes take that wait for requests."""
    if not found.pss_mb:
        return ""
    rows = []
    for group in GROUPS[1:]:
        each = found.pss_mb[group]
        rows.append([group, str(len(each)), f"{sum(each):.0f} MB", f"{found.idle.get(group, 0):.1%}"])
    total = sum(sum(each) for group, each in found.pss_mb.items() if group != FRONT)
    rows.append(["together", "", f"{total:.0f} MB", f"{sum(found.idle[group] for group in GROUPS[1:]):.1%}"])
    return (
        f"With one replica that has loaded {' and '.join(NETWORKS)}; the dashboard is off.\n\n"
        f"{table(['', 'processes', 'memory (PSS)', 'idle: of one core'], rows)}"
    )


def starts(found: Found) -> str:
    """Tell how long starts take."""
    names = {
        "cluster": "Ray",
        "replica": "the first replica, until it runs",
        "first answer": "the first answer",
    }
    rows = [[names[key], f"{seconds:.1f} s"] for key, seconds in found.seconds.items()]
    return table(["", ""], rows) if rows else ""


def faults(found: Found) -> str:
    """Tell what became of requests meanwhile."""
    rows = []
    for name, each in found.faults.items():
        loads = f"{each.loads} ({each.loads / each.requests:.3f} per request)" if each.loads else ""
        cells = [name, str(each.requests), str(each.wrong), str(each.failed), f"{each.p50_s * 1e3:.0f} ms"]
        rows.append([*cells, f"{each.max_s:.1f} s", loads])
    if not rows:
        return ""
    head = ["", "requests", "wrong", "failed", "p50", "latest", "loads of backbones"]
    return f"Three tiny backbones, asked in turn from six clients.\n\n{table(head, rows)}"


SECTIONS: dict[str, Callable[[Found], str]] = {
    "Overhead of a request": overheads,
    "Answers a second": scaled,
    "A front that is asked by HTTP": asked_by_http,
    "Memory, and what an idle cluster takes": memory,
    "Starts": starts,
    "Faults": faults,
}


def figures(found: Found) -> scaling.Figures | None:
    """Return what docs/scaling.md is computed from, if all of it was measured."""
    resnet = found.overheads.get("resnet18")
    if not (resnet and found.http and found.pss_mb.get(REPLICAS)):
        return None
    return scaling.Figures(
        replica_ms=round(resnet.replica_ms, 1),
        front_ms=round(found.http.cpu_ms[FRONT], 1),
        broker_ms=round(found.http.cpu_ms[BROKER], 1),
        image_kb=round(found.image_kb),
        replica_mb=round(max(found.pss_mb[REPLICAS])),
    )


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and only one replica and eight")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster ends
    registry.SOURCES["fake"] = cluster_fakes.plan
    os.environ["RAY_AUTH_MODE"] = "disabled"  # as the cluster that is started here
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lineup-") as name, _cluster() as cluster:
        bench = Bench(Path(name), cluster, QUICK if quick else Effort())
        bench.found.seconds["cluster"] = time.monotonic() - started
        found = bench.run()
    command = f"python benchmarks/cluster.py{' --quick' if quick else ''}"
    took, ends = time.monotonic() - started, os.getloadavg()[0]
    text = (
        f"# Answers of a cluster, measured\n\nWritten by `{command}`, {date.today()}, in {took / 60:.0f} minutes; load "
        f"average at the start {found.load:.1f}, at the end {ends:.1f}. {machine().rstrip('.')}, "
        f"ray {version('ray')}.\n\n"
    )
    if quick:
        text += "**A quick run**: few rounds, and only one replica and eight.\n\n"
    text += report(found)
    if for_scaling := figures(found):
        text += f"\n\n## For scaling.py\n\n{for_scaling.as_line()}"
    OUTPUT.write_text(f"{text}\n", encoding="utf-8")
    print(text)
    if for_scaling:
        scaling.write()


if __name__ == "__main__":
    main()
