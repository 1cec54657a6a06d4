"""Runs a pass over a folder on Ray: blocks of images go to actors, one on each machine, and their rows come back."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.engines import devices
from lineup.errors import LineupError, brief
from lineup.images.remote_folder import ListedFile
from lineup.inference.cluster import connection, folder_actor
from lineup.inference.cluster.folder_actor import Task
from lineup.inference.computed_backbone import Described

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_IMAGES = 512  # and, since two blocks of an actor are in memory:
BLOCK_BYTES = 64 << 20
BLOCKS_AT_ONCE = 2  # of an actor: one is read while the other one is computed
MAX_RETRIES = 3  # of a block whose machine or actor died
OBJECT_STORE_BYTES = 200 << 20  # of a cluster that is started here: a block of rows takes some MB
START_TIMEOUT_S = 600  # until a machine is free: an autoscaler may have to start one
_NONE_RUNS = "Could not find any running Ray instance"  # Ray has no error of its own for it


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a Ray cluster in the block, unless this process is connected already.

    Args:
        address: of its head, ``host:port`` or ``ray://host:port``; ``auto`` for one that runs on this machine, or else
            a new one, which ends with the block; ``local`` for a new one.

    Raises:
        LineupError: when Ray is not installed, or there is no such cluster.
    """
    connection.require_ray("--cluster")
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        _connect(address)
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    here = {"num_cpus": devices.cores(), "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here
    try:
        if address in ("auto", "local"):
            try:
                if address == "local":
                    raise ConnectionError
                ray.init(address="auto", runtime_env=_package(), **quiet)
            except ConnectionError as error:
                if address == "auto" and _NONE_RUNS not in str(error):
                    raise  # one runs, but does not let this process in: another one would surprise
                ray.init(address="local", **here, **quiet)  # its workers inherit the path of this process
        else:
            ray.init(address=address, runtime_env=_package(), **quiet)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError, and errors of gRPC
        expected = "a Ray cluster: auto, host:port or ray://host:port"
        remedy = "check the address, RAY_AUTH_MODE, and that Ray and Python have the same versions there"
        raise LineupError(f"--cluster {address}", expected, brief(error), remedy) from error


def _package() -> dict[str, Any]:
    """Return what sends this version of the package to the machines."""
    return {"py_modules": [str(Path(__file__).parents[2])]}


def described(task: Task, files: Sequence[ListedFile]) -> Described:
    """Load a backbone on a machine of the cluster, and return what is known of it.

    Raises:
        LineupError: when it cannot be loaded, or no machine is free.
    """
    import ray

    resources, _ = _resources(task)
    free = ray.remote(**resources)(_nothing).remote()
    if not ray.wait([free], timeout=START_TIMEOUT_S)[0]:
        ray.cancel(free, force=True)
        needs = " and ".join(f"{count:g} {kind.removeprefix('num_')}" for kind, count in resources.items() if count)
        got = f"none was within {START_TIMEOUT_S / 60:.0f} minutes"
        raise LineupError("cluster", f"a machine with {needs} free", got, "add machines, or stop what runs there")
    names = [file.name for file in files]
    with _ray_errors():
        found = ray.get(ray.remote(**resources, max_retries=MAX_RETRIES)(folder_actor.describe).remote(task, names))
    if isinstance(found, LineupError):
        raise found
    return found


def blocks(task: Task, fingerprint: str, files: Sequence[ListedFile]) -> "Iterator[pa.Table]":
    """Compute images on the cluster, and yield their rows, as `FolderActor` returns them, in any order.

    No more blocks are in memory than Ray's object store has room for: it waits for those that are yielded.

    Raises:
        LineupError: when the cluster fails.
    """
    import ray

    with _ray_errors():
        if not ray.util.client.ray.is_connected():
            yield from _blocks(task, fingerprint, files)
            return
        inside = ray.remote(num_cpus=0)(_Pass).remote(task, fingerprint, files)  # Ray Data runs in no client
        while (table := ray.get(inside.next.remote())) is not None:
            yield table


class _Pass:
    """Runs a pass inside the cluster, for a front that is its client; an actor."""

    def __init__(self, task: Task, fingerprint: str, files: Sequence[ListedFile]) -> None:
        self._blocks = _blocks(task, fingerprint, files)

    def next(self) -> "pa.Table | None":
        """Return the next block of rows; None after the last one."""
        return next(self._blocks, None)


def _blocks(task: Task, fingerprint: str, files: Sequence[ListedFile]) -> "Iterator[pa.Table]":
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    listed, (resources, n_actors) = list(_listed(files)), _resources(task)
    pool = ActorPoolStrategy(
        size=min(n_actors, len(listed)),
        max_tasks_in_flight_per_actor=2 * BLOCKS_AT_ONCE,
        max_concurrent_calls_per_actor=BLOCKS_AT_ONCE,
        enable_true_multi_threading=True,
    )
    with warnings.catch_warnings():  # there is no other way to bound the retries of an image that kills its process
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        computed = ray.data.from_arrow(listed).map_batches(
            folder_actor.FolderActor,
            fn_constructor_args=(task, fingerprint),
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            max_task_retries=MAX_RETRIES,
            **resources,
        )
    yield from computed.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)


def _listed(files: Sequence[ListedFile]) -> "Iterator[pa.Table]":
    """Yield the files in blocks, which are bounded by what their images take in memory."""
    import pyarrow as pa

    some, n_bytes = list[dict[str, Any]](), 0
    for file in files:
        if some and (len(some) == BLOCK_IMAGES or n_bytes + max(file.size, 0) > BLOCK_BYTES):
            yield pa.Table.from_pylist(some)
            some, n_bytes = [], 0
        some.append({"name": file.name, "size": file.size, "version": file.version})
        n_bytes += max(file.size, 0)
    if some:
        yield pa.Table.from_pylist(some)


def _resources(task: Task) -> tuple[dict[str, float], int]:
    """Return what an actor takes of a machine, and how many actors there are.

    As the config says; or else all cores of a machine for one actor, because a forward pass uses them all, or a GPU.
    """
    import ray

    if chosen := getattr(task.config, "cluster", None):
        return {"num_cpus": chosen.cpus, "num_gpus": chosen.gpus}, chosen.replicas.max
    found = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    gpus = sum(int(node.get("GPU", 0)) for node in found)
    if gpus and task.config.device in ("auto", "cuda"):
        return {"num_cpus": 1, "num_gpus": 1}, gpus
    cpus = min((node["CPU"] for node in found), default=1)
    return {"num_cpus": cpus}, max(1, sum(int(node["CPU"] // cpus) for node in found))


def _nothing() -> None:
    """Do nothing, on a machine that is free."""


@contextmanager
def _ray_errors() -> Iterator[None]:
    from ray.exceptions import RayError

    try:
        yield
    except LineupError:
        raise
    except (RayError, ConnectionError, RuntimeError) as error:
        remedy = "run it again to go on: the answers so far are kept"
        raise LineupError("cluster", "machines that answer", brief(error, 300), remedy) from error
