"""Benchmarks this app against its peers in one run, and reports which targets hold; `make bench` runs it.

    python benchmarks/bench.py              # about a quarter of an hour; writes benchmarks/RESULTS.md
    python benchmarks/bench.py --quick      # once, briefly; writes nothing
    python benchmarks/bench.py --gpu        # the forward passes on a GPU alone; writes benchmarks/GPU.md

Each app is a process of its own on 127.0.0.1, started anew in each round, in turn. What counts are the
ratios within a round: a machine's speed changes from minute to minute. No Hub is asked for anything.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
from inside import write_config
from load import LARGE, SMALL, Images, ask, client_of, one_by_one, per_second, spread
from served import ROOT, App, running

HERE = Path(__file__).parent
NETWORKS = ("resnet18", "mobilenetv3_small_100", "convnext_tiny", "vit_tiny_patch16_224")
SWAP_S = 60
FIRST = "lineup, first start"  # with an empty cache of converted networks
Figures = dict[str, float]
Rounds = dict[str, list[Figures]]  # by app

PEERS = {  # what each is, in the table's words
    "origin": "Gradio's tutorial: no resizing, all 1,000 labels",
    "eager": "a correct one with torch",
    "pipeline": "`gr.Interface.from_pipeline`, transformers' ResNet-18 (adapted: Gradio 6 speaks transformers 4)",
    "empty": "a function that does nothing: what Gradio itself takes",
}
COLUMNS = {  # key → heading, format
    "page_s": ("page after", "{:.1f} s"),
    "first_s": ("first answer after", "{:.1f} s"),
    "small_p50": ("1024×768 p50", "{:.0f} ms"),
    "small_p95": ("p95", "{:.0f} ms"),
    "large_p50": ("12 MP p50", "{:.0f} ms"),
    "large_p95": ("p95", "{:.0f} ms"),
    "per_s": ("16 clients", "{:.1f}/s"),
    "peak_mb": ("peak memory", "{:.0f} MB"),
    "resident_mb": ("at the end", "{:.0f} MB"),
    "own_mb": ("of these not of files", "{:.0f} MB"),
}


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    requests: int  # of one client, for each size
    seconds: float  # at most, for these requests; and how long sixteen clients run
    forward_s: int
    soak: int


def main() -> None:
    """Measure everything, print it, and write the results."""
    parser = argparse.ArgumentParser(description="Measure this app beside its peers.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each app is started (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round, few requests; writes no file")
    parser.add_argument("--gpu", action="store_true", help="only what a GPU does; needs no gradio and no OpenVINO")
    arguments = parser.parse_args()
    gpu = {name: found for name in NETWORKS if (found := inside("cuda", name))}
    if arguments.gpu:
        summary = f"Written by `make bench ARGS=--gpu`, {date.today():%Y-%m-%d}. {machine()}"
        text = f"# On a GPU, measured\n\n{summary}\n\n{gpu_table(gpu)}"
        print(text)
        (HERE / "GPU.md").write_text(text + "\n")
        return
    effort = Effort(arguments.rounds, 30, 12, 12, 2000)
    if arguments.quick:
        effort = Effort(1, 6, 4, 3, 400)
    rounds, problems = served(effort)
    forwards = {name: inside("forward", name, effort.forward_s) for name in NETWORKS}
    switch, soak = inside("switch", 9), inside("soak", effort.soak)
    text = report(effort, rounds, problems, forwards, switch, soak, gpu)
    print(text)
    if not arguments.quick:
        (HERE / "RESULTS.md").write_text(text + "\n")


def served(effort: Effort) -> tuple[Rounds, dict[str, str]]:
    """Measure every app in every round: its figures, or the error."""
    rounds: Rounds = {}
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = write_config(home, ("resnet18",), "device: cpu\nlimits: {queue_size: 1000}")
        images = {size: Images(home, size) for size in (SMALL, LARGE)}
        for number in range(effort.rounds):
            kept = home / f"kept-{number}"  # the first start of a round converts, the second uses the cache
            env = {
                "HF_HUB_OFFLINE": "1",
                "GRADIO_ANALYTICS_ENABLED": "False",
                "GRADIO_TEMP_DIR": str(home / "uploads"),
                "LINEUP_CACHE": str(kept),
            }
            for app in apps(config):
                print(f"round {number + 1} of {effort.rounds}: {app.name}", file=sys.stderr, flush=True)
                try:
                    rounds.setdefault(app.name, []).append(measure(app, home, env, images, effort))
                except Exception as error:  # a failed app is reported in its row
                    problems[app.name] = " ".join(str(error).split())[-300:] or type(error).__name__
    return rounds, problems


def apps(config: Path) -> Iterator[App]:
    """List the apps in the order in which they are measured."""
    for name in PEERS:
        yield App(name, (str(HERE / "peers" / f"{name}.py"),))
    command = ("app.py", "--config", str(config), "--port", "{port}")
    yield App(FIRST, command, "/classify")
    yield App("lineup", command, "/classify")


def measure(app: App, home: Path, env: dict[str, str], images: dict[Any, Images], effort: Effort) -> Figures:
    """Start an app, send it requests, and return its figures."""
    with running(app, home, env) as served:
        client = client_of(served.url)
        ask(client, app.api, images[SMALL])
        found: Figures = {"page_s": served.page_s, "first_s": served.since_start()}
        if app.api == "/classify":
            found["torch_mb"], found["torch_own_mb"] = served.memory_mb("VmRSS"), served.memory_mb("RssAnon")
            found["swapped_s"] = _swapped(served, client, app.api, images[SMALL])
        if app.name == FIRST:
            return found | _memory(served)
        for name, size in (("small", SMALL), ("large", LARGE)):
            one_by_one(client, app.api, images[size], 3, 1)  # warms up
            asked = one_by_one(client, app.api, images[size], effort.requests, effort.seconds)
            found[f"{name}_p50"], found[f"{name}_p95"] = spread([seconds for seconds, _ in asked])
            if app.api == "/classify":
                for step in ("decode", "preprocess", "forward"):
                    found[f"{name}_{step}"] = statistics.median(answer["milliseconds"][step] for _, answer in asked)
        found["per_s"] = per_second(served.url, app.api, images[SMALL], effort.seconds)
        client.close()
        return found | _memory(served)


def _memory(served: Any) -> Figures:
    """Return a process's peak memory, its memory now, and how much of that is anonymous (not backed by a file)."""
    names = {"peak_mb": "VmHWM", "resident_mb": "VmRSS", "own_mb": "RssAnon"}
    return {key: served.memory_mb(name) for key, name in names.items()}


def _swapped(served: Any, client: Any, api: str, images: Images) -> float:
    """Wait until OpenVINO answers, and return the seconds since the start; infinite if it never does."""
    until = time.perf_counter() + SWAP_S
    while time.perf_counter() < until:
        if ask(client, api, images)[1]["engine"] == "openvino":
            return float(served.since_start())
        time.sleep(0.2)
    return float("inf")


def inside(job: str, *arguments: object) -> dict[str, Any]:
    """Run a measurement of inside.py in a process of its own; a failure is returned as `error`."""
    print(f"{job} {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
    command = [sys.executable, str(HERE / "inside.py"), job, *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if ran.returncode:
        return {"error": (ran.stderr.strip().splitlines() or ["it failed"])[-1][:300]}
    return json.loads(ran.stdout.strip().splitlines()[-1]) or {}


def report(
    effort: Effort,
    rounds: Rounds,
    problems: dict[str, str],
    forwards: dict[str, dict[str, Any]],
    switch: dict[str, Any],
    soak: dict[str, Any],
    gpu: dict[str, dict[str, Any]],
) -> str:
    """Return the results as Markdown."""
    parts = [
        "# Beside its peers, measured",
        f"Written by `make bench`, {date.today():%Y-%m-%d}; {effort.rounds} round(s), every app started anew in "
        "each, in turn; medians. Every request carries another image. Ratios are of the same round: absolute times "
        f"change with the machine and its mood. {machine()}",
        "## Targets",
        targets(rounds, forwards, switch, soak),
        "## Served",
        apps_table(rounds, problems),
        "The first start of *lineup* has nothing converted yet; the other finds what that one kept.",
        "## Where a request's time goes",
        shares(rounds),
        "## A forward pass",
        forward_table(forwards),
        "## Switching, and a long run",
        lasting(switch, soak),
        "## On a GPU",
        gpu_table(gpu),
    ]
    return "\n\n".join(parts)


def machine() -> str:
    """Describe the machine."""
    cpu = platform.processor() or "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = lines[0] if lines else cpu
    there = {package.name.lower(): package.version for package in distributions()}
    packages = ", ".join(f"{name} {there[name]}" for name in ("gradio", "torch", "timm", "openvino") if name in there)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"Machine: {cpu}, {psutil.cpu_count()} cores, {memory:.0f} GB; Python {platform.python_version()}, {packages}."
    )


def targets(rounds: Rounds, forwards: dict[str, Any], switch: dict[str, Any], soak: dict[str, Any]) -> str:
    """Compare each target with its measurement."""
    empty, eager = "empty", "eager"
    rows = [
        ("p50, 1024×768, against the empty function", ratio(rounds, "small_p50", empty), "≤", 1.15),
        ("p50, 12 MP, against the empty function", ratio(rounds, "large_p50", empty), "≤", 1.35),
        ("requests/s at 16 clients, against the empty function", ratio(rounds, "per_s", empty), "≥", 0.75),
        ("page after start, against gradio alone", ratio(rounds, "page_s", empty), "≤", 1.3),
        ("first answer after start, weights cached, against origin", ratio(rounds, "first_s", "origin"), "≤", 1.0),
        *(
            (f"forward of {name}, against benchmark_app", found.get("ratio"), "≤", 1.2)
            for name, found in forwards.items()
        ),
        (
            "peak memory of a first start, against eager",
            ratio(rounds, "peak_mb", eager, of=FIRST),
            "≤",
            1.3,
        ),
        ("resident once swapped, against its own peak", within(rounds, "resident_mb", "peak_mb"), "≤", 1.0),
        ("not of files once swapped, against the same of eager", ratio(rounds, "own_mb", eager, FIRST), "≤", 1.0),
        ("not of files once swapped, against while torch answered", within(rounds, "own_mb", "torch_own_mb"), "≤", 1.0),
        ("memory, MB per 1,000 requests", soak.get("slope"), "≤", 10.0),
        ("switch to a cached backbone, against timm's create_model + load", switch.get("kept_ratio"), "≤", 1.5),
    ]
    return table(["", "measured", "target", ""], [_target_row(*row) for row in rows])


def _target_row(what: str, found: float | None, sign: str, target: float) -> list[str]:
    if found is None:
        return [what, "-", f"{sign} {target:g}", "not measured"]
    met = found <= target if sign == "≤" else found >= target
    return [what, f"{found:.2f}", f"{sign} {target:g}", "met" if met else "**missed**"]


def within(rounds: Rounds, key: str, against: str) -> float | None:
    """Return the median over the first starts of one figure divided by another of the same start."""
    found = [each[key] / each[against] for each in rounds.get(FIRST, [])]
    return statistics.median(found) if found else None


def ratio(rounds: Rounds, key: str, against: str, of: str = "lineup") -> float | None:
    """Return the median over the rounds of one app's figure divided by another's."""
    pairs = zip(rounds.get(of, []), rounds.get(against, []), strict=False)
    found = [ours[key] / theirs[key] for ours, theirs in pairs]
    return statistics.median(found) if found else None


def apps_table(rounds: Rounds, problems: dict[str, str]) -> str:
    """List the apps and their figures."""
    rows = [
        [f"**{name}**{f': {PEERS[name]}' if name in PEERS else ''}", *(_cell(found, key) for key in COLUMNS)]
        for name, found in rounds.items()
    ]
    rows += [[f"**{name}** failed: {error}", *["-"] * len(COLUMNS)] for name, error in problems.items()]
    return table(["", *(heading for heading, _ in COLUMNS.values())], rows)


def _cell(found: list[Figures], key: str) -> str:
    measured = [figures[key] for figures in found if key in figures]
    return COLUMNS[key][1].format(statistics.median(measured)) if measured else "-"


def shares(rounds: Rounds) -> str:
    """Break a request's latency down into Gradio's part and this app's."""
    ours, empty = rounds.get("lineup", []), rounds.get("empty", [])
    if not ours or not empty:
        return "not measured"
    rows = []
    for name, size in (("small", "1024×768"), ("large", "12 MP")):
        steps = [
            statistics.median(each[f"{name}_{step}"] for each in ours) for step in ("decode", "preprocess", "forward")
        ]
        trip, bare = (statistics.median(each[f"{name}_p50"] for each in found) for found in (ours, empty))
        rows.append([size, *(f"{took:.1f} ms" for took in (*steps, trip, bare)), f"{(bare + steps[2]) / bare:.2f}"])
    head = [
        "",
        "decode",
        "transform",
        "forward",
        "round trip",
        "of the empty function",
        "its floor: forward alone, ratio",
    ]
    swapped = statistics.median(each["swapped_s"] for each in rounds.get(FIRST, ours))
    return f"{table(head, rows)}\n\nOn a first start OpenVINO has taken over after {swapped:.1f} s."


def forward_table(forwards: dict[str, dict[str, Any]]) -> str:
    """List the networks' forward passes in this app's engine, in OpenVINO's benchmark_app, and in torch."""
    rows = []
    for name, found in forwards.items():
        if "error" in found:
            rows.append([name, f"failed: {found['error']}", *["-"] * 5])
            continue
        times = [f"{found[key]:.1f} ms" for key in ("ours_ms", "benchmark_app_ms", "eager_ms")]
        rates = [f"{found[key]:.0f}" for key in ("gflops", "peer_gflops")]
        rows.append([f"{name} ({found['gmacs']:.2f} GMACs)", found["engine"], *times, *rates])
    return table(["", "engine", "here", "benchmark_app", "torch eager", "GFLOP/s here", "benchmark_app's"], rows)


def lasting(switch: dict[str, Any], soak: dict[str, Any]) -> str:
    """Report the cost of a switch of backbones, and the memory over time."""
    if problem := switch.get("error") or soak.get("error"):
        return f"failed: {problem}"
    slope = "not measured" if soak["slope"] is None else f"{soak['slope']:.1f} MB per 1,000 requests"
    return (
        f"resnet18 whose weights and conversion are on disk: {switch['kept_ms']:.0f} ms ({switch['engine']}); without "
        f"its conversion {switch['torch_ms']:.0f} ms; timm's own create_model and load: {switch['timm_ms']:.0f} ms. An "
        f"answer (1024×768) of the backbone that answered last: {switch['same_ms']:.0f} ms; of another one that is "
        f"loaded: {switch['other_ms']:.0f} ms.\n\n"
        f"{soak['requests']:,} requests with {soak['switches']} switches between two backbones of which one fits into "
        f"memory: {soak['first_mb']:.0f} MB after 100 requests, {soak['last_mb']:.0f} MB at the end, {slope}."
    )


def gpu_table(gpu: dict[str, dict[str, Any]]) -> str:
    """List the forward passes on a GPU, if there is one."""
    if not gpu:
        return "No GPU was at hand; [GPU.md](GPU.md) has what one gave."
    head = ["", "GPU", "bfloat16", "float32", "torch eager, float32", "bfloat16 / eager", "Δp of float32, at most"]
    rows = [
        [
            name,
            found["gpu"],
            *(f"{found[key]:.2f} ms" for key in ("ours_ms", "float32_ms", "eager_ms")),
            f"{found['ratio']:.2f}",
            f"{found['off']:.1g}",
        ]
        if "error" not in found
        else [name, f"failed: {found['error']}", *["-"] * 5]
        for name, found in gpu.items()
    ]
    return table(head, rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format a table for a terminal and for Markdown."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    write: Callable[[list[str]], str] = lambda cells: (  # noqa: E731
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"
    )
    return "\n".join([write(head), f"|{'|'.join('-' * (width + 2) for width in widths)}|", *map(write, rows)])


if __name__ == "__main__":
    main()
