"""Stress tests the app for a quarter of an hour, and reports which guarantees hold; `make soak` runs it.

    python benchmarks/soak.py                 # everything; writes benchmarks/SOAK.md
    python benchmarks/soak.py --only storm    # one part; writes nothing
    python benchmarks/soak.py --quick         # less of everything; writes nothing

What is measured is a process of its own on 127.0.0.1. No request is sent to the Hub.
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
QUEUE, CLIENTS = 20, 200  # queue slots, and ten times as many clients
BUNDLED = ("efficientnet_lite0", "efficientnet_lite2")
SWAP_S = 60
Row = tuple[str, str, str, bool]  # subject, requirement, measurement, whether it holds


def main() -> None:
    """Run every part, print a table, and write it to SOAK.md."""
    parser = argparse.ArgumentParser(description="Try to break the app, and say which promises hold.")
    parser.add_argument("--only", choices=PARTS, help="run one part; writes no file")
    parser.add_argument("--quick", action="store_true", help="less of everything; writes no file")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job, *numbers = arguments.job
        print(json.dumps(JOBS[job](*map(int, numbers))))
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
    """Return the report as Markdown."""
    summary = f"Written by `make soak`, {date.today():%Y-%m-%d}, in {took_s / 60:.0f} minutes. {machine()}"
    cells = [[what, must, measured, "met" if met else "**missed**"] for what, must, measured, met in rows]
    return f"# Nothing breaks it, measured\n\n{summary}\n\n{table(['', 'must hold', 'measured', ''], cells)}"


# --- invalid images, malicious clients, invalid configs ---


def images(quick: bool) -> list[Row]:
    """Open bad images, each kind in a process of its own."""
    return [
        _images("bad images", "no crash, none without a message", 2, 300, "bad_files", "300" if quick else "4000", "7"),
        _images("images of 41 to 400 megapixels", "all refused", 0.3, 50, "large_images"),
        _images("small files that blow up", "all refused", 2, 300, "small_bombs"),
    ]


def _images(what: str, must: str, most_s: float, most_mb: int, *asked: str) -> Row:
    ran = _apart([str(ROOT / "tests" / "support" / "bad_images.py"), *asked])
    slowest_s, slowest = ran["slowest_s"]
    measured = (
        f"{ran['count']:,} files: {ran['refused']:,} refused, {len(ran['failures'])} failures; slowest "
        f"{slowest_s:.2f} s ({slowest}); {ran['growth_mb']:+.0f} MB; then the same: "
        f"{'yes' if ran['good_afterwards'] else 'no'}"
    )
    must = f"{must}; each ≤ {most_s:g} s; growth ≤ {most_mb} MB; a known image then is the same"
    held = not ran["failures"] and slowest_s <= most_s and ran["growth_mb"] <= most_mb and ran["good_afterwards"]
    return what, must, measured, bool(held and (ran["refused"] == ran["count"] or asked[0] == "bad_files"))


def hostile(quick: bool) -> list[Row]:
    """Send malicious payloads to every endpoint, in this process and over HTTP."""
    with tempfile.TemporaryDirectory() as folder:  # the Hub's client reads the cache paths at its import
        env = {**_env(Path(folder)), "HF_HOME": f"{folder}/hf", "HF_HUB_DISABLE_TELEMETRY": "1"}  # as app.py sets it
        ran = _apart([__file__, "--job", "hostile", *(("1000", "60") if quick else ("10000", "400"))], env)
    rows = []
    for where, words in ("inside", "in the process"), ("http", "over HTTP"):
        found = ran[where]
        measured = (
            f"{found['total']:,}: {found['answered']:,} answered, {found['refused']:,} refused, {found['busy']} told "
            f"busy, {len(found['without_message'])} without a message, {len(found['wrong'])} wrong; "
            f"{len(ran['invalid_arguments'])} got through, {len(ran['files'])} files opened, "
            f"{len(ran['hosts'])} hosts asked"
        )
        bad = found["without_message"], found["wrong"], ran["invalid_arguments"], ran["files"], ran["hosts"]
        must = "an answer or an error message; no unlisted backbone, top_k or path gets through; 0 opens outside"
        rows.append((f"hostile payloads {words}", must, measured, not any(bad)))
        for each in bad:
            print(*list(each)[:20], sep="\n", file=sys.stderr)
    return rows


def _hostile(inside_count: int, http_count: int) -> dict[str, Any]:
    import attack

    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(_env(Path(folder)))
        with attack.page(Path(folder)) as page, page.watching() as seen:
            ends = asyncio.run(attack.in_process(page, inside_count, seed=11))
            http = attack.over_http(page, http_count, seed=11)
    return {"inside": ends.to_json(), "http": http.to_json(), **seen.to_json()}


def configs(quick: bool) -> list[Row]:
    """Read bad configs in a process of its own."""
    ran = _apart([__file__, "--job", "configs", "1000" if quick else "10000"])
    measured = (
        f"{ran['count']:,} fuzzed: {ran['refused']:,} refused, {ran['nameless']} without their place, "
        f"{len(ran['uncaught'])} uncaught; slowest {ran['slowest_s']:.2f} s"
    )
    held = not ran["nameless"] and not ran["uncaught"] and ran["slowest_s"] <= 1
    must = "each problem names file:line:column; 0 uncaught; ≤ 1 s each"
    return [
        ("bad configs, fuzzed", must, measured, held),
        _tests("bad configs, by hand", "each as above, in its words", "tests/config/test_bad_configs.py"),
    ]


def _configs(count: int) -> dict[str, Any]:
    import bad_configs

    found: dict[str, Any] = {"count": count, "refused": 0, "nameless": 0, "uncaught": [], "slowest_s": 0.0}
    for text in bad_configs.fuzzed(count, seed=11):
        started = time.perf_counter()
        try:
            problems = bad_configs.refused(text)
        except Exception as error:
            found["uncaught"].append(f"{type(error).__name__}: {error}"[:200])
            continue
        found["slowest_s"] = max(found["slowest_s"], time.perf_counter() - started)
        found["refused"] += bool(problems)
        found["nameless"] += any(not re.match(r"config\.yaml:\d+:\d+: ", problem) for problem in problems)
    return found


# --- overload ---


def storm(quick: bool) -> list[Row]:
    """Overload the app with ten times as many clients as queue slots, and plain Gradio for comparison."""
    seconds = 10 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = write_config(home, ("resnet18",), f"device: cpu\nprecision: float32\nlimits: {{queue_size: {QUEUE}}}")
        with _serving(home, config) as served:
            _swapped(Client(served.url), _image(home))
            ours = _storm(served, "classify", home, seconds)
        app = App("empty", (str(HERE / "peers" / "empty.py"),))
        with running(app, home, _env(home)) as served:
            empty = _storm(served, "predict", home, seconds)
    must = "each request is answered or refused as busy; busy p95 ≤ 2 s; /healthz p99 ≤ 1 s; healthy ≤ 5 s after"
    held = not ours["lost"] and ours["busy_p95_s"] <= 2 and ours["health_p99_s"] <= 1 and ours["well_s"] <= 5
    what = f"{CLIENTS} clients for {seconds} s, {QUEUE} places; they do not obey Retry-After"
    return [
        (what, must, _storm_outcome(ours), held),
        ("the same, an empty Gradio function", "-", _storm_outcome(empty), True),
    ]


def _storm(served: Running, api: str, home: Path, seconds: int) -> dict[str, Any]:
    image = _image(home)
    client, more = Client(served.url, api), [None, 3] if api == "classify" else []
    (home / "right.json").write_text(json.dumps(client.ask(image.read_bytes(), *more)))
    command = [sys.executable, str(HERE / "storm.py"), served.url, api, str(CLIENTS // 2), str(seconds), str(image)]
    clients = [
        subprocess.Popen([*command, str(home / "right.json")], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    over, health_s = threading.Event(), list[float]()
    prober = threading.Thread(target=_probe, args=(served.url, "healthz" if api == "classify" else "", over, health_s))
    prober.start()
    found = [json.loads(each.communicate(timeout=seconds + 300)[0]) for each in clients]
    over.set()
    prober.join()
    started = time.monotonic()
    while True:  # recovered: a new client gets an answer
        try:
            client.ask(image.read_bytes(), *more)
            break
        except BusyServer:
            time.sleep(0.05)
    well_s = time.monotonic() - started
    lost: dict[str, int] = {}
    for each in found:
        for reason, count in each["lost"].items():
            lost[reason] = lost.get(reason, 0) + count
    answered_s, busy_s = ([second for each in found for second in each[key]] for key in ("answered_s", "busy_s"))
    return {
        "answered": len(answered_s),
        "answered_p95_s": spread(answered_s)[1] / 1e3 if answered_s else float("inf"),
        "busy": len(busy_s),
        "busy_p95_s": spread(busy_s)[1] / 1e3 if busy_s else 0.0,
        "lost": lost,
        "health_p99_s": sorted(health_s)[round(0.99 * (len(health_s) - 1))],
        "well_s": well_s,
        "per_s": len(answered_s) / seconds,
    }


def _storm_outcome(found: dict[str, Any]) -> str:
    lost = sum(found["lost"].values())
    reasons = (
        f" ({'; '.join(f'{count} × {reason}' for reason, count in list(found['lost'].items())[:3])})" if lost else ""
    )
    return (
        f"{found['answered']:,} answered ({found['per_s']:.1f}/s, p95 {found['answered_p95_s']:.1f} s), "
        f"{found['busy']:,} refused as busy (p95 {found['busy_p95_s']:.2f} s), "
        f"{lost} lost{reasons}; health p99 {found['health_p99_s']:.2f} s; "
        f"well after {found['well_s']:.1f} s"
    )


def _probe(url: str, path: str, over: threading.Event, took_s: list[float]) -> None:
    import urllib.request

    while not over.is_set():
        started = time.monotonic()
        try:
            urllib.request.urlopen(f"{url}{path}", timeout=30).read()
            took_s.append(time.monotonic() - started)
        except OSError:
            took_s.append(float("inf"))
        time.sleep(0.1)


def disconnects(quick: bool) -> list[Row]:
    """Let a hundred clients post and disconnect, then measure how long the next one waits."""
    ratios, count = [], 100
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        # a slow backbone, so that Gradio's own milliseconds per event are negligible
        config = write_config(home, ("resnet152",), "device: cpu\nprecision: float32\nlimits: {queue_size: 200}")
        with _serving(home, config) as served:
            client, image = Client(served.url), _image(home)
            _swapped(client, image)
            path = client.upload(image.read_bytes())

            def one() -> float:
                started = time.monotonic()
                client.listen(client.join(path, None, 3))
                return time.monotonic() - started

            alone = sorted(one() for _ in range(20))[10]
            for _ in range(2 if quick else 5):
                with ThreadPoolExecutor(16) as threads:
                    list(threads.map(lambda number: _disconnect(client, path, number), range(count)))
                ratios.append(one() / alone)
                time.sleep(12)  # until the last of them count as disconnected
    middle = sorted(ratios)[len(ratios) // 2]
    measured = f"{middle:.1f} × in the middle, {max(ratios):.1f} × at worst; one alone: {alone * 1e3:.0f} ms"
    must = "the next client is answered in ≤ 2 × the time of one alone (median)"
    return [(f"{count} clients that join and disconnect", must, measured, middle <= 2)]


def _disconnect(client: Client, path: str, number: int) -> None:
    """Post requests and disconnect: some after connecting for the answer, some before."""
    import socket

    event = client.join(path, None, 3)
    if number % 2:
        host, _, port = client.url.removeprefix("http://").rstrip("/").partition(":")
        with socket.create_connection((host, int(port)), 10) as line:
            line.sendall(f"GET /gradio_api/call/classify/{event} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def together(quick: bool) -> list[Row]:
    """Send requests from fifty clients at once, each with its own image and one of two backbones."""
    from drawing import draw

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _serving(home, _bundled(home)) as served:
            client = Client(served.url)
            asked = [(draw(home / f"{seed}.jpg", seed).read_bytes(), BUNDLED[seed % 2], 10) for seed in range(50)]
            alone = [client.ask(*each) for each in asked]
            with ThreadPoolExecutor(50) as threads:
                found = list(threads.map(lambda each: client.ask(*each), asked))
    off = 0.0
    for a, b in zip(alone, found, strict=True):
        for one, other in zip(a["predictions"], b["predictions"], strict=True):
            off = max(off, abs(one["probability"] - other["probability"]))
    strange = sum(not same(a, b) for a, b in zip(alone, found, strict=True))
    distinct = len({json.dumps(each["predictions"]) for each in alone})
    measured = f"|Δ| ≤ {off:.1g}; {strange} of 50 got another's answer ({distinct} different ones)"
    must = "|Δ| ≤ 1e-5 in float32; no client gets the answer of another"
    return [("50 at once, mixed backbones, beside one by one", must, measured, off <= 1e-5 and not strange)]


# --- long runs ---


def lineup(quick: bool) -> list[Row]:
    """Request every backbone of the shipped config in random order, with memory for a few of them."""
    memory_mb, most, seconds = 400, 60 if quick else 1000, 60 if quick else 300
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _apart([__file__, "--job", "checkpoints"], {"LINEUP_SOAK_HOME": folder})
        config = home / "config.yaml"
        with config.open("a") as file:
            file.write(f"limits: {{memory_mb: {memory_mb}}}\n")
        names = [entry["name"] for entry in yaml.safe_load(config.read_text())["backbones"]]
        with _serving(home, config) as served:
            client, image, chance = Client(served.url), _image(home).read_bytes(), random.Random(0)
            path, until, used, resident = (
                client.upload(image),
                time.monotonic() + seconds,
                list[str](),
                list[float](),
            )
            while len(used) < most and time.monotonic() < until:
                used.append(client.listen(client.join(path, chance.choice(names), 3))["engine"])
                resident.append(served.memory_mb("VmRSS"))
            peak, own = served.memory_mb("VmHWM"), served.memory_mb("RssAnon")
    engines = ", ".join(f"{used.count(engine):,} by {engine}" for engine in sorted(set(used)))
    measured = (
        f"{len(used):,} requests ({engines}), {len(names)} backbones: after an answer at most {max(resident):,.0f} MB, "
        f"at any time {peak:,.0f} MB, at the end {resident[-1]:,.0f} MB, {own:,.0f} MB of them not of files"
    )
    must = f"{most:,} requests in {seconds} s; resident ≤ limits.memory_mb ({memory_mb}) + 1,024 MB"
    held = len(used) == most and max(resident) <= memory_mb + 1024
    return [("every backbone of the config, in random order", must, measured, held)]


def _checkpoints() -> dict[str, Any]:
    """Write the shipped config with random weights in the place of those that would be downloaded."""
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
    """Send thousands of requests, and fit a line to the memory of the app."""
    from drawing import draw

    requests, warm = (600, 200) if quick else (5000, 500)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _serving(home, _bundled(home)) as served:
            client = Client(served.url)
            asked = [(draw(home / f"{seed}.jpg", seed).read_bytes(), BUNDLED[seed % 2], 5) for seed in range(8)]
            right = [client.ask(*each) for each in asked]
            resident, wrong, count = list[tuple[float, float]](), list[int](), iter(range(1, requests + 1))

            def work(number: int) -> None:
                found = client.ask(*asked[number % 8])
                if not same(found, right[number % 8], 0.0):
                    wrong.append(number)
                if number > warm and number % 50 == 0:
                    resident.append((number / 1e3, served.memory_mb("VmRSS")))

            with ThreadPoolExecutor(4) as threads:
                list(threads.map(work, count))
    slope = float(np.polyfit(*zip(*resident, strict=True), 1)[0])
    grew = f"{resident[0][1]:.0f} → {resident[-1][1]:.0f} MB"
    measured = f"{requests:,} requests: {slope:+.1f} MB per 1,000 ({grew}); {len(wrong)} wrong"
    return [("a long run", "< 10 MB per 1,000 requests after 500; 0 wrong answers", measured, slope < 10 and not wrong)]


# --- fault injection tests ---


def faults(quick: bool) -> list[Row]:
    """Run the tests with failures of the Hub, of a backbone, and of the process."""
    hub = (
        "cached never fails; cold ends in its sentence within the deadline + 5 s, others answer; wrong bytes never load"
    )
    return [
        _tests("12 faults of the Hub, cold and cached", hub, "tests/hub/test_faults.py"),
        _tests(
            "an exception, MemoryError, a hang in a backbone",
            "only that backbone is affected",
            "tests/server/test_admission.py",
            "hanging_forward_pass or network_error",
        ),
        _tests(
            "kill -9 in a download, a cache write, a request",
            "the next start is ready from what was whole",
            "tests/test_killed.py",
        ),
    ]


def _tests(what: str, must: str, file: str, only: str = "") -> Row:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", file, *(("-k", only) if only else ())]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    last = (ran.stdout.strip().splitlines() or ["nothing was printed"])[-1]
    return what, must, f"{last} ({file})", ran.returncode == 0


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
        "LINEUP_CACHE": str(home / "kept"),
    }


@contextmanager
def _serving(home: Path, config: Path) -> Iterator[Running]:
    """Serve a config; enter the block once its default backbone is ready."""
    app = App("lineup", ("app.py", "--config", str(config), "--port", "{port}"), "classify")
    with running(app, home, _env(home)) as served:
        Client(served.url).ask(_image(home).read_bytes(), None, 1)
        yield served


def _image(home: Path) -> Path:
    """Return a JPEG of 1024 × 768 pixels."""
    path = home / "image.jpg"
    if not path.exists():
        with Images(home, SMALL).fresh() as fresh:
            path.write_bytes(fresh.read_bytes())
    return path


def _swapped(client: Client, image: Path) -> None:
    """Wait until OpenVINO answers: it changes the last digits of an answer."""
    until = time.monotonic() + SWAP_S
    while time.monotonic() < until and client.ask(image.read_bytes(), None, 1)["engine"] != "openvino":
        time.sleep(0.2)


def _apart(arguments: list[str], env: dict[str, str] | None = None) -> Any:
    """Run Python in a process of its own, and return the JSON that it prints last."""
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=900,
    )
    if ran.returncode:
        raise RuntimeError((ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1])
    return json.loads(ran.stdout.strip().splitlines()[-1])


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    each.__name__: each for each in (images, hostile, storm, disconnects, lineup, soak, faults, together, configs)
}
JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "hostile": _hostile,
    "configs": _configs,
    "checkpoints": _checkpoints,
}

if __name__ == "__main__":
    main()
