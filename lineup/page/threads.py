"""Runs what visitors ask for on threads of its own, so that one who waits keeps nobody else waiting."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gradio.context import LocalContext

from lineup.inference.queue import Client
from lineup.service import Service

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(4096, "visitor")  # started as needed; limits.queue_size bounds them


def on_thread(call: Callable[[], T]) -> "asyncio.Future[T]":
    """Begin to run a call on a thread, with the request's context, where ZeroGPU looks for whom to charge."""
    return asyncio.get_running_loop().run_in_executor(_THREADS, contextvars.copy_context().run, call)


def visitor(service: Service) -> Client:
    """Return who asked for what runs now."""
    name = getattr(LocalContext.request.get(None), "session_hash", None)
    return service.client(name if isinstance(name, str) else None)
