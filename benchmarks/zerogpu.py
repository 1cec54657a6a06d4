"""Serves the page as on ZeroGPU, on a machine with a GPU, and compares its answers with those of this processor.

    python benchmarks/zerogpu.py

The real `spaces` package asks a stand-in of ZeroGPU's service, and forks a worker that really uses the GPU.
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
    """Print the times, and how far the answers are from the processor's."""
    uuid = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    print(uuid.strip())
    uuid = uuid.split("UUID: ")[1].split(")")[0]
    for precision in ("auto", "float32"):
        with tempfile.TemporaryDirectory() as folder, serve_device_api(uuid) as api:
            config = Path(folder) / "config.yaml"
            config.write_text(CONFIG.format(precision=precision))
            started = time.perf_counter()
            with serving(config, {**os.environ, **api.env(Path(folder))}, Path(folder) / "log.txt", 180) as app:
                print(f"\n{precision}: page after {time.perf_counter() - started:.1f} s")
                try:
                    ask(Client(app.url, verbose=False), config)
                finally:
                    print(f"requests: {sorted(set(api.paths))}, last: {api.requests[-1][1] if api.requests else ''}")
                    print(*(line for line in app.log.read_text().splitlines() if " ERROR " in line), sep="\n")


def ask(client: Client, config: Path) -> None:
    """Ask for each image, twice: the second answer costs no quota."""
    from lineup import config as configs
    from lineup.service import Service

    chosen = configs.load(config).model_copy(update={"device": "cpu", "engine": "torch", "precision": "float32"})
    here, took = Service(chosen), []
    names = here._pool.names
    for name in names:
        here._pool.get(name)  # all are known before the first image is decoded
    same, off = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for image in IMAGES:
        for again in (False, True):
            began = time.perf_counter()
            found = client.predict(handle_file(image), backbones=names, top_k=1000, api_name="/compare")
            took.append((again, time.perf_counter() - began, found["results"][0]["milliseconds"]["forward"]))
        expected = here.compare(image, names, 1000).to_json()["results"]
        for ours, theirs in zip(found["results"], expected, strict=True):
            name = ours["backbone"]
            same[name] += ours["predictions"][0]["class_index"] == theirs["predictions"][0]["class_index"]
            off[name] = max(off[name], difference(ours, theirs))
    first, later = took[0][1], sorted(seconds for again, seconds, _ in took[2:] if not again)
    kept = sorted(seconds for again, seconds, _ in took if again)
    print(f"first comparison of {len(names)}: {first:.1f} s, the next {later[len(later) // 2]:.2f} s", end="; ")
    print(f"asked again {kept[len(kept) // 2]:.2f} s; forward {took[-2][2]:.0f} ms")
    for name in names:
        print(f"{name}: same top-1 {same[name]} of {len(IMAGES)}; probabilities differ by {off[name]:.2g} at most")


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Return the largest difference between the probabilities of two answers."""
    expected = {each["class_index"]: each["probability"] for each in theirs["predictions"]}
    return max(abs(each["probability"] - expected[each["class_index"]]) for each in ours["predictions"])


if __name__ == "__main__":
    main()
