"""Measures one request below /v1 beside an empty Gradio function and three model servers; run by `make bench`.

    python benchmarks/rest.py              # about 20 minutes; prints the section that bench.py writes
    python benchmarks/rest.py --quick      # one short round
    python benchmarks/rest.py --without "Ray Serve" --rounds 1

Requires wrk. Each peer gets an environment of its own in a temporary folder (0.4 to 0.7 GB), which is deleted
afterwards. All serve the same converted network, on the same cores, one after the other; ratios are of one round.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import http_load
import psutil
from bench import machine, run_inside, table
from http_load import Target, percentile
from http_servers import LINEUP, PEERS, Server, ask, environment, lineup, peers, running, scores
from inside import write_config
from load import SMALL, Images, client_of, one_by_one
from served import App
from served import running as page_running
from storm import Client, with_comment
from throughput import benchmark_app

HERE = Path(__file__).parent
CORES = psutil.cpu_count() or 1
CLIENTS = 16
SIZES = {"1024×768": SMALL, "224 px": (224, 224)}
LARGER, SMALLER = SIZES
SHARE = 0.8  # of the highest rate, for latencies at a constant one
N_FILES = 8  # distinct images
CROWD, VISITORS = 200, 40  # clients below /v1, and beside them of the page: more than it has queue slots
SCORE_TOLERANCE = 1e-4  # of the peers' answers, against this app's

Ratios = dict[str, list[float]]


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: how often each server is started.
        seconds: of one measurement.
        rate_s: of latencies at a constant rate.
        crowd_s: how long 200 clients send requests.
    """

    rounds: int = 3
    seconds: float = 8
    rate_s: float = 20
    crowd_s: float = 60


@dataclass
class Figures:
    """What was measured of one server, each a list with an item for each round."""

    per_s: dict[str, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})
    own_per_s: list[float] = field(default_factory=list)  # at LARGER, without the load generator's CPU time
    generator: list[float] = field(default_factory=list)  # its share of the cores
    p50_ms: dict[str, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})
    failed: int = 0
    pss_mb: list[float] = field(default_factory=list)
    imports_torch: bool = False


@dataclass
class Found:
    """All figures: of servers by their name and settings, and of what has no server."""

    servers: dict[tuple[str, str], Figures] = field(default_factory=dict)
    ratios: Ratios = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    crowd: dict[str, float] = field(default_factory=dict)
    alone: dict[str, list[float]] = field(default_factory=dict)
    load: float = 0.0

    def add(self, key: str, value: float) -> None:
        """Add a ratio of a round."""
        self.ratios.setdefault(key, []).append(value)


class Bench:
    """The files and servers of a run.

    Args:
        home: a temporary folder.
        effort: how much to measure.
        without: names of peers that are left out.
    """

    def __init__(self, home: Path, effort: Effort, without: Sequence[str] = ()) -> None:
        self._home, self._effort, self.found = home, effort, Found(load=os.getloadavg()[0])
        self._config = write_config(home, ("resnet18",), "device: cpu")
        network = home / "network"
        network.mkdir()
        if error := run_inside("export", self._config, network).get("error"):
            raise RuntimeError(f"the network cannot be converted: {error}")
        self._model = network / "model.xml"
        self._images = {name: self._bodies(size) for name, size in SIZES.items()}
        self._lineup = lineup(self._config, home / "cache")
        self._peers = dict[str, list[Server]]()
        for name in PEERS:
            if name not in without:
                _say(f"installing {name}")
                try:
                    self._peers[name] = peers(name, environment(name, home / name.replace(" ", "-")), network)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    self.found.problems[name] = str(error)
        self._expected: list[float] = []

    def _bodies(self, size: tuple[int, int]) -> dict[str, list[Path]]:
        """Write images of one size, which differ in a comment, as they are and in forms."""
        found: dict[str, list[Path]] = {"jpeg": [], "form": []}
        with Images(self._home, size).fresh() as path:
            content = path.read_bytes()
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n'
        for number in range(N_FILES):
            jpeg = with_comment(content, str(number))
            for kind, body in (("jpeg", jpeg), ("form", head + b"\r\n" + jpeg + b"\r\n--b--\r\n")):
                found[kind].append(self._home / f"{size[0]}-{number}.{kind}")
                found[kind][-1].write_bytes(body)
        return found

    def run(self) -> Found:
        """Measure everything."""
        for number in range(self._effort.rounds):
            _say(f"round {number + 1} of {self._effort.rounds}")
            own = self._round_of_lineup()
            servers = [server for several in self._peers.values() for server in several]
            rates = dict[str, list[dict[str, float]]]()  # of this round, for each peer those of its settings
            for server in servers if number % 2 else reversed(servers):
                with self._reported(server.name):
                    last = _last(self._measure(server).per_s)
                    rates.setdefault(server.name, []).append(last)
            for name, found in rates.items():
                for size in SIZES:
                    self.found.add(f"per_s {size} {name}", own[size] / max(each[size] for each in found))
        with self._reported("200 clients"):
            self._crowd()
        return self.found

    def _reported(self, name: str) -> Any:
        return _Reported(name, self.found.problems)

    def _round_of_lineup(self) -> dict[str, float]:
        """Measure this app, and what it is compared with apart from peers; return its rates."""
        steps = {
            size: run_inside("steps", self._config, self._images[size]["jpeg"][0], self._effort.seconds / 2)
            for size in SIZES
        }
        batches_per_s, empty_ms = benchmark_app(self._model), self._empty_ms()
        figures = self._measure(self._lineup, at_rate=True)
        for size, alone in steps.items():
            total_ms = sum(alone[step] for step in ("decode", "transform", "forward"))
            self.found.add(f"p50 {size} steps", figures.p50_ms[size][-1] / total_ms)
            for step in ("decode", "transform", "forward", "per_s"):
                self.found.alone.setdefault(f"{size} {step}", []).append(alone[step])
        limit = 1 / (1 / steps[LARGER]["per_s"] + 1 / batches_per_s)
        self.found.add("per_s limit", figures.own_per_s[-1] / limit)
        self.found.add("p50 empty", figures.p50_ms[LARGER][-1] / empty_ms)
        self.found.alone.setdefault("empty", []).append(empty_ms)
        self.found.alone.setdefault("benchmark_app", []).append(batches_per_s)
        return _last(figures.per_s)

    def _empty_ms(self) -> float:
        """Return the median round trip of an empty Gradio function, with Gradio's client."""
        app, images = App("empty", (str(HERE / "peers" / "empty.py"),)), Images(self._home, SMALL)
        env = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(self._home / "uploads")}
        with page_running(app, self._home, env) as server:
            client = client_of(server.url)
            one_by_one(client, app.api, images, 5, 2)  # warm-up
            times = [seconds for seconds, _ in one_by_one(client, app.api, images, 100, self._effort.seconds)]
            client.close()
        return statistics.median(times) * 1e3

    def _measure(self, server: Server, at_rate: bool = False) -> Figures:
        """Start a server, measure it at both sizes, and check that it answers as this app does."""
        _say(f"{server.name}, {server.settings}")
        figures = self.found.servers.setdefault((server.name, server.settings), Figures())
        with running(server, self._images[LARGER], self._home / "server.log") as started:
            for size, images in self._images.items():
                target = server.target(started.url, images)
                self._check(server, size, scores(ask(target)))
                http_load.saturated(target, CLIENTS, 2)  # warm-up
                alone = http_load.outcomes_of(http_load.in_a_process(target, self._effort.seconds, "--clients", 1))
                load = http_load.saturated(target, CLIENTS, self._effort.seconds)
                figures.per_s[size].append(load.per_s)
                figures.p50_ms[size].append(percentile(alone.answered_s, 0.5) * 1e3)
                figures.failed += load.failed + len(alone.refused_s) + len(alone.lost)
                if size == LARGER:
                    figures.own_per_s.append(load.per_s_without_generator(CORES))
                    figures.generator.append(load.cpu_s / load.seconds / CORES)
                    if at_rate:
                        self._at_rate(target, load.per_s * SHARE)
            figures.pss_mb.append(started.pss_mb())
            per_s = ", ".join(f"{size} {rates[-1]:.1f}/s" for size, rates in figures.per_s.items())
            _say(f"  {per_s}, {figures.pss_mb[-1]:.0f} MB, {figures.failed} failed")
            figures.imports_torch = started.imports_torch()
        return figures

    def _check(self, server: Server, size: str, answer: list[float]) -> None:
        if server.name == LINEUP:
            self._expected = self._expected if size == SMALLER else answer
        elif size == LARGER and max(abs(a - b) for a, b in zip(answer, self._expected, strict=False)) > SCORE_TOLERANCE:
            raise RuntimeError(f"answers {answer}; expected {self._expected}")

    def _at_rate(self, target: Target, rate: float) -> None:
        for arrivals, options in (("even", []), ("poisson", ["--poisson"])):
            process = http_load.in_a_process(target, self._effort.rate_s, "--rate", rate, *options)
            outcomes = http_load.outcomes_of(process)
            times = outcomes.answered_s
            self.found.add(f"p99 {arrivals}", percentile(times, 0.99) / percentile(times, 0.5))
            self.found.add(f"not answered {arrivals}", float(len(outcomes.refused_s) + len(outcomes.lost)))

    def _crowd(self) -> None:
        """Send requests from 200 clients, while others use the page's API and the health check."""
        _say("200 clients beside the page's own visitors")
        with running(self._lineup, self._images[LARGER], self._home / "server.log") as started:
            target = self._lineup.target(started.url, self._images[LARGER])
            image, expected, seconds = target.bodies[0], self._home / "expected.json", self._effort.crowd_s
            expected.write_text(json.dumps(Client(started.url).request(image.read_bytes(), None, 3)))
            options = (started.url, "classify", VISITORS, seconds, image, expected)
            command = [sys.executable, str(HERE / "storm.py"), *map(str, options)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as visitors:
                health = http_load.in_a_process(target, seconds, "--get", "/healthz")
                clients = http_load.outcomes_of(http_load.in_a_process(target, seconds, "--clients", CROWD))
                healthy, page = http_load.outcomes_of(health), json.loads(visitors.communicate()[0])
        answered, of_page = len(clients.answered_s), len(page["answered_s"])
        self.found.crowd = {
            "answered": answered,
            "refused": len(clients.refused_s),
            "lost": len(clients.lost) + len(healthy.lost) + len(healthy.refused_s) + sum(page["lost"].values()),
            "refused_s": percentile(clients.refused_s, 0.99),
            "slowest_refused_s": max(clients.refused_s, default=0.0),
            "answered_s": percentile(clients.answered_s, 0.99),
            "healthz_s": percentile(healthy.answered_s, 0.99),
            "of_page": of_page,
            "share": answered / max(1, answered + of_page),
        }
        if clients.lost or page["lost"]:
            _say(f"lost: {clients.lost[:3]}, of the page {page['lost']}")


def _last(rates: dict[str, list[float]]) -> dict[str, float]:
    """Return the rates of the last round."""
    return {size: of_rounds[-1] for size, of_rounds in rates.items()}


class _Reported:
    """Reports an error of the block in the results, and goes on."""

    def __init__(self, name: str, problems: dict[str, str]) -> None:
        self._name, self._problems = name, problems

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> bool:
        if isinstance(error, Exception):
            self._problems[self._name] = " ".join(str(error).split())[-300:] or type(error).__name__
            _say(f"  {self._name} failed: {self._problems[self._name]}")
        return isinstance(error, Exception)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the report ---


def report(found: Found, effort: Effort) -> str:
    """Return the figures as Markdown, without a heading."""
    texts = [table(["", "measured", "target", ""], targets(found)), servers_table(found), alone(found)]
    versions = ", ".join(f"{PEERS[name][0].replace('==', ' ')}" for name in PEERS)
    texts.append(
        f"Medians of {effort.rounds} round(s) of {effort.seconds:g} s a cell, in which each server is started alone, "
        f"one after the other; ratios are of the same round. The load is that of wrk with one thread and {CLIENTS} "
        f"connections, that at a constant rate comes from `http_load.py`, whose latencies begin when a request is due. "
        f"Peers: {versions}; of each, the settings that were better in a round are compared. Load average at the start "
        f"{found.load:.1f}."
    )
    texts += [f"Not measured: {name}: {problem}" for name, problem in found.problems.items()]
    return "\n\n".join(filter(None, texts))


def targets(found: Found) -> list[list[str]]:
    """Return the rows that compare the figures with the targets."""

    def median(key: str) -> float | None:
        return statistics.median(found.ratios[key]) if key in found.ratios else None

    rows = [
        row(f"p50 of one answer, {LARGER}, relative to an empty Gradio function", median("p50 empty"), "≤", 0.4),
        row(
            f"p50 of one answer, {LARGER}, relative to decoding, transform and forward pass alone",
            median(f"p50 {LARGER} steps"),
            "≤",
            1.25,
        ),
    ]
    for size, target in ((LARGER, 1.0), (SMALLER, 1.1)):
        for name in PEERS:
            subject = f"answers per second, {CLIENTS} clients, {size}, relative to {name}"
            rows.append(row(subject, median(f"per_s {size} {name}"), "≥", target))
    rows += [
        row(f"the same, {LARGER}, relative to 1/(1/p + 1/o), without wrk's CPU time", median("per_s limit"), "≥", 0.8),
        row(f"p99 relative to p50 at {SHARE:.0%} of that rate, evenly spaced", median("p99 even"), "≤", 3.0),
        row("the same, Poisson arrivals", median("p99 poisson"), "≤", 6.0),
    ]
    if crowd := found.crowd:
        subject = f"{CROWD} clients beside {VISITORS} of the page"
        rows += [
            row(f"{subject}: lost", crowd["lost"], "≤", 0, "{:.0f}"),
            row("p99 of refusals", crowd["refused_s"], "≤", 0.1, "{:.3f} s"),
            row("/healthz p99", crowd["healthz_s"], "≤", 0.2, "{:.3f} s"),
            row("share of the answers below /v1, at least", crowd["share"], "≥", 0.4),
            row("the same, at most", crowd["share"], "≤", 0.6),
        ]
    own = next((each for (name, _), each in found.servers.items() if name == LINEUP), Figures())
    for (name, settings), each in found.servers.items():
        if name != LINEUP and each.imports_torch and each.pss_mb:
            ratio = statistics.median(own.pss_mb) / statistics.median(each.pss_mb)
            rows.append(row(f"memory relative to {name}, {settings}", ratio, "≤", 1.0))
    return rows


def row(subject: str, measured: float | None, sign: str, target: float, form: str = "{:.2f}") -> list[str]:
    """Return a row of a measurement and its target."""
    if measured is None:
        return [subject, "-", f"{sign} {target:g}", "not measured"]
    met = measured <= target if sign == "≤" else measured >= target
    return [subject, form.format(measured), f"{sign} {target:g}", "met" if met else "**missed**"]


def servers_table(found: Found) -> str:
    """Return the figures of each server as a table."""
    head = ["", "settings", *(f"{size}, {CLIENTS} clients" for size in SIZES), *(f"{size} p50" for size in SIZES)]
    head += ["failed", "wrk's share of the cores", "memory (PSS)", "torch"]
    rows = []
    for (name, settings), each in found.servers.items():
        if each.pss_mb:
            cells = [f"{statistics.median(rates):.1f}/s" for rates in each.per_s.values()]
            cells += [f"{statistics.median(times):.1f} ms" for times in each.p50_ms.values()]
            cells += [str(each.failed), f"{statistics.median(each.generator):.1%}"]
            torch = "imported" if each.imports_torch else "not imported"
            rows.append([f"**{name}**", settings, *cells, f"{statistics.median(each.pss_mb):.0f} MB", torch])
    return table(head, rows)


def alone(found: Found) -> str:
    """Say what was measured without a server."""
    if not found.alone:
        return ""
    figures = {key: statistics.median(values) for key, values in found.alone.items()}
    sentences = [
        f"{size}, alone: decoding {figures[f'{size} decode']:.1f} ms, transform {figures[f'{size} transform']:.1f} ms, "
        f"forward pass {figures[f'{size} forward']:.1f} ms; decoding and transform in a process on each core "
        f"{figures[f'{size} per_s']:.0f}/s (p)."
        for size in SIZES
    ]
    sentences.append(
        f"benchmark_app for throughput {figures['benchmark_app']:.0f}/s (o). The empty Gradio function answers in "
        f"{figures['empty']:.0f} ms (p50)."
    )
    if crowd := found.crowd:
        sentences.append(
            f"Of {CROWD} clients, {crowd['answered']:,.0f} requests were answered (p99 {crowd['answered_s']:.2f} s), "
            f"and {crowd['refused']:,.0f} refused (slowest {crowd['slowest_refused_s']:.2f} s); "
            f"{crowd['of_page']:,.0f} of the page were answered meanwhile."
        )
    return " ".join(sentences)


def measured(effort: Effort, without: Sequence[str] = ()) -> str:
    """Measure everything, and return the report; what is missing is said in it."""
    try:
        http_load.program()
        with tempfile.TemporaryDirectory(prefix="http-") as folder:
            return report(Bench(Path(folder), effort, without).run(), effort)
    except Exception as error:  # the other benchmarks are reported
        return f"failed: {type(error).__name__}: {error}"


QUICK = Effort(rounds=1, seconds=3, rate_s=6, crowd_s=10)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--without", action="append", default=[], choices=PEERS, help="leave a peer out")
    parser.add_argument("--rounds", type=int, help="how often each server is started (default: 3)")
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else Effort()
    effort = replace(effort, rounds=arguments.rounds or effort.rounds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers end, and environments are deleted
    print(f"{machine()}\n\n{measured(effort, arguments.without)}")


if __name__ == "__main__":
    main()
