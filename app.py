"""Assembles the page: `build` reads like the screen, from top to bottom.

A Space runs this file, and so does `make run`. Importing it builds `demo` from LINEUP_CONFIG or config.yaml; it opens
no port, starts no thread and loads no weights.
"""

from lineup.engines import zerogpu

if zerogpu.on_zerogpu():
    import spaces  # noqa: F401  (must be imported before torch)

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from lineup import fast_import
from lineup.engines import devices
from lineup.errors import ConfigError

# Gradio would aggregate all past requests after each one, for its monitoring page, which is disabled here.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # Gradio's client, which serves MCP, would send telemetry
# A folder of its own: old uploads are removed, and those of other apps on this machine must not be.
os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / "lineup-uploads"))

SWITCH_S = 0.0005  # how long a thread that computes keeps the GIL; after Python's 5 ms, the event loop mostly waits
STOP_S = 10.0  # how long the features may take to stop, once running requests are answered


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the page that a config describes.")
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("LINEUP_CONFIG", Path(__file__).with_name("config.yaml"))),
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
    return parser.parse_args(argv)


# When this file is imported, sys.argv belongs to another program.
ARGUMENTS = _arguments(None if __name__ == "__main__" else [])
from lineup import config  # after parsing: --help does not wait for pydantic
from lineup.engines import choice

try:
    CONFIG = config.load(ARGUMENTS.config)
    choice.check(CONFIG)
except ConfigError as error:  # before gradio is imported, which takes seconds
    print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
    sys.exit(2)

fast_import.import_modules("gradio", "gradio.components.api_component")  # gr.api would import the latter later
import gradio as gr

from lineup.features import FEATURES, Feature
from lineup.page import api, owner_pages, wiring
from lineup.page.connections import Connections
from lineup.page.handover import Handover
from lineup.page.layout import Page
from lineup.page.panels import Panel
from lineup.page.theme import CSS, HEAD, JS, THEME
from lineup.server import privacy
from lineup.server.input_guard import restrict_inputs
from lineup.server.whole_values import send_whole_values
from lineup.service import Service

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute

    from lineup.server.admission import Admission


def build(service: Service, features: Iterable[Feature] = FEATURES.values()) -> gr.Blocks:
    """Assemble the page of a service and its features. Loads no backbone: `service.start` does."""
    features = list(features)
    with gr.Blocks(title=service.config.title, analytics_enabled=False) as demo:
        page = Page(service, CONNECTIONS, IMAGES)
        page.add_header()
        with gr.Row(elem_id="stage"):
            with gr.Column(scale=5, min_width=300):
                page.add_image()
                page.add_retention(privacy.KEPT_S)
                page.add_examples()
            with gr.Column(scale=6, min_width=300):
                page.add_backbone()
                page.add_comparison()
                page.add_top_k()
                page.add_results()
                answer_panels = _panels(service, [feature.answer_panel for feature in features])
        page.add_table()
        panels = _panels(service, [feature.panel for feature in features])
        wiring.connect(demo, page, [*answer_panels, *panels])
        api.add(service, CONNECTIONS)
    for feature in features:
        if feature.pages:
            resolve_name(feature.pages)(demo, service, CONNECTIONS, IMAGES)
    send_whole_values()
    restrict_inputs(demo, CONNECTIONS)
    demo.api_open = False  # no requests past the queue; set here, as `demo.queue` would build the server again: 0.1 s
    return demo


def _panels(service: Service, names: Iterable[str]) -> list[Panel]:
    """Add the panels that apply to this service, and return them; features without one have an empty name."""
    panels: list[Panel] = [resolve_name(name)() for name in names if name]
    panels = [panel for panel in panels if panel.applies(service)]
    for panel in panels:
        panel.build(service)
    return panels


if gr.NO_RELOAD:  # `gradio app.py` runs this file again after each change: loaded backbones survive it
    SERVICE, CONNECTIONS, IMAGES = Service(CONFIG), Connections(), Handover()
demo = build(SERVICE)


def _routes(service: Service, features: Iterable[Feature]) -> list["BaseRoute"]:
    """Return the routes of the features that have some, and of what their pages for the owner share."""
    found = [route for feature in features if feature.routes for route in resolve_name(feature.routes)(service)]
    return [*found, *owner_pages.routes(service)]


def _middleware(service: Service, features: Iterable[Feature]) -> list["Middleware"]:
    """Return the middleware of the features that have some."""
    return [each for feature in features if feature.middleware for each in resolve_name(feature.middleware)(service)]


def launch(
    service: Service,
    port: int | None = None,
    page: gr.Blocks | None = None,
    features: Iterable[Feature] = FEATURES.values(),
) -> tuple[gr.Blocks, "Admission"]:
    """Serve a service's page and its features' routes in the background; return Gradio's Blocks and the queue slots."""
    from lineup.server import admission, allowlist, body_limit, health, mcp_tools, sessions, stack, uploads

    limits, features = service.config.limits, list(features)
    blocks = page or build(service, features)
    slots, known = admission.Admission(service, CONNECTIONS), sessions.Sessions(blocks, CONNECTIONS)
    warnings = [resolve_name(feature.warnings) for feature in features if feature.warnings]
    routes = [*health.routes(service, warnings), *privacy.routes(), *_routes(service, features)]
    middleware = stack.middleware(service, blocks, CONNECTIONS, slots, known, routes)
    first = [*_middleware(service, features), stack.direct(service, CONNECTIONS, slots, known, routes)]
    lifespan = stack.outermost(first, uploads.sweeping(blocks, known, routes))
    image_bytes = limits.max_upload_mb * 10**6
    mcp_tools.adapt(body_limit.max_body_bytes(allowlist.MCP, image_bytes), limits.max_upload_mb)
    if not service.loads_on_demand:
        service.start()  # on ZeroGPU backbones are moved to the GPU on this thread, before the page is served
    settings: dict[str, Any] = {
        "theme": THEME,
        "css_paths": CSS,
        "js": JS,
        "head": HEAD,
        "footer_links": ["api", "gradio"],
        "share": service.config.share or None,
        "max_file_size": image_bytes,  # as a number: in "20mb", Gradio's MB is 2**20
        "allowed_paths": [example.image for example in service.examples if not example.is_remote],
        "enable_monitoring": False,
        "state_session_capacity": 500,  # each has the answers that an open page shows
        "max_threads": admission.max_requests(limits),  # a request that waits for a download blocks no other
        "app_kwargs": {"middleware": middleware, "routes": routes, "lifespan": lifespan},
        "ssr_mode": False,
        "mcp_server": True,
    }
    blocks.launch(prevent_thread_lock=True, server_port=port, **settings)
    if service.loads_on_demand:
        service.start()
    return blocks, slots


@contextmanager
def background(service: Service, features: Iterable[Feature] = FEATURES.values()) -> Iterator[None]:
    """Run what the features do beside the page inside the block; at its end, they have up to STOP_S in all.

    One that fails to start is logged: the page is served without it.
    """
    log, running = logging.getLogger("lineup"), list[tuple[str, AbstractContextManager[None]]]()

    def stop() -> None:
        for name, context in reversed(running):
            try:
                context.__exit__(None, None, None)
            except Exception:
                log.exception("%s: it did not stop cleanly", name)

    for feature in features:
        if feature.background:
            try:
                context = resolve_name(feature.background)(service)
                context.__enter__()
            except Exception:
                log.exception("%s: it does not run in the background", feature.name)
            else:
                running.append((feature.name, context))
    try:
        yield
    finally:
        stopping = threading.Thread(target=stop, name="stop", daemon=True)
        stopping.start()
        stopping.join(STOP_S)
        if stopping.is_alive():
            log.error("the features did not stop within %g s", STOP_S)


def main() -> None:
    """Serve the page until SIGTERM or Control+C; then running requests and features may finish."""
    devices.limit_malloc_arenas()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        _, slots = launch(SERVICE, ARGUMENTS.port, demo)
    except OSError as error:
        if "empty port" not in str(error):
            raise
        got = f"{ARGUMENTS.port} is in use" if ARGUMENTS.port else "all from 7860 to 7959 are in use"
        print(f"error: --port: expected a free port; {got}; choose another one", file=sys.stderr, flush=True)
        os._exit(2)
    devices.collect_garbage()
    sys.setswitchinterval(SWITCH_S)
    stop, received = threading.Event(), list[int]()

    def end(number: int, _: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Control+C ends the process at once
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with suppress(KeyboardInterrupt), background(SERVICE):
        stop.wait()
        if received[0] == signal.SIGTERM:
            logging.getLogger("lineup").info("stopping; running requests may finish")
            slots.drain()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without waiting for threads that compute or download


if __name__ == "__main__" and gr.NO_RELOAD:  # a reload runs this file under the same name
    main()
