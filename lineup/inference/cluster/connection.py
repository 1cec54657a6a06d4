"""Connects this process to a Ray cluster."""

import importlib.util
import json
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lineup.errors import LineupError, UnreachableError, brief
from lineup.hub import atomic_write
from lineup.hub.cache_folder import cache_folder
from lineup.inference.cluster import COMMAND, EXTRA

# Ray's switch for a cluster of one machine: all of its ports are open to this machine alone.
ONLY_THIS_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",  # more replicas are started after seconds
}
GRPC = {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1"}  # requests go straight to replicas: 3 ms faster than as tasks of actors
_TOKEN = Path(".ray", "auth_token")  # in the home folder: where Ray keeps the token of local clusters


@dataclass(frozen=True)
class LocalCluster:
    """A cluster of this machine that `cluster up` has started.

    Attributes:
        address: of Ray's control service.
        pid: the process that ends the cluster when it is terminated.
        created: when that process began, as psutil has it: another one may have its number later.
    """

    address: str
    pid: int
    created: float

    @property
    def runs(self) -> bool:
        """Tell whether it still runs."""
        try:
            return psutil.Process(self.pid).create_time() == self.created
        except psutil.Error:
            return False

    def remember(self) -> None:
        """Write down that it was started."""
        _file().parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write_text(_file(), json.dumps(asdict(self)))

    @classmethod
    def started(cls) -> "LocalCluster | None":
        """Return the one that was started and still runs."""
        try:
            found = cls(**json.loads(_file().read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.runs else None


def _file() -> Path:
    return cache_folder("cluster") / "local.json"


def finds_local() -> bool:
    """Tell whether ``auto`` finds a cluster: one that `cluster up` has started, or another one of this machine."""
    if LocalCluster.started() or os.environ.get("RAY_ADDRESS"):
        return True
    try:  # where Ray writes the address of the last one
        address = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text().strip()
    except OSError:
        return False
    return listens(address)


def require_ray(where: str) -> None:
    """Raise an error if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise LineupError(where, "Ray", "it is not installed", EXTRA)


def resolve(address: str) -> tuple[str, dict[str, str]]:
    """Return the address that Ray is given, and the environment in which it must be imported.

    Args:
        address: of the config; with ``auto``, what `cluster up` has started comes before what Ray finds itself.
    """
    environment = dict(ALWAYS)
    local = LocalCluster.started() if address == "auto" else None
    if local:
        address = local.address
    if address.startswith("127.0.0.1:") and not listens(f"{_own_address()}:{address.rpartition(':')[2]}"):
        environment |= ONLY_THIS_MACHINE
    if not address.startswith("ray://"):  # there, one port of the head may be all that this machine reaches
        environment |= GRPC
    if "RAY_AUTH_MODE" not in os.environ and Path.home().joinpath(_TOKEN).exists():
        environment["RAY_AUTH_MODE"] = "token"  # a cluster without tokens ignores it
    return address, environment


def _own_address() -> str:
    """Return this machine's address in its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 0.5).close()
    except OSError:
        return False
    return True


def connect(address: str, environment: Mapping[str, str]) -> str:
    """Connect this process to a cluster; return the address of its dashboard, or an empty string.

    Args:
        address: as `resolve` returns it, and so is `environment`; Ray must not be imported yet.

    Raises:
        UnreachableError: when that is impossible.
    """
    os.environ.update(environment)
    import ray
    from ray import serve  # noqa: F401

    try:
        context = ray.init(address, namespace="lineup", configure_logging=False, log_to_driver=False)
    except (Exception, SystemExit) as error:  # it raises ConnectionError, RuntimeError, ValueError and others
        raise _unreachable(address, error) from error
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # its import has set it
    found: str = getattr(context, "dashboard_url", None) or ""
    return f"http://{found}" if found and "://" not in found else found


def _unreachable(address: str, error: BaseException) -> UnreachableError:
    if address == "auto":
        return UnreachableError("cluster", "a Ray cluster on this machine", "none runs", COMMAND)
    remedy = "check cluster.address, and that the cluster runs"
    if not address.startswith("ray://"):
        remedy += "; this machine must be a node of it, or use ray://host:10001"
    return UnreachableError("cluster", f"a Ray cluster at {address}", brief(error, line=0), remedy)


def keep_ports_to_this_machine() -> None:
    """Let this process of a cluster that is to be reached from this machine alone open no ports to others.

    A replica of Serve opens one for calls between replicas on all addresses of its machine, whatever Ray is set to.
    """
    if any(os.environ.get(name) != value for name, value in ONLY_THIS_MACHINE.items()):
        return
    from grpc.aio._server import Server

    listen = Server.add_insecure_port

    def listen_here(server: Any, address: str) -> int:
        return int(listen(server, address.replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")))

    Server.add_insecure_port = listen_here
