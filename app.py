"""What a Space runs: reads config.yaml and serves the page."""

from lineup import runtime

if runtime.on_zerogpu():
    import spaces  # noqa: F401  (it wants to be there before torch is)

import argparse
import gc
import inspect
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.errors import ConfigError

if TYPE_CHECKING:
    from lineup.server import Gate
    from lineup.service import Service

HERE = Path(__file__).parent
# Gradio would sum up all past requests anew at the end of each, for a page that is turned off.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # Gradio's own client, which serves MCP, would report itself
# Uploads lie apart from those of other apps on this machine: old ones are removed.
os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "lineup-uploads"))


def main() -> None:
    """Serve the page until it is stopped."""
    arguments = _arguments()
    runtime.share_heaps()
    from lineup import config  # not for --help

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        chosen = config.load(arguments.config)
    except ConfigError as error:
        print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        sys.exit(2)
    with _importing_gradio():  # takes seconds: a mistake in the config is told before
        from lineup import page  # noqa: F401
    from lineup.service import Service

    service = Service(chosen)
    try:
        _, gate = launch(service, arguments.port)
    except OSError as error:  # Gradio's words, for a port that is taken, are for whoever writes an app
        print(f"error: --port: expected a port that is free; {arguments.port} is not ({error.args[-1]}); name another")
        os._exit(2)
    _serve(gate)


def launch(service: "Service", port: int | None = None) -> tuple[Any, "Gate"]:
    """Serve a service's page in the background; return Gradio's Blocks and what stands before it."""
    from starlette.middleware import Middleware

    from lineup import page
    from lineup.server import Gate

    config, demo = service.config, page.build(service)
    gate = Gate(service, demo)
    if runtime.on_zerogpu():
        service.start()  # there the backbones go to the GPU before the page is served, on this thread
    demo.launch(
        prevent_thread_lock=True,
        server_port=port,
        theme=page.THEME,
        css_paths=page.CSS,
        js=page.JS,
        footer_links=["api", "gradio"],
        share=config.share or None,
        max_file_size=f"{config.limits.max_upload_mb}mb",
        allowed_paths=[example.picture for example in service.examples if not example.is_remote],
        enable_monitoring=False,
        state_session_capacity=500,  # each holds the answers that a visitor's page shows
        max_threads=Gate.most_events(config.limits),  # who waits for a download keeps nobody else's event waiting
        app_kwargs={"middleware": [Middleware(gate.before)]},
        ssr_mode=False,
        mcp_server=True,
    )
    threading.Thread(target=gate.sweep_for_ever, name="sweep", daemon=True).start()
    if not runtime.on_zerogpu():
        service.start()
    return demo, gate


def _serve(gate: "Gate") -> None:
    """Serve until somebody says stop; what runs then may finish."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
        logging.getLogger("lineup").info("stopping; running requests may finish")
        gate.drain()
    except KeyboardInterrupt:  # at a terminal nobody waits
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that compute or download are not waited for


@contextmanager
def _importing_gradio() -> Iterator[None]:
    """Import gradio in 60% of the time: it reads each component's source again, to write stubs for editors.

    It writes none for a class whose file is not known: so long as it is imported, no class's file is. Nor is
    garbage looked for: an import leaves little, and there are many objects to search.
    """
    known = inspect.getfile

    def getfile(thing: Any) -> str:
        if isinstance(thing, type):
            raise OSError("nobody needs to know now")
        return known(thing)

    inspect.getfile = getfile  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        inspect.getfile = known
        gc.enable()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the page that a config describes.")
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("LINEUP_CONFIG", HERE / "config.yaml")),
        help="the config file (default: config.yaml beside app.py, or LINEUP_CONFIG)",
    )
    parser.add_argument(
        "--port",
        type=int,
        choices=range(1, 65536),
        metavar="PORT",
        default=None,
        help="the port to serve on (default: the first free from 7860)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
