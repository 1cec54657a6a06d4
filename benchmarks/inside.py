"""Measures parts of the app without a server; each in a process of its own, which prints its results as JSON.

python benchmarks/inside.py forward resnet18 5        # seconds in all
python benchmarks/inside.py switch 9                  # repeats
python benchmarks/inside.py soak 2000                 # requests
python benchmarks/inside.py cuda resnet18
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

SWAP_S = 120
BENCHMARK_APP = (
    "import sys; sys.modules['openvino_telemetry'] = None; from openvino.tools.benchmark.main import main; main()"
)
SOAKED = ("resnet18", "mobilenetv3_small_100")


def checkpoint(name: str, folder: Path) -> Path:
    """Write a timm network's seeded random weights, and return the file."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def write_config(folder: Path, names: tuple[str, ...], more: str = "device: cpu") -> Path:
    """Write a config whose backbones are checkpoints with random weights, and 1,000 labels."""
    (folder / "labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    lines = [
        f"  - {{name: {name}, backbone: {name}, checkpoint: {checkpoint(name, folder).name}, labels: labels.txt}}"
        for name in names
    ]
    path = folder / "config.yaml"
    path.write_text("\n".join(["backbones:", *lines, more, ""]))
    return path


def forward(name: str, seconds: str) -> dict[str, Any]:
    """Time a network in this app's engine, in OpenVINO's benchmark_app and in torch, in turns."""
    import timm
    import torch

    from lineup.engines.devices import cores

    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    batch = np.random.default_rng(0).standard_normal((1, *network.default_cfg["input_size"]), np.float32)
    turn_s, found = float(seconds) / 3, []
    with tempfile.TemporaryDirectory() as folder:
        pool, waited = _swapped(_untrained(name, "cpu"), name)
        model = _saved(network, batch.shape, Path(folder))
        torch.set_num_threads(cores())
        for _ in range(3):
            ours = _median_ms(lambda: pool.get(name).engine(batch), turn_s)
            time.sleep(0.3)  # idle worker threads spin for a moment
            theirs = _benchmark_app(model, cores(), max(1, round(turn_s)))
            found.append((ours, theirs, _median_ms(lambda: _eager(network, batch), turn_s)))
            time.sleep(0.3)
    ours, theirs, eager = (statistics.median(column) for column in zip(*found, strict=True))
    flops = _flops(network, batch)
    return {
        "engine": pool.get(name).engine.name,
        "swap_s": waited,
        "ours_ms": ours,
        "benchmark_app_ms": theirs,
        "eager_ms": eager,
        "ratio": statistics.median(a / b for a, b, _ in found),
        "gmacs": flops / 2e9,
        "gflops": flops / ours / 1e6,
        "peer_gflops": flops / theirs / 1e6,
    }


def cuda(name: str) -> dict[str, Any] | None:
    """Time a network in this app's engine on a GPU, in bfloat16 and in float32, and in plain torch there.

    Returns None without a GPU. Float32's answers on noise are compared with those of the processor.
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
        precision: _pool(_untrained(name, "cuda", precision)).get(name).engine for precision in ("auto", "float32")
    }
    found = []
    for _ in range(5):
        wide, narrow = (_median_ms(lambda engine=engine: engine(batch), 0.5) for engine in engines.values())
        found.append((wide, narrow, _median_ms(lambda: _eager(network, batch, "cuda"), 0.5)))
    exact, off = _pool(_untrained(name, "cpu", "float32", "torch")).get(name).engine, 0.0
    for seed in range(100):
        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        off = max(off, float(np.abs(softmax(engines["float32"](noise)) - softmax(exact(noise))).max()))
    ours, float32, eager = (statistics.median(column) for column in zip(*found, strict=True))
    return {
        "gpu": torch.cuda.get_device_name(),
        "ours_ms": ours,
        "float32_ms": float32,
        "eager_ms": eager,
        "ratio": statistics.median(a / c for a, _, c in found),
        "off": off,
    }


def switch(repeats: str) -> dict[str, Any]:
    """Time loading a backbone whose weights are on disk against timm's own loading, and choosing a loaded one."""
    import timm

    from lineup.service import Service

    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINEUP_CACHE"] = str(Path(folder) / "cache")
        config = _loaded(write_config(Path(folder), SOAKED))
        torch_only = config.model_copy(update={"engine": "torch"})
        file = str(Path(folder) / "resnet18.safetensors")
        _swapped(config, "resnet18")  # fills the cache of converted networks
        found = []
        for _ in range(int(repeats) + 1):  # the first is a warm-up
            kept, engine = _timed(lambda: _pool(config).get("resnet18").engine.name)
            plain, _ = _timed(lambda: _pool(torch_only).get("resnet18"))
            theirs, _ = _timed(lambda: timm.create_model("resnet18", checkpoint_path=file).eval())
            found.append((kept, plain, theirs))
        kept, plain, theirs = (statistics.median(column) for column in zip(*found[1:], strict=True))
        same, other = _alternated(Service(config), Path(folder))
    return {
        "engine": engine,
        "kept_ms": kept,
        "torch_ms": plain,
        "timm_ms": theirs,
        "kept_ratio": statistics.median(a / c for a, _, c in found[1:]),
        "torch_ratio": statistics.median(b / c for _, b, c in found[1:]),
        "same_ms": same,
        "other_ms": other,
    }


def soak(requests: str) -> dict[str, Any]:
    """Fit a line to the memory of a process that answers, and switches its backbone at every tenth answer.

    Only one of two backbones fits into memory: each change unloads one and loads the other.
    """
    from load import SMALL, Images

    from lineup.service import Service

    total, process = int(requests), psutil.Process()
    warm = min(300, total // 5)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINEUP_CACHE"] = str(Path(folder) / "cache")
        config = _loaded(write_config(Path(folder), SOAKED, "device: cpu\nlimits: {memory_mb: 210}"))
        images, service, resident, used = Images(Path(folder), SMALL), Service(config), [], []
        for name in SOAKED:
            _swapped(config, name)  # later loads use the converted networks
        started = time.perf_counter()
        for number in range(-warm, total):
            name = SOAKED[number // 10 % 2]
            with images.fresh() as image:
                used.append((name, service.classify(image, name).engine))
            if number >= 0 and number % 100 == 99:
                resident.append((number / 1e3, process.memory_info().rss / 1e6))
                loaded = [status.name for status in service.backbones() if status.status == "ready"]
        took = time.perf_counter() - started
    changes = sum(a != b for (a, _), (b, _) in zip(used[warm:], used[warm + 1 :], strict=False))
    return {
        "requests": total,
        "switches": changes,
        "loaded_at_end": len(loaded),
        "engines": sorted({engine for _, engine in used}),
        "first_mb": resident[0][1],
        "last_mb": resident[-1][1],
        "slope": float(np.polyfit(*zip(*resident, strict=True), 1)[0]) if len(resident) > 2 else None,
        "seconds": took,
    }


def _untrained(name: str, device: str, precision: str = "auto", engine: str = "auto") -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(
            f"backbones: [{{name: {name}, backbone: {name}, pretrained: false}}]\n"
            f"device: {device}\nprecision: {precision}\nengine: {engine}\n"
        )
        return _loaded(path)


def _loaded(path: Path) -> Any:
    from lineup import config

    return config.load(path)


def _pool(config: Any) -> Any:
    from lineup.inference.pool import Pool

    return Pool(config)


def _swapped(config: Any, name: str) -> tuple[Any, float]:
    """Return a pool whose backbone runs on OpenVINO if that is possible, and the seconds until it does."""
    pool, started = _pool(config), time.perf_counter()
    while pool.get(name).engine.name != "openvino" and time.perf_counter() - started < SWAP_S:
        time.sleep(0.1)
    return pool, time.perf_counter() - started


def _saved(network: Any, shape: tuple[int, ...], folder: Path) -> Path:
    import openvino
    import torch

    model = openvino.convert_model(network, input=list(shape), example_input=torch.zeros(shape))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def _benchmark_app(model: Path, threads: int, seconds: int) -> float:
    """Return the median latency in milliseconds as measured by OpenVINO's benchmark_app."""
    wish = ["-m", str(model), "-hint", "none", "-nstreams", "1", "-t", str(seconds), "-nthreads", str(threads)]
    ran = subprocess.run([sys.executable, "-c", BENCHMARK_APP, *wish], capture_output=True, text=True, timeout=120)
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", ran.stdout)
    if not found:
        raise RuntimeError(f"benchmark_app printed no median: {(ran.stdout + ran.stderr)[-300:]}")
    return float(found[1]) * (1 if found[2] == "ms" else 1e-3)


def _eager(network: Any, batch: np.ndarray, device: str = "cpu") -> np.ndarray:
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(batch).to(device)).cpu().numpy()


def _flops(network: Any, batch: np.ndarray) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.from_numpy(batch))
    return counter.get_total_flops()  # two per multiply-add


def _alternated(service: Any, folder: Path) -> tuple[float, float]:
    """Return the median milliseconds of an answer by the same backbone as the last one, and by the other."""
    from load import SMALL, Images

    images, took = Images(folder, SMALL), {"same": [], "other": []}
    for name in SOAKED:
        service._pool.get(name)
        with images.fresh() as image:
            service.classify(image, name)
    for _ in range(15):
        for name in SOAKED:
            for kind in ("other", "same"):
                with images.fresh() as image:
                    took[kind].append(_timed(lambda: service.classify(image, name))[0])  # noqa: B023  (called here)
    return statistics.median(took["same"]), statistics.median(took["other"])


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = call()
    return (time.perf_counter() - started) * 1e3, value


def _median_ms(call: Callable[[], Any], seconds: float) -> float:
    """Return the median duration of repeated calls, after a warm-up."""
    for _ in range(3):
        call()
    until, took = time.perf_counter() + seconds, []
    while time.perf_counter() < until or len(took) < 5:
        took.append(_timed(call)[0])
    return statistics.median(took)


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    print(json.dumps({"forward": forward, "cuda": cuda, "switch": switch, "soak": soak}[job](*arguments)))
