"""Serves pages in the test's own process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        return SimpleNamespace(service=service, slots=slots, demo=demo, host=f"127.0.0.1:{demo.server_port}")

    try:
        yield serve
    finally:
        for demo in served:
            demo.close(verbose=False)
