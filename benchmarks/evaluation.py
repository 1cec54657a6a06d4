"""Measures the evaluation of a folder beside other ways to compute many images on the same cores.

All compute the same 1,000 JPEGs of 500 × 375 pixels with networks of random weights, in turns of some hundred images,
so that noise hits all: this app (`lineup.inference.batches`, nothing stored), the loop of timm's `validate.py` with two
workers, a pipeline of transformers with batches, OpenVINO's `benchmark_app -hint throughput`, which does not decode,
and decoding with preprocessing alone. Writes EVALUATION.md:

    python benchmarks/evaluation.py                    # 3 turns of 334 images: about 3 minutes
    python benchmarks/evaluation.py --rounds 1         # prints only
    python benchmarks/evaluation.py --memory           # 10,000 distinct images: growth of the process
    python benchmarks/evaluation.py --requests         # /classify beside an evaluation
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(HERE)]

from bench import machine, table
from inside import write_config
from PIL import Image
from throughput import benchmark_app

NETWORKS = {"resnet18": 2.5, "mobilenetv3_small_100": 1.8}  # target: times timm's loop
PRECISIONS = {"float32": "float32", "auto": "default precision"}
SIZE_PX, N_IMAGES, PER_TURN = (500, 375), 1000, 334
TIMM_BATCH, PIPELINE_BATCH, WORKERS = 32, 8, 2
SHARE = 0.85  # target: of what decoding and computing allow when they share the cores
MEMORY_IMAGES, MEMORY_MB = 10_000, 100
REQUEST_ROUNDS, REQUESTS_RATIO = 4, 2.0
SECTIONS = ["# Evaluations of folders, measured", "## Memory", "## Requests beside an evaluation"]


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="below 3, nothing is written (default: 3)")
    parser.add_argument("--network", help="measure this one here, and print its figures as JSON")
    parser.add_argument("--images", type=Path, default=Path(tempfile.gettempdir()) / "lineup-benchmark-images")
    parser.add_argument("--memory", action="store_true", help="measure the growth of the process instead")
    parser.add_argument("--requests", action="store_true", help="measure requests beside an evaluation instead")
    arguments = parser.parse_args()
    if arguments.network:
        print(json.dumps(measured(arguments.network, arguments.rounds, jpegs(arguments.images, N_IMAGES))))
    elif arguments.memory:
        write(memory(jpegs(arguments.images, MEMORY_IMAGES)))
    elif arguments.requests:
        write(requests(jpegs(arguments.images, N_IMAGES)))
    else:
        jpegs(arguments.images, N_IMAGES)
        load = os.getloadavg()[0]  # above 0 others compute at the same time, and the ratios scatter
        found = {name: _in_a_process(name, arguments) for name in NETWORKS}
        write(report(found, arguments.rounds, load), arguments.rounds >= 3)


def write(text: str, is_final: bool = True) -> None:
    """Print a section of the results, and replace it in EVALUATION.md."""
    print(text)
    path = HERE / "EVALUATION.md"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = {part.splitlines()[0]: part.strip() for part in re.split(r"\n(?=## )", before) if part.strip()}
    parts[text.splitlines()[0]] = text
    if is_final:
        path.write_text("\n\n".join(parts[key] for key in sorted(parts, key=SECTIONS.index)) + "\n", encoding="utf-8")


def _in_a_process(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    options = ["--network", name, "--rounds", str(arguments.rounds), "--images", str(arguments.images)]
    ran = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def jpegs(folder: Path, count: int) -> list[Path]:
    """Return distinct images like photographs: crops of the examples, which are generated once."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05}.jpg" for index in range(count)]
    sources = [Image.open(path).convert("RGB") for path in sorted((ROOT / "examples").glob("*.jpg"))]
    for index, path in enumerate(paths):
        if not path.exists():
            draw = np.random.default_rng(index)
            source, share = sources[index % len(sources)], draw.uniform(0.5, 1)
            width = share * min(source.width, source.height * SIZE_PX[0] / SIZE_PX[1])
            left, top = draw.uniform(0, 1, 2) * (source.width - width, source.height - width * SIZE_PX[1] / SIZE_PX[0])
            box = (left, top, left + width, top + width * SIZE_PX[1] / SIZE_PX[0])
            image = source.resize(SIZE_PX, Image.Resampling.BICUBIC, box)
            image.save(path.with_suffix(".partial"), "JPEG", quality=90)
            path.with_suffix(".partial").rename(path)
    return paths


def measured(name: str, rounds: int, paths: list[Path]) -> dict[str, Any]:
    """Return images per second of one network, by way and by round."""
    from lineup.engines import openvino_engine

    with tempfile.TemporaryDirectory() as folder:
        network, size = _network(name)
        model = Path(folder) / "model.xml"
        openvino_engine.save(openvino_engine.convert(network, size), model)
        services = {precision: _service(Path(folder), name, precision) for precision in PRECISIONS}
        ways: dict[str, Callable[[list[Path]], int]] = {"timm": _timm_loop(network, name)}
        if name == "resnet18":
            ways["pipeline"] = _pipeline()
        with services["float32"].pinned(name) as exact, services["auto"].pinned(name) as default:
            pinned = {"float32": exact, "auto": default}
            ways |= {f"lineup {precision}": partial(_evaluated, each) for precision, each in pinned.items()}
            ways["decode"] = partial(_decoded, default)
            rates: dict[str, list[float]] = {key: [] for key in ways}
            rates |= {f"benchmark_app {precision}": [] for precision in PRECISIONS}
            for way in ways.values():
                way(paths[:64])  # to warm up
            for turn in range(rounds):
                some = [paths[(turn * PER_TURN + index) % len(paths)] for index in range(PER_TURN)]
                for key, way in ways.items():
                    started = time.perf_counter()
                    rates[key].append(way(some) / (time.perf_counter() - started))
                    time.sleep(0.3)  # idle worker threads spin for a moment
                for precision, each in pinned.items():
                    hint = each.engine.split()[-1]
                    rates[f"benchmark_app {precision}"].append(benchmark_app(model, "-infer_precision", hint))
            hints = {precision: each.engine.split()[-1] for precision, each in pinned.items()}
    return {"rates": rates, "hints": hints}


def _network(name: str) -> tuple[Any, tuple[int, int]]:
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    return network, network.default_cfg["input_size"][1:]


def _service(folder: Path, name: str, precision: str) -> Any:
    from lineup import config
    from lineup.service import Service

    (folder / precision).mkdir()
    path = write_config(folder / precision, (name,), f"device: cpu\nprecision: {precision}")
    return Service(config.load(path))


def _evaluated(backbone: Any, paths: list[Path], slice_s: float = 1.0) -> int:
    """Compute as `python -m lineup evaluate` does, but for the store of answers."""
    from lineup.inference import batches

    return sum(len(batch.outputs) for batch in batches.compute(backbone, paths, nullcontext, slice_s))


def _decoded(backbone: Any, paths: list[Path]) -> int:
    """Decode and preprocess on all cores, and keep nothing."""
    from lineup.engines import devices

    with ThreadPoolExecutor(devices.cores()) as threads:
        return sum(1 for _ in threads.map(lambda path: backbone.prepared(path).shape, paths))


def _timm_loop(network: Any, name: str) -> Callable[[list[Path]], int]:
    """Return timm's `validate.py`, reduced to its loop: its transform, its loader, and torch in float32."""
    import timm.data
    import torch

    settings = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**settings, is_training=False)
    torch.set_num_threads(psutil.cpu_count() or 1)

    class Images(torch.utils.data.Dataset):
        def __init__(self, paths: list[Path]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            return transform(Image.open(self.paths[index]).convert("RGB")), 0

    def run(paths: list[Path]) -> int:
        loader = torch.utils.data.DataLoader(Images(paths), TIMM_BATCH, num_workers=WORKERS)
        done = 0
        with torch.inference_mode():
            for batch, _ in loader:
                done += len(network(batch).topk(5).indices)
        return done

    return run


def _pipeline() -> Callable[[list[Path]], int]:
    """Return a pipeline of transformers: a ResNet-18 with random weights, in batches."""
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, pipelines

    depths = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
    config = ResNetConfig(**depths, layer_type="basic", num_labels=1000)
    processor = ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875)
    model = ResNetForImageClassification(config).eval()
    classify = pipelines.pipeline("image-classification", model=model, image_processor=processor)

    def run(paths: list[Path]) -> int:
        return sum(1 for _ in classify((str(path) for path in paths), batch_size=PIPELINE_BATCH, num_workers=0))

    return run


def report(found: dict[str, dict[str, Any]], rounds: int, load: float) -> str:
    """Return the results as Markdown."""
    rows, targets = [], []
    for name, each in found.items():
        rates = {key: statistics.median(values) for key, values in each["rates"].items()}
        for precision, called in PRECISIONS.items():
            ours, own = f"lineup {precision}", f"{called} ({each['hints'][precision]})"
            limit = _ratio(each, lambda r, p=precision: 1 / (1 / r["decode"] + 1 / r[f"benchmark_app {p}"]))
            times = _ratio(each, lambda r, o=ours: r[o] / r["timm"])
            share = _ratio(
                each,
                lambda r, o=ours, p=precision: r[o] * (1 / r["decode"] + 1 / r[f"benchmark_app {p}"]),
            )
            of_pipeline = f"{rates['pipeline']:.1f}" if "pipeline" in rates else ""
            cells = [rates["timm"], rates[ours], rates["decode"], rates[f"benchmark_app {precision}"], limit]
            timm, mine, p, o, bound = (f"{cell:.1f}" for cell in cells)
            rows.append([name, own, timm, of_pipeline, f"**{mine}**", p, o, bound])
            goal = NETWORKS[name]
            targets.append([name, own, f"{times:.2f}", _met(times, goal), f"{share:.2f}", _met(share, SHARE)])
    width, height = SIZE_PX
    return "\n\n".join(
        [
            SECTIONS[0],
            f"Written by `python benchmarks/evaluation.py`, {date.today():%Y-%m-%d}; medians of {rounds} turn(s) of "
            f"{PER_TURN} images each, interleaved; load average at the start {load:.1f}. {machine()}",
            f"Images per second, from JPEG files of {width} × {height} pixels like photographs to the logits. timm: "
            f"the loop of its `validate.py` in torch, float32, batches of {TIMM_BATCH}, {WORKERS} workers. "
            f"transformers: an image-classification pipeline in batches of {PIPELINE_BATCH}. p: decoding and "
            "preprocessing alone, on all cores. o: OpenVINO's `benchmark_app -hint throughput`, which computes random "
            "tensors. Both share the cores, so that 1 / (1/p + 1/o) is the limit.",
            table(["", "precision", "timm", "transformers", "lineup", "p", "o", "limit"], rows),
            table(["", "precision", "times timm", "", "share of the limit", ""], targets),
        ]
    )


def _ratio(each: dict[str, Any], of: Callable[[dict[str, float]], float]) -> float:
    """Return the median of a figure of each round."""
    by_round = zip(*each["rates"].values(), strict=True)
    return statistics.median(of(dict(zip(each["rates"], values, strict=True))) for values in by_round)


def _met(value: float, goal: float) -> str:
    return f"≥ {goal}: {'met' if value >= goal else '**missed**'}"


def memory(paths: list[Path]) -> str:
    """Return how much the process grows from the 500th image to the last, as a section of the report."""
    from lineup.inference import batches

    name, process, samples = "mobilenetv3_small_100", psutil.Process(), []
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder), name, "auto").pinned(name) as backbone:
        for batch in batches.compute(backbone, paths, nullcontext, 1.0):
            if batch.start >= 500:
                used = process.memory_full_info()
                samples.append((used.rss - used.shared) / 1e6)
    growth = max(samples) - samples[0]
    goal = "met" if growth <= MEMORY_MB else "**missed**"
    return (
        f"{SECTIONS[1]}\n\n{len(paths):,} distinct images, {name} (`--memory`): the process has {samples[0]:.0f} MB "
        f"at the 500th image, and grows by {growth:.0f} MB at most; ≤ {MEMORY_MB}: {goal}."
    )


def requests(paths: list[Path]) -> str:
    """Return the latency of /classify alone and while images are evaluated, as a section of the report."""
    from jobs import BACKBONE
    from load import spread
    from serving import free_port

    import app
    from lineup import config
    from lineup.config import yaml_source
    from lineup.inference.jobs import Jobs
    from lineup.service import Service

    text = f"backbones: [{{name: {BACKBONE}, backbone: 'local-dir:bundled/{BACKBONE}'}}]"
    service, port = Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT)), free_port()
    app.launch(service, port)
    with tempfile.TemporaryDirectory() as folder, service.pinned(BACKBONE) as backbone:
        jobs = Jobs(Path(folder) / "jobs", service.background_turn)
        command = [sys.executable, str(HERE / "jobs.py"), f"http://127.0.0.1:{port}", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:

            def ask() -> list[float]:
                client.stdin.write("small\n")
                client.stdin.flush()
                return json.loads(client.stdout.readline())

            ask()  # to warm up
            alone, beside = [], []
            for _ in range(REQUEST_ROUNDS):
                alone += ask()
                stop, job = threading.Event(), jobs.create("benchmark", {}, 10**6)
                thread = jobs.start(job, partial(_evaluate_until, backbone, paths, stop))
                time.sleep(1)  # its batches have their size
                beside += ask()
                stop.set()
                thread.join()
            client.stdin.close()
    (p50, p95), (p50_job, p95_job) = spread(alone), spread(beside)
    ratio = p95_job / p95
    goal = "met" if ratio <= REQUESTS_RATIO else "**missed**"
    return (
        f"{SECTIONS[2]}\n\n`/classify` of {BACKBONE} over HTTP, {len(alone)} requests each "
        f"(`--requests`): p50 {p50:.0f} and p95 {p95:.0f} ms alone, {p50_job:.0f} and {p95_job:.0f} ms beside an "
        f"evaluation, {ratio:.2f} times the p95; ≤ {REQUESTS_RATIO:g}: {goal}."
    )


def _evaluate_until(backbone: Any, paths: list[Path], stop: threading.Event, job: Any) -> None:
    from lineup.features.evaluation.run import SERVER_SLICE_S
    from lineup.inference import batches

    def endless() -> Iterator[Path]:
        return itertools.takewhile(lambda _: not stop.is_set(), itertools.cycle(paths))

    for batch in batches.compute(backbone, endless(), job.slice, SERVER_SLICE_S):  # type: ignore[arg-type]
        job.record({"image": batch.start + index} for index in range(len(batch.outputs)))


if __name__ == "__main__":
    main()
