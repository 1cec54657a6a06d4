"""Runs the app as on ZeroGPU, on a machine with a GPU, and compares its answers with those of the CPU.

    python benchmarks/zerogpu.py

The `spaces` package acquires the GPU from a fake device API, and forks a real worker process that uses it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from gradio_client import Client, handle_file
from serving import serving
from zerogpu import serve_device_api

CONFIG = f"""
precision: {{precision}}
backbones:
  - {{{{name: efficientnet_lite0, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite0"}}}}
  - {{{{name: efficientnet_lite2, backbone: "local-dir:{ROOT}/bundled/efficientnet_lite2"}}}}
  - {{{{name: resnet50, backbone: resnet50, pretrained: false}}}}
"""
IMAGES = sorted((ROOT / "examples").glob("*.jpg"))


def main() -> None:
    """Print the latencies, and the differences from the answers of the CPU."""
    uuid = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    print(uuid.strip())
    uuid = uuid.split("UUID: ")[1].split(")")[0]
    for precision in ("auto", "float32"):
        with tempfile.TemporaryDirectory() as folder, serve_device_api(uuid) as api:
            config = Path(folder) / "config.yaml"
            config.write_text(CONFIG.format(precision=precision))
            started = time.perf_counter()
            with serving(config, {**os.environ, **api.env(Path(folder))}, Path(folder) / "log.txt", 180) as app:
                print(f"\n{precision}: time to page {time.perf_counter() - started:.1f} s")
                try:
                    measure(Client(app.url, verbose=False), config)
                finally:
                    print(f"requests: {sorted(set(api.paths))}, last: {api.requests[-1][1] if api.requests else ''}")
                    print(*(line for line in app.log.read_text().splitlines() if " ERROR " in line), sep="\n")


def measure(client: Client, config: Path) -> None:
    """Compare the backbones on each image twice: the second answer is cached and costs no quota."""
    from lineup import config as configs
    from lineup.service import Service

    cpu_config = configs.load(config).model_copy(update={"device": "cpu", "engine": "torch", "precision": "float32"})
    cpu, times = Service(cpu_config), []
    names = cpu._pool.names
    for name in names:
        cpu._pool.get(name)  # all transforms are known before the first image is decoded
    same_top1, max_difference = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for image in IMAGES:
        for repeated in (False, True):
            started = time.perf_counter()
            answer = client.predict(handle_file(image), backbones=names, top_k=1000, api_name="/compare")
            times.append((repeated, time.perf_counter() - started, answer["results"][0]["milliseconds"]["forward"]))
        expected = cpu.compare(image, names, 1000).to_json()["results"]
        for ours, theirs in zip(answer["results"], expected, strict=True):
            name = ours["backbone"]
            same_top1[name] += ours["predictions"][0]["class_index"] == theirs["predictions"][0]["class_index"]
            max_difference[name] = max(max_difference[name], difference(ours, theirs))
    first, later = times[0][1], sorted(seconds for repeated, seconds, _ in times[2:] if not repeated)
    cached = sorted(seconds for repeated, seconds, _ in times if repeated)
    print(f"first comparison of {len(names)}: {first:.1f} s, later ones {later[len(later) // 2]:.2f} s", end="; ")
    print(f"repeated {cached[len(cached) // 2]:.2f} s; forward {times[-2][2]:.0f} ms")
    for name in names:
        top1, largest = same_top1[name], max_difference[name]
        print(f"{name}: same top-1 on {top1} of {len(IMAGES)} images; probabilities differ by at most {largest:.2g}")


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Return the largest difference between the probabilities of two answers."""
    expected = {prediction["class_index"]: prediction["probability"] for prediction in theirs["predictions"]}
    return max(abs(item["probability"] - expected[item["class_index"]]) for item in ours["predictions"])


if __name__ == "__main__":
    main()
