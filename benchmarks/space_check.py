"""Does what a Space's builder does, here: resolves, installs afresh, and serves the page from what a push uploads.

    python benchmarks/space_check.py             # some minutes, and 6 GB in a temporary folder
    python benchmarks/space_check.py --resolve   # resolves only

The builder runs one pip command: requirements.txt, a bound on torch, gradio in the front matter's version, spaces.
Nothing here asks the Hub.
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

BOUNDS = ("2.11", "2.13")  # of torch: ZeroGPU's, any other hardware's
PYTHONS = ("3.10", "3.12")  # that ZeroGPU has
INSTALLED = BOUNDS[0]
BACKBONE = "efficientnet_lite0"
PACKAGES = ("gradio", "torch", "torchvision", "timm", "huggingface_hub", "openvino", "pydantic", "spaces")
TIMEOUT_S = 120


def main() -> None:
    """Resolve for each Python and bound; install for one, and serve."""
    parser = argparse.ArgumentParser(description="Do what a Space's builder does.")
    parser.add_argument("--resolve", action="store_true", help="resolve only; install nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "constraints.txt").touch()  # stands in for those of this machine's own pip: the builder has none
        os.environ["PIP_CONSTRAINT"] = str(home / "constraints.txt")
        uploaded, sdk = upload(home / "space")
        print(f"a push uploads {len(uploaded)} files; sdk_version {sdk}")
        for python in PYTHONS:
            for bound in BOUNDS:
                resolve(home, sdk, python, bound)
        if not arguments.resolve:
            serve(home, install(home, sdk))


def upload(folder: Path) -> tuple[dict[str, files.File], str]:
    """Write what a push would upload into a folder; return that, and gradio's version in the front matter."""
    service = Service(config.load(ROOT / "config.yaml"))
    service.probe(offline=True)
    readme = card.text(service.config, service._pool.plan, ROOT / "README.md")
    collected = files.collect(service.config, ROOT / "config.yaml", readme)
    for name, file in collected.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content if isinstance(file.content, bytes) else file.content.read_bytes())
    return collected, readme.split("sdk_version:")[1].split()[0].strip("\"'")


def requirements(home: Path, sdk: str, bound: str) -> list[str]:
    """Return what the builder asks pip for."""
    return ["-r", str(home / "space" / "requirements.txt"), f"torch<={bound}", f"gradio[oauth,mcp]=={sdk}", "spaces"]


def resolve(home: Path, sdk: str, python: str, bound: str) -> None:
    """Let pip find versions for another Python without installing them."""
    report = home / "report.json"
    elsewhere = ["--python-version", python, "--only-binary", ":all:", "--target", str(home / "nowhere")]
    dry = ("pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", str(report))
    run(sys.executable, "-m", *dry, *elsewhere, *requirements(home, sdk, bound))
    metadata = [each["metadata"] for each in json.loads(report.read_text())["install"]]
    found = {each["name"].lower().replace("-", "_"): each["version"] for each in metadata}
    print(f"Python {python}, torch<={bound}: {len(found)} packages; {versions(found)}", flush=True)


def install(home: Path, sdk: str) -> Path:
    """Install into an environment of its own, and return its Python."""
    began = time.perf_counter()
    run(sys.executable, "-m", "venv", str(home / "venv"))
    python = home / "venv" / "bin" / "python"
    run(str(python), "-m", "pip", "install", "-q", *requirements(home, sdk, INSTALLED))
    listed = json.loads(run(str(python), "-m", "pip", "list", "--format", "json"))
    found = {each["name"].lower().replace("-", "_"): each["version"] for each in listed}
    print(f"installed in {time.perf_counter() - began:.0f} s: {versions(found)}", flush=True)
    return python


def serve(home: Path, python: Path) -> None:
    """Serve the page from the uploaded files alone, and let a bundled backbone answer on each example."""
    port, log = free_port(), home / "log.txt"
    began = time.perf_counter()
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
        wait(url, process, log)
        print(f"the page is served after {time.perf_counter() - began:.1f} s")
        client, right = Client(url, verbose=False), 0
        for example, synset in CLASSES.items():
            image = home / "space" / "examples" / f"{example}.jpg"
            answer: dict[str, Any] = client.predict(handle_file(image), backbone=BACKBONE, api_name="/classify")
            right += answer["predictions"][0]["id"] == synset
        print(f"{BACKBONE} names {right} of {len(CLASSES)} examples right; engine {answer['engine']}")
        if right != len(CLASSES):
            sys.exit("error: expected every example that ImageNet has a class for to be named right")
    finally:
        process.terminate()
        process.wait(20)


def wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the page.

    Raises:
        SystemExit: when it does not come, with what was printed.
    """
    until = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    sys.exit(f"error: no page came:\n{log.read_text()[-3000:]}")


def versions(found: dict[str, str]) -> str:
    """Name the versions that matter."""
    return ", ".join(f"{name} {found[name]}" for name in PACKAGES if name in found)


def run(*command: str) -> str:
    """Run a command and return what it prints; end with its error if it fails."""
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{ran.stderr[-3000:]}")
    return ran.stdout


if __name__ == "__main__":
    main()
