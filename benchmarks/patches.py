"""Measures what each patch of a library saves: time and peak memory with it and without it, in interleaved processes.

python benchmarks/patches.py 5        # processes of each kind; medians are printed
python benchmarks/patches.py 5 gradio
"""

import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]


def gradio(patched: bool) -> float:
    """Import gradio (lineup/fast_import.py)."""
    from lineup import fast_import

    names = "gradio", "gradio.components.api_component"
    started = time.perf_counter()
    if patched:
        fast_import.import_modules(*names)
    else:
        for name in names:
            import_module(name)
    return time.perf_counter() - started


def compiler(patched: bool) -> float:
    """Import timm and torchvision, after torch (lineup/registry/lean_imports.py)."""
    import torch  # noqa: F401

    started = time.perf_counter()
    if patched:
        import_module("lineup.registry.lean_imports")
    else:
        import timm  # noqa: F401
        import torchvision  # noqa: F401
    return time.perf_counter() - started


def brackets(patched: bool) -> float:
    """Parse a config of 1,000 nested brackets (lineup/config/bounded_loader.py)."""
    import yaml

    from lineup.config.bounded_loader import BoundedLoader

    text = "[" * 1000 + "]" * 1000
    loader = BoundedLoader(text) if patched else yaml.SafeLoader(text)
    started = time.perf_counter()
    try:
        while loader.get_event():
            pass
    except yaml.YAMLError:  # they are not closed
        pass
    return time.perf_counter() - started


def frames(patched: bool) -> float:
    """Open an animated PNG of 132 bytes that declares 400 megapixels (lineup/images/guards.py)."""
    return _open("animated-400.png", patched)


def exif(patched: bool) -> float:
    """Open a WebP whose EXIF has thousands of tags of the same bytes (lineup/images/guards.py)."""
    return _open("overlaps.webp", patched)


def _open(name: str, patched: bool) -> float:
    from PIL import Image

    load, formats = Image.Exif.load, ["PNG", "WEBP"]
    import bad_images  # which imports the guards

    content = dict([*bad_images.large_images(), *bad_images.long_exif()])[name]
    if patched:
        formats = ["FIRST PNG", "WEBP"]
    else:
        Image.Exif.load = load
    started = time.perf_counter()
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            if image.width * image.height < 1e6:  # the app rejects others here
                image.load()
                image.getexif().get(274)
    except OSError as error:
        print(repr(error), file=sys.stderr)
    return time.perf_counter() - started


def paths(patched: bool) -> float:
    """Check the inputs of 10,000 requests (lineup/server/input_guard.py)."""
    from lineup.page.image_field import get_upload_folder
    from lineup.server import input_guard

    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started = time.perf_counter()
        for _ in range(10_000 if patched else 0):
            input_guard._check({"path": file.name, "meta": {"_type": "gradio.FileData"}})
        return time.perf_counter() - started


CASES = {case.__name__: case for case in (gradio, compiler, brackets, frames, exif, paths)}


def measure(name: str, patched: bool) -> tuple[float, float]:
    """Return the seconds and the peak memory in MB of a case in a process of its own."""
    command = [sys.executable, __file__, "run", name, "patched" if patched else "plain"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main(repeats: int, names: list[str]) -> None:
    """Print a line per case: medians with the patch, and without it."""
    for name in names or CASES:
        rounds = [[measure(name, patched) for patched in (True, False)] for _ in range(repeats)]
        kinds = zip(*rounds, strict=True)
        patched, plain = ([statistics.median(column) for column in zip(*kind, strict=True)] for kind in kinds)
        line = f"{patched[0]:.3f} s and {patched[1]:.0f} MB, without the patch {plain[0]:.3f} s and {plain[1]:.0f} MB"
        print(f"{CASES[name].__doc__} {line}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        seconds = CASES[sys.argv[2]](sys.argv[3] == "patched")
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000]))
    else:
        main(int(sys.argv[1]), sys.argv[2:])
