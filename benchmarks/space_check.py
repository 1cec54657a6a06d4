"""Reproduces a Space build locally: resolves and installs the requirements, and serves the files that a push uploads.

    python benchmarks/space_check.py             # several minutes; needs 6 GB in a temporary folder
    python benchmarks/space_check.py --resolve   # only resolves

A Space build runs one pip command with requirements.txt, an upper bound of torch, gradio in the version of the front
matter, and spaces. No request is sent to the Hub.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from gradio_client import Client, handle_file
from reference import CLASSES
from serving import free_port, without_hub

from lineup import config
from lineup.features.publish import card, files
from lineup.service import Service

TORCH_BOUNDS = ("2.11", "2.13")  # on ZeroGPU, on other hardware
PYTHONS = ("3.10", "3.12")  # available on ZeroGPU
INSTALLED_BOUND = TORCH_BOUNDS[0]
BACKBONE = "efficientnet_lite0"
PACKAGES = ("gradio", "torch", "torchvision", "timm", "huggingface_hub", "openvino", "pydantic", "spaces")
TIMEOUT_S = 120


def main() -> None:
    """Resolve for each Python and torch bound; install for one of them, and serve."""
    parser = argparse.ArgumentParser(description="Reproduce a Space build locally.")
    parser.add_argument("--resolve", action="store_true", help="only resolve the requirements")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "constraints.txt").touch()  # overrides constraints in pip's own settings: a Space has none
        os.environ["PIP_CONSTRAINT"] = str(home / "constraints.txt")
        uploaded, sdk_version = upload(home / "space")
        print(f"a push uploads {len(uploaded)} files; sdk_version {sdk_version}")
        for python in PYTHONS:
            for bound in TORCH_BOUNDS:
                resolve(home, sdk_version, python, bound)
        if not arguments.resolve:
            serve(home, install(home, sdk_version))


def upload(folder: Path) -> tuple[dict[str, files.File], str]:
    """Write the files of a push to a folder; return them, and the `sdk_version` of the front matter."""
    service = Service(config.load(ROOT / "config.yaml"))
    service.probe(offline=True)
    readme = card.text(service.config, service._pool.plan, ROOT / "README.md")
    collected = files.collect(service.config, ROOT / "config.yaml", readme)
    for name, file in collected.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content if isinstance(file.content, bytes) else file.content.read_bytes())
    return collected, readme.split("sdk_version:")[1].split()[0].strip("\"'")


def requirements(home: Path, sdk_version: str, bound: str) -> list[str]:
    """Return the arguments of `pip install` in a Space build."""
    file = str(home / "space" / "requirements.txt")
    return ["-r", file, f"torch<={bound}", f"gradio[oauth,mcp]=={sdk_version}", "spaces"]


def resolve(home: Path, sdk_version: str, python: str, bound: str) -> None:
    """Resolve the requirements for a Python version in a dry run, and print the versions."""
    report = home / "report.json"
    target = ["--python-version", python, "--only-binary", ":all:", "--target", str(home / "unused")]
    dry_run = ("pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", str(report))
    run(sys.executable, "-m", *dry_run, *target, *requirements(home, sdk_version, bound))
    packages = [package["metadata"] for package in json.loads(report.read_text())["install"]]
    print(f"Python {python}, torch<={bound}: {len(packages)} packages; {versions(packages)}", flush=True)


def install(home: Path, sdk_version: str) -> Path:
    """Install the requirements into a new virtual environment, and return its interpreter."""
    started = time.perf_counter()
    run(sys.executable, "-m", "venv", str(home / "venv"))
    python = home / "venv" / "bin" / "python"
    run(str(python), "-m", "pip", "install", "-q", *requirements(home, sdk_version, INSTALLED_BOUND))
    packages = json.loads(run(str(python), "-m", "pip", "list", "--format", "json"))
    print(f"installed in {time.perf_counter() - started:.0f} s: {versions(packages)}", flush=True)
    return python


def serve(home: Path, python: Path) -> None:
    """Serve the uploaded files alone, and classify each example with a bundled backbone."""
    port, log = free_port(), home / "log.txt"
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(python), "app.py", "--port", str(port)],
            cwd=home / "space",
            env=without_hub(home),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for_page(url, process, log)
        print(f"time to page: {time.perf_counter() - started:.1f} s")
        client, correct = Client(url, verbose=False), 0
        for example, synset in CLASSES.items():
            image = home / "space" / "examples" / f"{example}.jpg"
            answer: dict[str, Any] = client.predict(handle_file(image), backbone=BACKBONE, api_name="/classify")
            correct += answer["predictions"][0]["id"] == synset
        print(f"{BACKBONE}: {correct} of {len(CLASSES)} examples correct; engine {answer['engine']}")
        if correct != len(CLASSES):
            sys.exit("error: expected the correct class for every example that has an ImageNet class")
    finally:
        process.terminate()
        process.wait(20)


def wait_for_page(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the page is served.

    Raises:
        SystemExit: after the timeout or when the process has ended; the message has the end of its output.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    sys.exit(f"error: no page was served:\n{log.read_text()[-3000:]}")


def versions(packages: list[dict[str, str]]) -> str:
    """Format the versions of the main packages."""
    installed = {package["name"].lower().replace("-", "_"): package["version"] for package in packages}
    return ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)


def run(*command: str) -> str:
    """Run a command and return its output; exit with its error if it fails."""
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{process.stderr[-3000:]}")
    return process.stdout


if __name__ == "__main__":
    main()
