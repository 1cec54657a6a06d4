"""Deploys to the cluster that this process is connected to, and removes what was deployed."""

import os
import time
from pathlib import Path

from lineup.config import Config
from lineup.config.sections import Cluster
from lineup.errors import LineupError, brief
from lineup.inference.cluster import APPLICATION, connection, deployment, status
from lineup.inference.cluster.replica import Replica
from lineup.inference.cluster.settings import Settings

_ROOT = Path(__file__).parents[3]  # the folder that `lineup` is imported from
# Where files are cached, and from where they come; a token is not among them, as the dashboard would show it.
_PASSED_ON = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TORCH_HOME",
    "LINEUP_CACHE",
    "XDG_CACHE_HOME",
)
_POLL_S = 0.5


def section(config: Config) -> Cluster:
    """Return the section `cluster` of a config, or its defaults."""
    return config.cluster or Cluster()  # type: ignore[call-arg]


def connect(address: str) -> str:
    """Connect to the cluster of a config; return the address of its dashboard, or raise UnreachableError."""
    return connection.connect(*connection.resolve(address))


def deploy(
    settings: Settings, is_here: bool, dashboard: str, timeout_s: float, kind: type[Replica] = Replica
) -> status.Seen:
    """Deploy a config, or update what is deployed, one replica after the other; wait until replicas answer.

    Args:
        settings: the config.
        is_here: whether the cluster is this machine's, so that replicas import Lineup from where this process does.
            On other machines, it must be installed.
        dashboard: the address of the cluster's dashboard.
        timeout_s: how long the first replica may take.
        kind: the class that answers.

    Raises:
        ConfigError: when the config is invalid.
        LineupError: when no replica starts.
    """
    from ray import serve

    application = deployment.bound(settings, environment() if is_here else None, kind)
    serve.start(proxy_location="Disabled")  # nothing is served by HTTP
    try:
        serve.run(application, name=APPLICATION, route_prefix=None, blocking=False)
    except RuntimeError as error:
        raise _failed(brief(error)) from error
    until, least = time.monotonic() + timeout_s, section(settings.read_config()).replicas.min
    while len((seen := status.seen(dashboard)).replicas) < least or seen.status != "RUNNING":
        if seen.status in ("DEPLOY_FAILED", "UNHEALTHY") or time.monotonic() > until:
            raise _failed(seen.message or f"it is {seen.status}")
        time.sleep(_POLL_S)
    return seen


def remove() -> bool:
    """End the replicas, once they have answered their requests; return whether there were some."""
    from ray import serve

    there = APPLICATION in serve.status().applications
    if there:
        serve.delete(APPLICATION)
        status.forget()
    return there


def environment() -> dict[str, str]:
    """Return the variables that processes of a cluster on this machine need."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _failed(got: str) -> LineupError:
    remedy = "see Ray's log in /tmp/ray/session_latest/logs/serve, and the dashboard"
    return LineupError("cluster", "replicas that start", got, remedy)
