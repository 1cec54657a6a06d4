"""Measures parts of the app without a server, and prints the results as JSON; one measurement per process.

python benchmarks/inside.py forward resnet18 5        # seconds
python benchmarks/inside.py switch 9                  # repeats
python benchmarks/inside.py soak 2000                 # requests
python benchmarks/inside.py cuda resnet18
python benchmarks/inside.py export config.yaml folder # the network and the transform for http_peers/
python benchmarks/inside.py steps config.yaml image.jpg 3   # seconds
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing OpenVINO would send telemetry to Intel

import numpy as np
import psutil

SWAP_TIMEOUT_S = 120  # until OpenVINO has replaced torch
BENCHMARK_APP = (
    "import sys; sys.modules['openvino_telemetry'] = None; from openvino.tools.benchmark.main import main; main()"
)
SOAK_BACKBONES = ("resnet18", "mobilenetv3_small_100")


def checkpoint(name: str, folder: Path) -> Path:
    """Write a checkpoint of a timm network with seeded random weights, and return its path."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def write_config(folder: Path, names: tuple[str, ...], settings: str = "device: cpu") -> Path:
    """Write a config whose backbones have checkpoints with random weights and 1,000 labels."""
    (folder / "labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    lines = [
        f"  - {{name: {name}, backbone: {name}, checkpoint: {checkpoint(name, folder).name}, labels: labels.txt}}"
        for name in names
    ]
    path = folder / "config.yaml"
    path.write_text("\n".join(["backbones:", *lines, settings, ""]))
    return path


def forward(name: str, seconds: str) -> dict[str, Any]:
    """Time a forward pass in this app's engine, in OpenVINO's benchmark_app and in torch, alternately."""
    import timm
    import torch

    from lineup.engines.devices import cores

    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    batch = np.random.default_rng(0).standard_normal((1, *network.default_cfg["input_size"]), np.float32)
    slice_s, times = float(seconds) / 3, []
    with tempfile.TemporaryDirectory() as folder:
        pool, swap_s = _openvino_pool(_random_weights(name, "cpu"), name)
        model = _save_openvino(network, batch.shape, Path(folder))
        torch.set_num_threads(cores())
        for _ in range(3):
            ours = _median_ms(lambda: pool.get(name).engine(batch), slice_s)
            time.sleep(0.3)  # idle worker threads spin for a moment
            benchmark_app = _benchmark_app(model, cores(), max(1, round(slice_s)))
            times.append((ours, benchmark_app, _median_ms(lambda: _eager(network, batch), slice_s)))
            time.sleep(0.3)
    ours, benchmark_app, eager = (statistics.median(column) for column in zip(*times, strict=True))
    flops = _flops(network, batch)
    return {
        "engine": pool.get(name).engine.name,
        "swap_s": swap_s,
        "ours_ms": ours,
        "benchmark_app_ms": benchmark_app,
        "eager_ms": eager,
        "ratio": statistics.median(a / b for a, b, _ in times),
        "gmacs": flops / 2e9,
        "gflops": flops / ours / 1e6,
        "peer_gflops": flops / benchmark_app / 1e6,
    }


def cuda(name: str) -> dict[str, Any] | None:
    """Time a forward pass on a GPU: in this app's engine, in bfloat16 and float32, and in eager torch.

    Also compares the float32 probabilities for random input with those of the CPU. Returns None without a GPU.
    """
    import timm
    import torch

    if not torch.cuda.is_available():
        return None
    from lineup.engines.engine import softmax

    network = timm.create_model(name).eval().cuda()
    shape = (1, *network.default_cfg["input_size"])
    batch = np.random.default_rng(0).standard_normal(shape, np.float32)
    engines = {
        precision: _pool(_random_weights(name, "cuda", precision)).get(name).engine for precision in ("auto", "float32")
    }
    times = []
    for _ in range(5):
        auto, float32 = (_median_ms(lambda engine=engine: engine(batch), 0.5) for engine in engines.values())
        times.append((auto, float32, _median_ms(lambda: _eager(network, batch, "cuda"), 0.5)))
    reference, max_difference = _pool(_random_weights(name, "cpu", "float32", "torch")).get(name).engine, 0.0
    for seed in range(100):
        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        difference = np.abs(softmax(engines["float32"](noise)) - softmax(reference(noise))).max()
        max_difference = max(max_difference, float(difference))
    ours, float32, eager = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "gpu": torch.cuda.get_device_name(),
        "ours_ms": ours,
        "float32_ms": float32,
        "eager_ms": eager,
        "ratio": statistics.median(a / c for a, _, c in times),
        "max_difference": max_difference,
    }


def switch(repeats: str) -> dict[str, Any]:
    """Time loading a backbone from local weights, here and in timm, and switching between loaded backbones."""
    import timm

    from lineup.service import Service

    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINEUP_CACHE"] = str(Path(folder) / "cache")
        config = _load_config(write_config(Path(folder), SOAK_BACKBONES))
        torch_only = config.model_copy(update={"engine": "torch"})
        file = str(Path(folder) / "resnet18.safetensors")
        _openvino_pool(config, "resnet18")  # fills the cache of converted networks
        times = []
        for _ in range(int(repeats) + 1):  # the first is a warm-up
            cached, engine = _timed(lambda: _pool(config).get("resnet18").engine.name)
            torch_ms, _ = _timed(lambda: _pool(torch_only).get("resnet18"))
            timm_ms, _ = _timed(lambda: timm.create_model("resnet18", checkpoint_path=file).eval())
            times.append((cached, torch_ms, timm_ms))
        cached, torch_ms, timm_ms = (statistics.median(column) for column in zip(*times[1:], strict=True))
        same, other = _answer_times(Service(config), Path(folder))
    return {
        "engine": engine,
        "cached_ms": cached,
        "torch_ms": torch_ms,
        "timm_ms": timm_ms,
        "cached_ratio": statistics.median(a / c for a, _, c in times[1:]),
        "torch_ratio": statistics.median(b / c for _, b, c in times[1:]),
        "same_ms": same,
        "other_ms": other,
    }


def soak(requests: str) -> dict[str, Any]:
    """Fit a line to the resident memory of a process that switches between two backbones every ten requests.

    Only one of the two fits into the memory limit: each switch evicts one and loads the other.
    """
    from load import SMALL, Images

    from lineup.service import Service

    total, process = int(requests), psutil.Process()
    warmup = min(300, total // 5)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINEUP_CACHE"] = str(Path(folder) / "cache")
        config = _load_config(write_config(Path(folder), SOAK_BACKBONES, "device: cpu\nlimits: {memory_mb: 210}"))
        images, service, resident, used = Images(Path(folder), SMALL), Service(config), [], []
        for name in SOAK_BACKBONES:
            _openvino_pool(config, name)  # later loads use the converted networks
        started = time.perf_counter()
        for number in range(-warmup, total):
            name = SOAK_BACKBONES[number // 10 % 2]
            with images.fresh() as image:
                used.append((name, service.classify(image, name).engine))
            if number >= 0 and number % 100 == 99:
                resident.append((number / 1e3, process.memory_info().rss / 1e6))
                loaded = [status.name for status in service.backbones() if status.status == "ready"]
        seconds = time.perf_counter() - started
    switches = sum(a != b for (a, _), (b, _) in zip(used[warmup:], used[warmup + 1 :], strict=False))
    return {
        "requests": total,
        "switches": switches,
        "loaded_at_end": len(loaded),
        "engines": sorted({engine for _, engine in used}),
        "first_mb": resident[0][1],
        "last_mb": resident[-1][1],
        "slope": float(np.polyfit(*zip(*resident, strict=True), 1)[0]) if len(resident) > 2 else None,
        "seconds": seconds,
    }


def export(config: str, folder: str) -> dict[str, Any]:
    """Write the network of a config's first entry, converted, and the numbers of its preprocessing."""
    from lineup.engines import openvino_engine
    from lineup.service import Service

    service = Service(_load_config(Path(config)))
    name = service.names[0]
    service.load(name).result()
    plan = service.planned(name)
    settings = plan.transform.settings
    steps = {"resize": plan.transform.resize_px, "crop": settings["input_size"][1]}
    steps |= {key: settings[key] for key in ("interpolation", "mean", "std")}
    (Path(folder) / "transform.json").write_text(json.dumps(steps))
    with service.network(name) as network:
        model = openvino_engine.convert(network, plan.transform.input_size)
    openvino_engine.save(model, Path(folder) / "model.xml")
    return steps


def steps(config: str, image: str, seconds: str) -> dict[str, Any]:
    """Time the steps of an answer alone: decoding, transform and forward pass, one image after the other.

    Also how many images a second are decoded and transformed on all cores, by a process on each.
    """
    from multiprocessing import get_context

    from lineup.engines.devices import cores
    from lineup.images.image_bytes import ImageBytes
    from lineup.images.reading import open_image
    from lineup.inference.preprocessing import decode_side_px
    from lineup.service import Service

    loaded, content, slice_s = _load_config(Path(config)), ImageBytes(Path(image).read_bytes()), float(seconds)
    service = Service(loaded)
    name = service.names[0]
    transform = service.planned(name).transform

    def decode() -> Any:
        return open_image(content, loaded.limits.max_megapixels, decode_side_px(transform))

    fork = get_context("fork")  # before any thread
    rates = fork.SimpleQueue()
    workers = [
        fork.Process(target=lambda: rates.put(_rate(lambda: transform(decode()), slice_s))) for _ in range(cores())
    ]
    for worker in workers:
        worker.start()
    per_s = sum(rates.get() for _ in workers)
    for worker in workers:
        worker.join()
    pool, _ = _openvino_pool(loaded, name)
    engine, batch, decoded = pool.get(name).engine, transform(decode()), decode()
    calls = {"decode": decode, "transform": lambda: transform(decoded), "forward": lambda: engine(batch)}
    times: dict[str, list[float]] = {key: [] for key in calls}
    deadline = time.perf_counter() + slice_s
    while time.perf_counter() < deadline:
        for key, call in calls.items():
            times[key].append(_timed(call)[0])
    return {"per_s": per_s, **{key: statistics.median(values) for key, values in times.items()}}


def _rate(call: Callable[[], Any], seconds: float) -> float:
    started, done = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < seconds:
        call()
        done += 1
    return done / took


def _random_weights(name: str, device: str, precision: str = "auto", engine: str = "auto") -> Any:
    """Return a config of one backbone with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(
            f"backbones: [{{name: {name}, backbone: {name}, pretrained: false}}]\n"
            f"device: {device}\nprecision: {precision}\nengine: {engine}\n"
        )
        return _load_config(path)


def _load_config(path: Path) -> Any:
    from lineup import config

    return config.load(path)


def _pool(config: Any) -> Any:
    from lineup.inference.pool import Pool

    return Pool(lambda: config)


def _openvino_pool(config: Any, name: str) -> tuple[Any, float]:
    """Wait until OpenVINO has replaced torch, or the timeout; return the pool and the seconds."""
    pool, started = _pool(config), time.perf_counter()
    while pool.get(name).engine.name != "openvino" and time.perf_counter() - started < SWAP_TIMEOUT_S:
        time.sleep(0.1)
    return pool, time.perf_counter() - started


def _save_openvino(network: Any, shape: tuple[int, ...], folder: Path) -> Path:
    import openvino
    import torch

    model = openvino.convert_model(network, input=list(shape), example_input=torch.zeros(shape))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def _benchmark_app(model: Path, threads: int, seconds: int) -> float:
    """Return the median latency in milliseconds as measured by OpenVINO's benchmark_app."""
    options = ["-m", str(model), "-hint", "none", "-nstreams", "1", "-t", str(seconds), "-nthreads", str(threads)]
    command = [sys.executable, "-c", BENCHMARK_APP, *options]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    match = re.search(r"Median:\s+([\d.]+) (ms|us)", process.stdout)
    if not match:
        raise RuntimeError(f"benchmark_app printed no median: {(process.stdout + process.stderr)[-300:]}")
    return float(match[1]) * (1 if match[2] == "ms" else 1e-3)


def _eager(network: Any, batch: np.ndarray, device: str = "cpu") -> np.ndarray:
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(batch).to(device)).cpu().numpy()


def _flops(network: Any, batch: np.ndarray) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.from_numpy(batch))
    return counter.get_total_flops()  # two per multiply-accumulate


def _answer_times(service: Any, folder: Path) -> tuple[float, float]:
    """Return the median milliseconds of an answer by the last used backbone, and by another loaded one."""
    from load import SMALL, Images

    images, times = Images(folder, SMALL), {"same": [], "other": []}
    for name in SOAK_BACKBONES:
        service._pool.get(name)
        with images.fresh() as image:
            service.classify(image, name)
    for _ in range(15):
        for name in SOAK_BACKBONES:
            for kind in ("other", "same"):
                with images.fresh() as image:
                    times[kind].append(_timed(lambda: service.classify(image, name))[0])  # noqa: B023  (called at once)
    return statistics.median(times["same"]), statistics.median(times["other"])


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = call()
    return (time.perf_counter() - started) * 1e3, value


def _median_ms(call: Callable[[], Any], seconds: float) -> float:
    """Return the median duration of repeated calls in milliseconds, after a warm-up."""
    for _ in range(3):
        call()
    deadline, times = time.perf_counter() + seconds, []
    while time.perf_counter() < deadline or len(times) < 5:
        times.append(_timed(call)[0])
    return statistics.median(times)


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    jobs = {"forward": forward, "cuda": cuda, "switch": switch, "soak": soak, "export": export, "steps": steps}
    print(json.dumps(jobs[job](*arguments)))
