"""Measures how much a running job slows down single answers, in this process and through HTTP.

A job classifies the examples over and over with the bundled efficientnet_lite0, while one client asks for answers with
the same backbone. Rounds with the job and without it alternate, so that noise hits both. Prints medians and 95th
percentiles in milliseconds:

    python benchmarks/jobs.py
"""

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROUNDS, REQUESTS = 6, 25  # of each kind
ITEMS = 300  # of the job alone
BACKBONE = "efficientnet_lite0"

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(HERE)]


def main() -> None:
    """Serve the page, measure in turns, and print what was measured."""
    from load import LARGE, SMALL, Images, spread
    from serving import free_port

    import app
    from lineup import config
    from lineup.config import yaml_source
    from lineup.inference.jobs import Jobs
    from lineup.service import Service

    text = f"backbones: [{{name: {BACKBONE}, backbone: 'local-dir:bundled/{BACKBONE}'}}]"
    service, port = Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT)), free_port()
    app.launch(service, port)
    while service.status(BACKBONE).engine != "openvino":
        time.sleep(0.5)
    with tempfile.TemporaryDirectory() as folder:
        jobs = Jobs(Path(folder) / "jobs", service._execution.background_turn)
        command = [sys.executable, str(HERE / "jobs.py"), f"http://127.0.0.1:{port}", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:

            def over_http(size: str) -> list[float]:
                client.stdin.write(f"{size}\n")
                client.stdin.flush()
                return json.loads(client.stdout.readline())

            def in_process(size: str) -> list[float]:
                images, took = Images(Path(folder), LARGE if size == "large" else SMALL), []
                for _ in range(REQUESTS):
                    with images.fresh() as path:
                        started = time.perf_counter()
                        service.classify(path)
                        took.append(time.perf_counter() - started)
                return took

            for where, measure in (("in this process", in_process), ("through HTTP", over_http)):
                for size in ("small", "large"):
                    measure(size)  # warm up
                    alone, beside, rates = _in_turns(service, jobs, partial(measure, size))
                    (p50, p95), (p50_job, p95_job) = spread(alone), spread(beside)
                    print(
                        f"{where}, {size} image: p50 {p50:.1f} and p95 {p95:.1f} ms alone, {p50_job:.1f} and "
                        f"{p95_job:.1f} ms beside a job: {p95_job / p95:.2f} times the p95; "
                        f"the job: {sum(rates) / len(rates):.1f} images/s",
                        flush=True,
                    )
            client.stdin.close()
        started, name = time.perf_counter(), jobs.create("benchmark", {}, ITEMS)
        jobs.run(name, partial(_classify, service, lambda: jobs.status(name).done >= ITEMS))
        print(f"the job alone: {ITEMS / (time.perf_counter() - started):.1f} images/s")


def _in_turns(
    service: object, jobs: object, measure: Callable[[], list[float]]
) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of requests without a job and beside one, and the rates of the job."""
    alone, beside, rates = [], [], []
    for _ in range(ROUNDS):
        alone += measure()
        stop, name = threading.Event(), jobs.create("benchmark", {}, 10**6)
        started, thread = time.perf_counter(), jobs.start(name, partial(_classify, service, stop.is_set))
        beside += measure()
        rates.append(jobs.status(name).done / (time.perf_counter() - started))
        stop.set()
        thread.join()
    return alone, beside, rates


def _classify(service: object, is_done: Callable[[], bool], job: object) -> None:
    """Classify the examples until it is done, one in each slice; decoding and preprocessing are outside of it."""
    from lineup.images.reading import open_image

    loaded = service.load(BACKBONE).result()
    transform = loaded.plan.transform
    for path in itertools.cycle(sorted((ROOT / "examples").glob("*.jpg"))):
        if is_done():
            return
        batch = transform(open_image(path, min_side_px=2 * transform.resize_px))
        with job.slice():
            logits = loaded.engine(batch)
        job.record([{"image": path.name, "class_index": int(logits.argmax())}])


def client(url: str, folder: str) -> None:
    """Ask a server, in a process of its own: for each line of the input, print the seconds of requests as JSON."""
    from load import LARGE, SMALL, Images, client_of, send_request

    caller = client_of(url)
    for line in sys.stdin:
        images = Images(Path(folder), LARGE if line.strip() == "large" else SMALL)
        print(json.dumps([send_request(caller, "/classify", images)[0] for _ in range(REQUESTS)]), flush=True)


if __name__ == "__main__":
    if arguments := sys.argv[1:]:
        client(*arguments)
    else:
        main()
