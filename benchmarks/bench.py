"""Benchmarks this app against comparable apps and reports which targets are met; run by `make bench`.

    python benchmarks/bench.py              # about 40 minutes; writes benchmarks/RESULTS.md
    python benchmarks/bench.py --quick      # one short round; writes no file
    python benchmarks/bench.py --gpu        # only the forward passes on a GPU; writes benchmarks/GPU.md

Each app runs in a separate process on 127.0.0.1; every round restarts the apps one after the other. Results are
compared within a round, since a machine's speed changes from minute to minute. No request is sent to the Hub.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
from inside import write_config
from load import LARGE, SMALL, Images, client_of, one_by_one, per_second, send_request, spread
from served import ROOT, App, running

HERE = Path(__file__).parent
NETWORKS = ("resnet18", "mobilenetv3_small_100", "convnext_tiny", "vit_tiny_patch16_224")
SWAP_TIMEOUT_S = 60  # until OpenVINO has replaced torch
FIRST_START = "lineup, first start"  # with an empty cache of converted networks
Figures = dict[str, float]
Rounds = dict[str, list[Figures]]  # app → figures of each round

PEERS = {  # app → description
    "origin": "Gradio's tutorial: no resizing, all 1,000 labels",
    "eager": "correct preprocessing, PyTorch in eager mode",
    "pipeline": "`gr.Interface.from_pipeline`, ResNet-18 of transformers (patched: Gradio 6 expects transformers 4)",
    "empty": "a constant function: the overhead of Gradio itself",
}
COLUMNS = {  # key → heading, format
    "page_s": ("time to page", "{:.1f} s"),
    "first_s": ("time to first answer", "{:.1f} s"),
    "small_p50": ("1024×768 p50", "{:.0f} ms"),
    "small_p95": ("p95", "{:.0f} ms"),
    "large_p50": ("12 MP p50", "{:.0f} ms"),
    "large_p95": ("p95", "{:.0f} ms"),
    "per_s": ("throughput, 16 clients", "{:.1f}/s"),
    "peak_mb": ("peak memory", "{:.0f} MB"),
    "resident_mb": ("final memory", "{:.0f} MB"),
    "anonymous_mb": ("of which anonymous", "{:.0f} MB"),
}


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    rounds: int
    requests: int  # of one client, for each image size
    seconds: float  # time limit of these requests; also how long sixteen clients run
    forward_s: int
    soak_requests: int


def main() -> None:
    """Run the benchmarks, print the report, and write it to a file."""
    parser = argparse.ArgumentParser(description="Benchmark this app against comparable apps.")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round with few requests; writes no file")
    parser.add_argument(
        "--gpu", action="store_true", help="only the forward passes on a GPU; requires neither gradio nor OpenVINO"
    )
    arguments = parser.parse_args()
    gpu = {name: result for name in NETWORKS if (result := run_inside("cuda", name))}
    if arguments.gpu:
        summary = f"Written by `make bench ARGS=--gpu`, {date.today():%Y-%m-%d}. {machine()}"
        text = f"# GPU benchmark results\n\n{summary}\n\n{gpu_table(gpu)}"
        print(text)
        (HERE / "GPU.md").write_text(text + "\n")
        return
    effort = Effort(arguments.rounds, 30, 12, 12, 2000)
    if arguments.quick:
        effort = Effort(1, 6, 4, 3, 400)
    rounds, problems = measure_apps(effort)
    forwards = {name: run_inside("forward", name, effort.forward_s) for name in NETWORKS}
    switch, soak = run_inside("switch", 9), run_inside("soak", effort.soak_requests)
    text = report(effort, rounds, problems, forwards, switch, soak, gpu, http(arguments.quick))
    print(text)
    if not arguments.quick:
        (HERE / "RESULTS.md").write_text(text + "\n")


def measure_apps(effort: Effort) -> tuple[Rounds, dict[str, str]]:
    """Measure every app in every round; return the figures, and the errors of failed apps."""
    rounds: Rounds = {}
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = write_config(home, ("resnet18",), "device: cpu\nlimits: {queue_size: 1000}")
        images = {size: Images(home, size) for size in (SMALL, LARGE)}
        for number in range(effort.rounds):
            cache = home / f"cache-{number}"  # filled by the first start of a round, used by the second
            env = {
                "HF_HUB_OFFLINE": "1",
                "GRADIO_ANALYTICS_ENABLED": "False",
                "GRADIO_TEMP_DIR": str(home / "uploads"),
                "LINEUP_CACHE": str(cache),
            }
            for app in apps(config):
                print(f"round {number + 1} of {effort.rounds}: {app.name}", file=sys.stderr, flush=True)
                try:
                    rounds.setdefault(app.name, []).append(measure(app, home, env, images, effort))
                except Exception as error:  # a failed app is reported in its row
                    problems[app.name] = " ".join(str(error).split())[-300:] or type(error).__name__
    return rounds, problems


def apps(config: Path) -> Iterator[App]:
    """Yield the apps in the order in which they are measured."""
    for name in PEERS:
        yield App(name, (str(HERE / "peers" / f"{name}.py"),))
    command = ("app.py", "--config", str(config), "--port", "{port}")
    yield App(FIRST_START, command, "/classify")
    yield App("lineup", command, "/classify")


def measure(app: App, home: Path, env: dict[str, str], images: dict[Any, Images], effort: Effort) -> Figures:
    """Start an app, send requests to it, and return its figures."""
    with running(app, home, env) as server:
        client = client_of(server.url)
        send_request(client, app.api, images[SMALL])
        figures: Figures = {"page_s": server.page_s, "first_s": server.since_start()}
        if app.api == "/classify":
            figures["torch_anonymous_mb"] = server.memory_mb("RssAnon")
            figures["swapped_s"] = _wait_for_openvino(server, client, app.api, images[SMALL])
        if app.name == FIRST_START:
            return figures | _memory(server)
        for name, size in (("small", SMALL), ("large", LARGE)):
            one_by_one(client, app.api, images[size], 3, 1)  # warm-up
            answers = one_by_one(client, app.api, images[size], effort.requests, effort.seconds)
            figures[f"{name}_p50"], figures[f"{name}_p95"] = spread([seconds for seconds, _ in answers])
            if app.api == "/classify":
                for step in ("decode", "preprocess", "forward"):
                    figures[f"{name}_{step}"] = statistics.median(answer["milliseconds"][step] for _, answer in answers)
        figures["per_s"] = per_second(server.url, app.api, images[SMALL], effort.seconds)
        client.close()
        return figures | _memory(server)


def _memory(server: Any) -> Figures:
    """Return an app's peak and current resident memory, and how much of it is anonymous (not backed by a file)."""
    fields = {"peak_mb": "VmHWM", "resident_mb": "VmRSS", "anonymous_mb": "RssAnon"}
    return {key: server.memory_mb(field) for key, field in fields.items()}


def _wait_for_openvino(server: Any, client: Any, api: str, images: Images) -> float:
    """Wait until OpenVINO has replaced torch; return the seconds since the start, or infinity after the timeout."""
    deadline = time.perf_counter() + SWAP_TIMEOUT_S
    while time.perf_counter() < deadline:
        if send_request(client, api, images)[1]["engine"] == "openvino":
            return float(server.since_start())
        time.sleep(0.2)
    return float("inf")


def run_inside(job: str, *arguments: object) -> dict[str, Any]:
    """Run a measurement of inside.py in a separate process; a failure is returned as `error`."""
    print(f"{job} {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
    command = [sys.executable, str(HERE / "inside.py"), job, *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if process.returncode:
        return {"error": (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:300]}
    return json.loads(process.stdout.strip().splitlines()[-1]) or {}


def http(quick: bool) -> str:
    """Measure the HTTP API beside its peers, and return the results as Markdown."""
    import rest  # which imports this module

    return rest.measured(rest.QUICK if quick else rest.Effort())


def report(
    effort: Effort,
    rounds: Rounds,
    problems: dict[str, str],
    forwards: dict[str, dict[str, Any]],
    switch: dict[str, Any],
    soak: dict[str, Any],
    gpu: dict[str, dict[str, Any]],
    http: str,
) -> str:
    """Format the results as Markdown."""
    parts = [
        "# Benchmark results",
        f"Written by `make bench`, {date.today():%Y-%m-%d}: medians of {effort.rounds} round(s), each of which "
        "restarts the apps one after the other. Every request uploads a different image. Ratios are computed "
        f"within a round, since absolute times vary with the load of the machine. {machine()}",
        "## Targets",
        targets(rounds, forwards, switch, soak),
        "## Apps",
        apps_table(rounds, problems),
        "*lineup, first start* begins with an empty cache of converted networks, *lineup* with the cache filled by it.",
        "## One request: HTTP",
        http,
        "## Latency breakdown",
        latency_breakdown(rounds),
        "## A forward pass",
        forward_table(forwards),
        "## Switching backbones, and memory over time",
        switching(switch, soak),
        "## GPU",
        gpu_table(gpu),
    ]
    return "\n\n".join(parts)


def machine() -> str:
    """Describe the machine and the installed packages."""
    cpu = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = lines[0] if lines else cpu
    versions = {package.name.lower(): package.version for package in distributions()}
    names = [name for name in ("gradio", "torch", "timm", "openvino") if name in versions]
    packages = ", ".join(f"{name} {versions[name]}" for name in names)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"Machine: {cpu}, {psutil.cpu_count()} cores, {memory:.0f} GB; Python {platform.python_version()}, {packages}."
    )


def targets(rounds: Rounds, forwards: dict[str, Any], switch: dict[str, Any], soak: dict[str, Any]) -> str:
    """Compare the measurements with the targets."""
    empty, eager = "empty", "eager"
    rows = [
        ("p50 latency, 1024×768, relative to empty", ratio(rounds, "small_p50", empty), "≤", 1.15),
        ("p50 latency, 12 MP, relative to empty", ratio(rounds, "large_p50", empty), "≤", 1.35),
        ("throughput, 16 clients, relative to empty", ratio(rounds, "per_s", empty), "≥", 0.75),
        ("time to page, relative to empty", ratio(rounds, "page_s", empty), "≤", 1.3),
        ("time to first answer, weights cached, relative to origin", ratio(rounds, "first_s", "origin"), "≤", 1.0),
        *(
            (f"forward pass of {name}, relative to benchmark_app", result.get("ratio"), "≤", 1.2)
            for name, result in forwards.items()
        ),
        ("peak memory, first start, relative to eager", ratio(rounds, "peak_mb", eager, FIRST_START), "≤", 1.3),
        ("resident memory after the swap, relative to the peak", within(rounds, "resident_mb", "peak_mb"), "≤", 1.0),
        (
            "anonymous memory after the swap, relative to eager",
            ratio(rounds, "anonymous_mb", eager, FIRST_START),
            "≤",
            1.0,
        ),
        (
            "anonymous memory after the swap, relative to before",
            within(rounds, "anonymous_mb", "torch_anonymous_mb"),
            "≤",
            1.0,
        ),
        ("memory growth, MB per 1,000 requests", soak.get("slope"), "≤", 10.0),
        ("switch to a cached backbone, relative to timm's create_model + load", switch.get("cached_ratio"), "≤", 1.5),
    ]
    return table(["", "measured", "target", ""], [_target_row(*row) for row in rows])


def _target_row(subject: str, measured: float | None, sign: str, target: float) -> list[str]:
    if measured is None:
        return [subject, "-", f"{sign} {target:g}", "not measured"]
    met = measured <= target if sign == "≤" else measured >= target
    return [subject, f"{measured:.2f}", f"{sign} {target:g}", "met" if met else "**missed**"]


def within(rounds: Rounds, key: str, against: str) -> float | None:
    """Return the median, over the first starts, of the ratio of two figures of one start."""
    ratios = [figures[key] / figures[against] for figures in rounds.get(FIRST_START, [])]
    return statistics.median(ratios) if ratios else None


def ratio(rounds: Rounds, key: str, against: str, of: str = "lineup") -> float | None:
    """Return the median, over the rounds, of the ratio of a figure of two apps."""
    pairs = zip(rounds.get(of, []), rounds.get(against, []), strict=False)
    ratios = [ours[key] / theirs[key] for ours, theirs in pairs]
    return statistics.median(ratios) if ratios else None


def apps_table(rounds: Rounds, problems: dict[str, str]) -> str:
    """Format the figures of the apps as a table."""
    rows = [
        [f"**{name}**{f': {PEERS[name]}' if name in PEERS else ''}", *(_cell(measured, key) for key in COLUMNS)]
        for name, measured in rounds.items()
    ]
    rows += [[f"**{name}** failed: {error}", *["-"] * len(COLUMNS)] for name, error in problems.items()]
    return table(["", *(heading for heading, _ in COLUMNS.values())], rows)


def _cell(measured: list[Figures], key: str) -> str:
    values = [figures[key] for figures in measured if key in figures]
    return COLUMNS[key][1].format(statistics.median(values)) if values else "-"


def latency_breakdown(rounds: Rounds) -> str:
    """Break the latency of a request down into the overhead of Gradio and the steps of this app."""
    ours, empty = rounds.get("lineup", []), rounds.get("empty", [])
    if not ours or not empty:
        return "not measured"
    rows = []
    for name, size in (("small", "1024×768"), ("large", "12 MP")):
        decode_ms, transform_ms, forward_ms, total_ms = (
            statistics.median(figures[f"{name}_{key}"] for figures in ours)
            for key in ("decode", "preprocess", "forward", "p50")
        )
        empty_ms = statistics.median(figures[f"{name}_p50"] for figures in empty)
        times = (decode_ms, transform_ms, forward_ms, total_ms, empty_ms)
        rows.append([size, *(f"{time_ms:.1f} ms" for time_ms in times), f"{(empty_ms + forward_ms) / empty_ms:.2f}"])
    head = ["", "decode", "transform", "forward", "total", "total of empty", "(empty + forward) / empty"]
    swapped_s = statistics.median(figures["swapped_s"] for figures in rounds.get(FIRST_START, ours))
    return f"{table(head, rows)}\n\nOn a first start, OpenVINO replaces torch after {swapped_s:.1f} s."


def forward_table(forwards: dict[str, dict[str, Any]]) -> str:
    """Format the forward passes in this app's engine, in OpenVINO's benchmark_app and in torch as a table."""
    rows = []
    for name, result in forwards.items():
        if "error" in result:
            rows.append([name, f"failed: {result['error']}", *["-"] * 5])
            continue
        times = [f"{result[key]:.1f} ms" for key in ("ours_ms", "benchmark_app_ms", "eager_ms")]
        rates = [f"{result[key]:.0f}" for key in ("gflops", "peer_gflops")]
        rows.append([f"{name} ({result['gmacs']:.2f} GMACs)", result["engine"], *times, *rates])
    head = ["", "engine", "lineup", "benchmark_app", "torch eager", "GFLOP/s, lineup", "GFLOP/s, benchmark_app"]
    return table(head, rows)


def switching(switch: dict[str, Any], soak: dict[str, Any]) -> str:
    """Describe the cost of switching backbones, and the memory over time."""
    if problem := switch.get("error") or soak.get("error"):
        return f"failed: {problem}"
    slope = "not measured" if soak["slope"] is None else f"{soak['slope']:.1f} MB per 1,000 requests"
    return (
        f"Loading resnet18 from weights and a converted network on disk: {switch['cached_ms']:.0f} ms "
        f"({switch['engine']}); from weights alone: {switch['torch_ms']:.0f} ms (torch); timm's create_model and load: "
        f"{switch['timm_ms']:.0f} ms. Latency (1024×768) of the last used backbone: {switch['same_ms']:.0f} ms, of "
        f"another loaded one: {switch['other_ms']:.0f} ms.\n\n"
        f"{soak['requests']:,} requests with {soak['switches']} switches between two backbones, one of which fits into "
        f"memory at a time: resident memory {soak['first_mb']:.0f} MB after 100 requests, {soak['last_mb']:.0f} MB at "
        f"the end; growth {slope}."
    )


def gpu_table(gpu: dict[str, dict[str, Any]]) -> str:
    """Format the forward passes on a GPU, if there is one, as a table."""
    if not gpu:
        return "This machine has no GPU; see [GPU.md](GPU.md) for GPU results."
    head = ["", "GPU", "bfloat16", "float32", "torch eager, float32", "bfloat16 / eager", "max Δp, float32"]
    rows = [
        [
            name,
            result["gpu"],
            *(f"{result[key]:.2f} ms" for key in ("ours_ms", "float32_ms", "eager_ms")),
            f"{result['ratio']:.2f}",
            f"{result['max_difference']:.1g}",
        ]
        if "error" not in result
        else [name, f"failed: {result['error']}", *["-"] * 5]
        for name, result in gpu.items()
    ]
    return table(head, rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

    return "\n".join([line(head), f"|{'|'.join('-' * (width + 2) for width in widths)}|", *map(line, rows)])


if __name__ == "__main__":
    main()
