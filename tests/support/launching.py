"""Serves pages in the test's own process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from serving import free_port


@contextmanager
def pages() -> Iterator[Callable[..., SimpleNamespace]]:
    """Yield a function that serves a service until the end of the block; it has been probed if it is to be ready."""
    import app

    served = []

    def serve(service, ready=True):
        demo, slots = app.launch(service, free_port())
        served.append(demo)
        if ready:
            assert service.probed.wait(30)
        host = f"127.0.0.1:{demo.server_port}"
        return SimpleNamespace(service=service, slots=slots, demo=demo, host=host, url=f"http://{host}/")

    try:
        yield serve
    finally:
        for demo in served:
            demo.close(verbose=False)


@contextmanager
def page_of(path: Path) -> Iterator[SimpleNamespace]:
    """Serve a config file: for tests of clients, which need no process of its own, and it would import all again."""
    from lineup import config
    from lineup.service import Service

    with pages() as serve:
        yield serve(Service(config.load(path)))
