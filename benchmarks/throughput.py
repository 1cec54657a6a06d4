"""Measures the throughput of batches in this app's engines beside OpenVINO's `benchmark_app -hint throughput`.

Both run the same converted network on random tensors of the same shape, on all cores, in turns: each batch
size, and benchmark_app. The ratios are of the same round. Writes THROUGHPUT.md:

    python benchmarks/throughput.py               # 7 rounds of 4 networks: about 6 minutes
    python benchmarks/throughput.py --rounds 1    # prints only
"""

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench import NETWORKS, machine, table
from inside import BENCHMARK_APP

HERE = Path(__file__).parent
SIZES = (1, 8, 32, 64)  # images in a batch
TURN_S = 1.5
TARGET = 0.9


def main() -> None:
    """Measure each network in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="below 5, nothing is written (default: 7)")
    parser.add_argument("--network", help="measure this one here, and print its figures as JSON")
    arguments = parser.parse_args()
    if arguments.network:
        print(json.dumps(measured(arguments.network, arguments.rounds)))
        return
    load = os.getloadavg()[0]  # above 0 others compute at the same time, and the ratios scatter
    found = {name: _in_a_process(name, arguments.rounds) for name in NETWORKS}
    text = report(found, arguments.rounds, load)
    print(text)
    if arguments.rounds >= 5:
        (HERE / "THROUGHPUT.md").write_text(text + "\n")


def _in_a_process(name: str, rounds: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--network", name, "--rounds", str(rounds)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Return images per second of a network: by batch size, and of benchmark_app, by round."""
    import timm
    import torch

    from lineup.engines import openvino_engine
    from lineup.engines.devices import cores
    from lineup.engines.openvino_engine import OpenVINOEngine

    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    size = network.default_cfg["input_size"]
    images = np.random.default_rng(0).standard_normal((max(SIZES), *size), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.xml"
        openvino_engine.save(openvino_engine.convert(network, size[1:]), model)
        engine = OpenVINOEngine(model, "auto", cores())
        engine(images[:1])
        before = _anonymous_mb()
        started = time.perf_counter()
        engine(images)
        compile_s = time.perf_counter() - started
        calls = {str(count): _call(engine, images[:count]) for count in SIZES}
        rates: dict[str, list[float]] = {key: [] for key in (*calls, "benchmark_app")}
        for _ in range(rounds):
            for key, call in calls.items():
                rates[key].append(_per_second(call))
                time.sleep(0.3)  # idle worker threads spin for a moment
            rates["benchmark_app"].append(benchmark_app(model))
    return {
        "rates": rates,
        "hint": engine.hint,
        "compile_s": compile_s,
        "added_mb": _anonymous_mb() - before,
        "estimated_mb": engine.batch_memory_bytes / 1e6,
        "weights_mb": sum(each.numel() for each in network.parameters()) * 4 / 1e6,
    }


def _call(engine: Any, batch: np.ndarray) -> Callable[[], int]:
    def call() -> int:
        return len(engine(batch))

    return call


def _per_second(call: Callable[[], int]) -> float:
    """Return the images per second of repeated calls, after one to warm up."""
    call()
    started, done = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < TURN_S:
        done += call()
    return done / took


def benchmark_app(model: Path, *more: str) -> float:
    """Return the images per second that OpenVINO's own tool measures; with a hint it takes no number of threads."""
    options = ["-m", str(model), "-hint", "throughput", "-t", "2", *more]
    command = [sys.executable, "-c", BENCHMARK_APP, *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"Throughput:\s+([\d.]+) FPS", ran.stdout)
    if not found:
        raise RuntimeError(f"benchmark_app printed no throughput: {(ran.stdout + ran.stderr)[-300:]}")
    return float(found[1])


def _anonymous_mb() -> float:
    """Return the memory of this process that no file backs, in millions of bytes."""
    gc.collect()
    memory = psutil.Process().memory_full_info()
    return (memory.rss - memory.shared) / 1e6


def report(found: dict[str, dict[str, Any]], rounds: int, load: float) -> str:
    """Return the results as Markdown."""
    rows = [[name, *_cells(each)] for name, each in found.items()]
    head = ["", *(f"{count}" for count in SIZES), "benchmark_app", "best / benchmark_app", ""]
    memory = [
        [
            name,
            f"{each['weights_mb']:.0f} MB",
            f"{each['added_mb']:.0f} MB",
            f"{each['estimated_mb']:.0f} MB",
            f"{each['compile_s']:.1f} s",
        ]
        for name, each in found.items()
    ]
    return "\n\n".join(
        [
            "# Throughput of batches, measured",
            f"Written by `python benchmarks/throughput.py`, {date.today():%Y-%m-%d}; medians of {rounds} round(s) of "
            f"{TURN_S:g} s a cell, in turn; load average at the start {load:.1f}. {machine()}",
            "Images per second on tensors, by the number of images in a batch, in this app's engine (OpenVINO in its "
            "default precision), and in OpenVINO's own tool with "
            "`-hint throughput` on the same model. The ratio is of the same round.",
            table(head, rows),
            "The graph for batches is a second one, compiled when the first batch comes: what it adds to the process's "
            "anonymous memory, what the engine estimates, and how long the first batch of "
            f"{max(SIZES)} takes with it.",
            table(["", "weights", "added", "estimated", "first batch"], memory),
        ]
    )


def _cells(each: dict[str, Any]) -> list[str]:
    rates = {key: statistics.median(values) for key, values in each["rates"].items()}
    best = max(map(str, SIZES), key=rates.__getitem__)
    pairs = zip(each["rates"][best], each["rates"]["benchmark_app"], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    numbers = [f"**{rates[key]:.1f}**" if key == best else f"{rates[key]:.1f}" for key in rates]
    return [*numbers, f"{ratio:.2f}", f"≥ {TARGET}: {'met' if ratio >= TARGET else '**missed**'}"]


if __name__ == "__main__":
    main()
