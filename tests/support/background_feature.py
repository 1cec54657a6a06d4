"""A feature whose background writes when it starts and stops into the file that EVENTS names."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def recorded(service):
    with Path(os.environ["EVENTS"]).open("a") as events:
        events.write("start\n")
        events.flush()
        yield
        events.write("stop\n")
