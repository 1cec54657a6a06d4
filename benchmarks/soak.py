"""Stress tests the app for about 15 minutes and reports which requirements are met; run by `make soak`.

    python benchmarks/soak.py                 # all parts; writes benchmarks/SOAK.md
    python benchmarks/soak.py --only storm    # one part; writes no file
    python benchmarks/soak.py --quick         # fewer requests, shorter runs; writes no file

The app runs in a separate process on 127.0.0.1. No request is sent to the Hub.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from bench import machine, table
from inside import checkpoint, write_config
from load import SMALL, Images, spread
from served import ROOT, App, Running, running
from storm import BusyServer, Client, same

HERE = Path(__file__).parent
QUEUE_SIZE, CLIENTS = 20, 200  # ten clients per queue slot
BUNDLED = ("efficientnet_lite0", "efficientnet_lite2")
SWAP_TIMEOUT_S = 60  # until OpenVINO has replaced torch
Row = tuple[str, str, str, bool]  # subject, requirement, measurement, whether the requirement is met


def main() -> None:
    """Run the parts, print the report, and write it to SOAK.md."""
    parser = argparse.ArgumentParser(description="Stress test the app and report which requirements are met.")
    parser.add_argument("--only", choices=PARTS, help="run one part; writes no file")
    parser.add_argument("--quick", action="store_true", help="fewer requests and shorter runs; writes no file")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job, *counts = arguments.job
        print(json.dumps(JOBS[job](*map(int, counts))))
        return
    rows, started = [], time.monotonic()
    for name in [arguments.only] if arguments.only else PARTS:
        print(f"{time.monotonic() - started:4.0f} s  {name}", file=sys.stderr, flush=True)
        try:
            rows += PARTS[name](arguments.quick)
        except Exception as error:  # a failed part is reported in its row
            rows.append((name, "-", " ".join(str(error).split())[-300:] or type(error).__name__, False))
    text = report(rows, time.monotonic() - started)
    print(text)
    if not arguments.quick and not arguments.only:
        (HERE / "SOAK.md").write_text(text + "\n")
    sys.exit(not all(met for *_, met in rows))


def report(rows: list[Row], took_s: float) -> str:
    """Format the report as Markdown."""
    summary = f"Written by `make soak`, {date.today():%Y-%m-%d}, in {took_s / 60:.0f} minutes. {machine()}"
    cells = [[*texts, "met" if met else "**missed**"] for *texts, met in rows]
    return f"# Stress test results\n\n{summary}\n\n{table(['', 'requirement', 'measured', ''], cells)}"


# --- invalid images, hostile payloads, invalid configs ---


def images(quick: bool) -> list[Row]:
    """Decode damaged images and decompression bombs, each kind in a separate process."""
    return [
        _images("damaged images", "an image or an error message", 2, 300, "bad_files", "300" if quick else "4000", "7"),
        _images("images of 41 to 400 megapixels", "all rejected", 0.3, 50, "large_images"),
        _images("small decompression bombs", "all rejected", 2, 300, "small_bombs"),
    ]


def _images(subject: str, requirement: str, max_s: float, max_growth_mb: int, *arguments: str) -> Row:
    result = _run_python([str(ROOT / "tests" / "support" / "bad_images.py"), *arguments])
    slowest_s, slowest = result["slowest_s"]
    measured = (
        f"{result['count']:,} files: {result['refused']:,} rejected, {len(result['failures'])} failures; slowest "
        f"{slowest_s:.2f} s ({slowest}); {result['growth_mb']:+.0f} MB; valid image unchanged afterwards: "
        f"{'yes' if result['good_afterwards'] else 'no'}"
    )
    requirement += f"; ≤ {max_s:g} s each; growth ≤ {max_growth_mb} MB; a valid image is unchanged afterwards"
    met = (
        not result["failures"]
        and slowest_s <= max_s
        and result["growth_mb"] <= max_growth_mb
        and result["good_afterwards"]
        and (result["refused"] == result["count"] or arguments[0] == "bad_files")
    )
    return subject, requirement, measured, bool(met)


def hostile(quick: bool) -> list[Row]:
    """Send hostile payloads to every endpoint, in process and over HTTP."""
    with tempfile.TemporaryDirectory() as folder:  # huggingface_hub reads the cache paths on import
        env = {**_env(Path(folder)), "HF_HOME": f"{folder}/hf", "HF_HUB_DISABLE_TELEMETRY": "1"}  # as in app.py
        result = _run_python([__file__, "--job", "hostile", *(("1000", "60") if quick else ("10000", "400"))], env)
    rows = []
    for key, subject in ("in_process", "hostile payloads, in process"), ("http", "hostile payloads, over HTTP"):
        outcomes = result[key]
        measured = (
            f"{outcomes['total']:,}: {outcomes['answered']:,} answered, {outcomes['refused']:,} rejected, "
            f"{outcomes['busy']} refused as busy, {len(outcomes['without_message'])} without a message, "
            f"{len(outcomes['wrong'])} wrong; {len(result['invalid_arguments'])} invalid arguments accepted, "
            f"{len(result['files'])} outside files opened, {len(result['hosts'])} outside hosts contacted"
        )
        violations = (
            outcomes["without_message"],
            outcomes["wrong"],
            result["invalid_arguments"],
            result["files"],
            result["hosts"],
        )
        requirement = "an answer or an error message; no invalid backbone, top_k or path accepted; no outside access"
        rows.append((subject, requirement, measured, not any(violations)))
        for counts in violations:
            print(*list(counts)[:20], sep="\n", file=sys.stderr)
    return rows


def _hostile(in_process_count: int, http_count: int) -> dict[str, Any]:
    import attack

    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(_env(Path(folder)))
        with attack.page(Path(folder)) as page, page.watching() as violations:
            in_process = asyncio.run(attack.in_process(page, in_process_count, seed=11))
            http = attack.over_http(page, http_count, seed=11)
    return {"in_process": in_process.to_json(), "http": http.to_json(), **violations.to_json()}


def configs(quick: bool) -> list[Row]:
    """Parse invalid configs in a separate process."""
    result = _run_python([__file__, "--job", "configs", "1000" if quick else "10000"])
    measured = (
        f"{result['count']:,} configs: {result['rejected']:,} rejected, {result['without_location']} without a "
        f"location, {len(result['uncaught'])} uncaught exceptions; slowest {result['slowest_s']:.2f} s"
    )
    met = not result["without_location"] and not result["uncaught"] and result["slowest_s"] <= 1
    requirement = "every problem has its file:line:column; no uncaught exception; ≤ 1 s each"
    return [
        ("invalid configs, fuzzed", requirement, measured, met),
        _tests("invalid configs, handwritten", "as above, with the exact message", "tests/config/test_bad_configs.py"),
    ]


def _configs(count: int) -> dict[str, Any]:
    import bad_configs

    result: dict[str, Any] = {"count": count, "rejected": 0, "without_location": 0, "uncaught": [], "slowest_s": 0.0}
    for text in bad_configs.fuzzed(count, seed=11):
        started = time.perf_counter()
        try:
            problems = bad_configs.refused(text)
        except Exception as error:
            result["uncaught"].append(f"{type(error).__name__}: {error}"[:200])
            continue
        result["slowest_s"] = max(result["slowest_s"], time.perf_counter() - started)
        result["rejected"] += bool(problems)
        result["without_location"] += any(not re.match(r"config\.yaml:\d+:\d+: ", problem) for problem in problems)
    return result


# --- overload ---


def storm(quick: bool) -> list[Row]:
    """Overload the app with ten clients per queue slot, and an empty Gradio app for comparison."""
    seconds = 10 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = f"device: cpu\nprecision: float32\nlimits: {{queue_size: {QUEUE_SIZE}}}"
        config = write_config(home, ("resnet18",), settings)
        with _serving(home, config) as server:
            _wait_for_openvino(Client(server.url), _image(home))
            ours = _storm(server, "classify", home, seconds)
        app = App("empty", (str(HERE / "peers" / "empty.py"),))
        with running(app, home, _env(home)) as server:
            empty = _storm(server, "predict", home, seconds)
    requirement = "every request is answered or refused as busy; refusals p95 ≤ 2 s; /healthz p99 ≤ 1 s; recovery ≤ 5 s"
    met = not ours["lost"] and ours["busy_p95_s"] <= 2 and ours["health_p99_s"] <= 1 and ours["recovery_s"] <= 5
    subject = f"{CLIENTS} clients for {seconds} s, {QUEUE_SIZE} queue slots, Retry-After ignored"
    return [
        (subject, requirement, _storm_outcome(ours), met),
        ("the same load on an empty Gradio function", "-", _storm_outcome(empty), True),
    ]


def _storm(server: Running, api: str, home: Path, seconds: int) -> dict[str, Any]:
    image, expected = _image(home), home / "expected.json"
    client, other_arguments = Client(server.url, api), [None, 3] if api == "classify" else []
    expected.write_text(json.dumps(client.request(image.read_bytes(), *other_arguments)))
    command = [sys.executable, str(HERE / "storm.py"), server.url, api, str(CLIENTS // 2), str(seconds), str(image)]
    processes = [subprocess.Popen([*command, str(expected)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    stop, health_s = threading.Event(), list[float]()
    prober = threading.Thread(target=_probe, args=(server.url, "healthz" if api == "classify" else "", stop, health_s))
    prober.start()
    tallies = [json.loads(process.communicate(timeout=seconds + 300)[0]) for process in processes]
    stop.set()
    prober.join()
    started = time.monotonic()
    while True:  # recovered: a new client gets an answer
        try:
            client.request(image.read_bytes(), *other_arguments)
            break
        except BusyServer:
            time.sleep(0.05)
    recovery_s = time.monotonic() - started
    lost: dict[str, int] = {}
    for tally in tallies:
        for reason, count in tally["lost"].items():
            lost[reason] = lost.get(reason, 0) + count
    answered_s, busy_s = ([seconds for tally in tallies for seconds in tally[key]] for key in ("answered_s", "busy_s"))
    return {
        "answered": len(answered_s),
        "answered_p95_s": spread(answered_s)[1] / 1e3 if answered_s else float("inf"),
        "busy": len(busy_s),
        "busy_p95_s": spread(busy_s)[1] / 1e3 if busy_s else 0.0,
        "lost": lost,
        "health_p99_s": sorted(health_s)[round(0.99 * (len(health_s) - 1))],
        "recovery_s": recovery_s,
        "per_s": len(answered_s) / seconds,
    }


def _storm_outcome(result: dict[str, Any]) -> str:
    lost = sum(result["lost"].values())
    reasons = (
        f" ({'; '.join(f'{count} × {reason}' for reason, count in list(result['lost'].items())[:3])})" if lost else ""
    )
    return (
        f"{result['answered']:,} answered ({result['per_s']:.1f}/s, p95 {result['answered_p95_s']:.1f} s), "
        f"{result['busy']:,} refused as busy (p95 {result['busy_p95_s']:.2f} s), "
        f"{lost} lost{reasons}; health check p99 {result['health_p99_s']:.2f} s; "
        f"recovery {result['recovery_s']:.1f} s"
    )


def _probe(url: str, path: str, stop: threading.Event, latencies_s: list[float]) -> None:
    import urllib.request

    while not stop.is_set():
        started = time.monotonic()
        try:
            urllib.request.urlopen(f"{url}{path}", timeout=30).read()
            latencies_s.append(time.monotonic() - started)
        except OSError:
            latencies_s.append(float("inf"))
        time.sleep(0.1)


def disconnects(quick: bool) -> list[Row]:
    """Measure the latency of a request that follows a hundred clients that have disconnected."""
    ratios, count = [], 100
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        # a slow backbone, so that Gradio's own milliseconds per event are negligible
        config = write_config(home, ("resnet152",), "device: cpu\nprecision: float32\nlimits: {queue_size: 200}")
        with _serving(home, config) as server:
            client, image = Client(server.url), _image(home)
            _wait_for_openvino(client, image)
            path = client.upload(image.read_bytes())

            def latency_s() -> float:
                started = time.monotonic()
                client.listen(client.join(path, None, 3))
                return time.monotonic() - started

            idle_s = sorted(latency_s() for _ in range(20))[10]
            for _ in range(2 if quick else 5):
                with ThreadPoolExecutor(16) as threads:
                    list(threads.map(lambda number: _disconnect(client, path, number), range(count)))
                ratios.append(latency_s() / idle_s)
                time.sleep(12)  # until the server has dropped the last of them
    median = sorted(ratios)[len(ratios) // 2]
    measured = f"median {median:.1f} ×, max {max(ratios):.1f} ×; idle server: {idle_s * 1e3:.0f} ms"
    requirement = "median latency of the next request ≤ 2 × that on an idle server"
    return [(f"{count} clients that post a request and disconnect", requirement, measured, median <= 2)]


def _disconnect(client: Client, path: str, number: int) -> None:
    """Post a request and disconnect: every second client after connecting for the answer, the others before."""
    import socket

    event = client.join(path, None, 3)
    if number % 2:
        host, _, port = client.url.removeprefix("http://").rstrip("/").partition(":")
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(f"GET /gradio_api/call/classify/{event} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def concurrent(quick: bool) -> list[Row]:
    """Send fifty requests concurrently, each with its own image and one of two backbones."""
    from drawing import draw

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _serving(home, _bundled(home)) as server:
            client = Client(server.url)
            requests = [(draw(home / f"{seed}.jpg", seed).read_bytes(), BUNDLED[seed % 2], 10) for seed in range(50)]
            expected = [client.request(*request) for request in requests]
            with ThreadPoolExecutor(50) as threads:
                answers = list(threads.map(lambda request: client.request(*request), requests))
    max_difference = 0.0
    for a, b in zip(expected, answers, strict=True):
        for one, other in zip(a["predictions"], b["predictions"], strict=True):
            max_difference = max(max_difference, abs(one["probability"] - other["probability"]))
    mismatches = sum(not same(a, b) for a, b in zip(expected, answers, strict=True))
    distinct = len({json.dumps(answer["predictions"]) for answer in expected})
    measured = f"Δp ≤ {max_difference:.1g}; {mismatches} of 50 answers differ ({distinct} distinct answers)"
    requirement = "Δp ≤ 1e-5 in float32; no client receives the answer of another"
    met = max_difference <= 1e-5 and not mismatches
    return [("50 concurrent requests to two backbones, against sequential ones", requirement, measured, met)]


# --- long runs ---


def backbones(quick: bool) -> list[Row]:
    """Request the backbones of the shipped config in random order, with a memory limit that holds a few of them."""
    memory_mb, max_requests, seconds = 400, 60 if quick else 1000, 60 if quick else 300
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _run_python([__file__, "--job", "checkpoints"], {"LINEUP_SOAK_HOME": folder})
        config = home / "config.yaml"
        with config.open("a") as file:
            file.write(f"limits: {{memory_mb: {memory_mb}}}\n")
        names = [entry["name"] for entry in yaml.safe_load(config.read_text())["backbones"]]
        with _serving(home, config) as server:
            client, image, rng = Client(server.url), _image(home).read_bytes(), random.Random(0)
            path, deadline = client.upload(image), time.monotonic() + seconds
            engines, resident_mb = list[str](), list[float]()
            while len(engines) < max_requests and time.monotonic() < deadline:
                engines.append(client.listen(client.join(path, rng.choice(names), 3))["engine"])
                resident_mb.append(server.memory_mb("VmRSS"))
            peak_mb, anonymous_mb = server.memory_mb("VmHWM"), server.memory_mb("RssAnon")
    counts = ", ".join(f"{engines.count(engine):,} by {engine}" for engine in sorted(set(engines)))
    measured = (
        f"{len(engines):,} requests ({counts}), {len(names)} backbones; resident memory: at most "
        f"{max(resident_mb):,.0f} MB after an answer, peak {peak_mb:,.0f} MB, final {resident_mb[-1]:,.0f} MB, of "
        f"which {anonymous_mb:,.0f} MB anonymous"
    )
    requirement = (
        f"{max_requests:,} requests in {seconds} s; resident memory ≤ limits.memory_mb ({memory_mb}) + 1,024 MB"
    )
    met = len(engines) == max_requests and max(resident_mb) <= memory_mb + 1024
    return [("all backbones of the config, in random order", requirement, measured, met)]


def _checkpoints() -> dict[str, Any]:
    """Write the shipped config with random weights instead of downloaded ones."""
    import torchvision
    from safetensors.torch import save_file

    home = Path(os.environ["LINEUP_SOAK_HOME"])
    (home / "labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    entries = []
    for entry in yaml.safe_load((ROOT / "config.yaml").read_text())["backbones"]:
        if isinstance(entry, dict):  # bundled
            entries.append({**entry, "backbone": entry["backbone"].replace("local-dir:", f"local-dir:{ROOT}/")})
            continue
        name = entry.rpartition("/")[2]
        if entry.startswith("torchvision/"):
            save_file(torchvision.models.get_model(name).state_dict(), home / f"{name}.safetensors")
        else:
            checkpoint(name, home)
        entries.append({"name": name, "backbone": entry, "checkpoint": f"{name}.safetensors", "labels": "labels.txt"})
    (home / "config.yaml").write_text(yaml.safe_dump({"backbones": entries, "device": "cpu"}))
    return {}


def soak(quick: bool) -> list[Row]:
    """Send thousands of requests, and fit a line to the memory of the app over the request count."""
    from drawing import draw

    count, warmup = (600, 200) if quick else (5000, 500)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _serving(home, _bundled(home)) as server:
            client = Client(server.url)
            requests = [(draw(home / f"{seed}.jpg", seed).read_bytes(), BUNDLED[seed % 2], 5) for seed in range(8)]
            expected = [client.request(*request) for request in requests]
            resident, wrong = list[tuple[float, float]](), list[int]()  # thousands of requests and MB; request numbers

            def send(number: int) -> None:
                answer = client.request(*requests[number % 8])
                if not same(answer, expected[number % 8], 0.0):
                    wrong.append(number)
                if number > warmup and number % 50 == 0:
                    resident.append((number / 1e3, server.memory_mb("VmRSS")))

            with ThreadPoolExecutor(4) as threads:
                list(threads.map(send, range(1, count + 1)))
    slope = float(np.polyfit(*zip(*resident, strict=True), 1)[0])
    change = f"{resident[0][1]:.0f} → {resident[-1][1]:.0f} MB"
    measured = f"{count:,} requests: {slope:+.1f} MB per 1,000 ({change}); {len(wrong)} wrong answers"
    requirement = "memory growth < 10 MB per 1,000 requests after the first 500; no wrong answer"
    return [("long run", requirement, measured, slope < 10 and not wrong)]


# --- fault injection tests ---


def faults(quick: bool) -> list[Row]:
    """Run the tests that inject faults into the Hub, a backbone and the process."""
    hub_requirement = (
        "a cached file always loads; a first download fails with its own message within the timeout + 5 s, other "
        "backbones answer meanwhile; corrupt files never load"
    )
    return [
        _tests("12 faults of the Hub, with and without a cached file", hub_requirement, "tests/hub/test_faults.py"),
        _tests(
            "exception, MemoryError or hang in a backbone",
            "no other backbone is affected",
            "tests/server/test_admission.py",
            "hanging_forward_pass or network_error",
        ),
        _tests(
            "kill -9 during a download, a cache write or a request",
            "the next start ignores partial files and serves requests",
            "tests/test_killed.py",
        ),
    ]


def _tests(subject: str, requirement: str, file: str, keyword: str = "") -> Row:
    options = ("-p", "no:cacheprovider", "-m", "long or not long")  # also tests that `make test` leaves out
    command = [sys.executable, "-m", "pytest", *options, file, *(("-k", keyword) if keyword else ())]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    last_line = (process.stdout.strip().splitlines() or ["no output"])[-1]
    return subject, requirement, f"{last_line} ({file})", process.returncode == 0


# --- helpers ---


def _bundled(home: Path) -> Path:
    path = home / "config.yaml"
    entries = ", ".join(f"{{name: {name}, backbone: 'local-dir:{ROOT}/bundled/{name}'}}" for name in BUNDLED)
    path.write_text(f"engine: torch\nprecision: float32\ndevice: cpu\nbackbones: [{entries}]\n")
    return path


def _env(home: Path) -> dict[str, str]:
    return {
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(home / "uploads"),
        "LINEUP_CACHE": str(home / "converted"),
    }


@contextmanager
def _serving(home: Path, config: Path) -> Iterator[Running]:
    """Serve a config, and enter the block once its default backbone is ready."""
    app = App("lineup", ("app.py", "--config", str(config), "--port", "{port}"), "classify")
    with running(app, home, _env(home)) as server:
        Client(server.url).request(_image(home).read_bytes(), None, 1)
        yield server


def _image(home: Path) -> Path:
    """Return a JPEG of 1024 × 768 pixels."""
    path = home / "image.jpg"
    if not path.exists():
        with Images(home, SMALL).fresh() as original:
            path.write_bytes(original.read_bytes())
    return path


def _wait_for_openvino(client: Client, image: Path) -> None:
    """Wait until OpenVINO has replaced torch: the probabilities of the two differ in their last digits."""
    deadline = time.monotonic() + SWAP_TIMEOUT_S
    while time.monotonic() < deadline and client.request(image.read_bytes(), None, 1)["engine"] != "openvino":
        time.sleep(0.2)


def _run_python(arguments: list[str], env: dict[str, str] | None = None) -> Any:
    """Run Python in a separate process, and return the JSON on the last line of its output."""
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=900,
    )
    if process.returncode:
        raise RuntimeError((process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1])
    return json.loads(process.stdout.strip().splitlines()[-1])


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    part.__name__: part for part in (images, hostile, storm, disconnects, backbones, soak, faults, concurrent, configs)
}
JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "hostile": _hostile,
    "configs": _configs,
    "checkpoints": _checkpoints,
}

if __name__ == "__main__":
    main()
