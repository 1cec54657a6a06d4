"""What a cluster does: its replicas, where they run, and what each has loaded."""

import contextlib
import json
import os
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lineup.inference.cluster import APPLICATION, DEPLOYMENT

if TYPE_CHECKING:
    from lineup.inference.cluster.replica import Replica

TELL_S = 2.0  # how often a replica tells what it does
_KEY = "lineup:replica:"  # of Ray's key-value store
_ACTOR = f"SERVE_REPLICA::{APPLICATION}#{DEPLOYMENT}#"  # how Serve names the processes


@dataclass(frozen=True)
class ReplicaSeen:
    """What a replica does.

    Attributes:
        id: Serve's name of it.
        node: the name of its machine.
        pid: its process there.
        loaded: names of the backbones that it has loaded, the oldest first.
        loads: how often it has loaded each.
        ongoing: requests that it has.
        answers: how many it has given, and `failures`, how many were errors.
        per_second: answers a second, over the last minute.
    """

    id: str
    node: str = ""
    pid: int = 0
    loaded: tuple[str, ...] = ()
    loads: dict[str, int] = field(default_factory=dict)
    ongoing: int = 0
    answers: int = 0
    failures: int = 0
    per_second: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What a cluster does.

    Attributes:
        status: of the application: RUNNING, DEPLOYING, UNHEALTHY, …, or NOT_DEPLOYED.
        message: what Serve tells of it.
        states: how many replicas are in which state.
        replicas: those that run.
        nodes: names or addresses of the machines.
        dashboard: the address of Ray's dashboard, or empty.
    """

    status: str
    message: str = ""
    states: dict[str, int] = field(default_factory=dict)
    replicas: tuple[ReplicaSeen, ...] = ()
    nodes: tuple[str, ...] = ()
    dashboard: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as the command line and the API return it."""
        return asdict(self)


def seen(dashboard: str = "") -> Seen:
    """Return what the cluster does that this process is connected to."""
    from ray import serve

    return seen_of(serve.status().applications.get(APPLICATION), dashboard)


def seen_of(application: Any, dashboard: str) -> Seen:
    """Return what the cluster does, given what Serve tells of the application; None if it is not deployed."""
    import ray
    from ray.experimental import internal_kv

    nodes = tuple(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
    if not application:
        return Seen("NOT_DEPLOYED", nodes=nodes, dashboard=dashboard)
    deployment = application.deployments.get(DEPLOYMENT)
    counts = deployment.replica_states if deployment else {}
    states = {str(getattr(state, "value", state)): count for state, count in counts.items() if count}
    actors = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    found = list[ReplicaSeen]()
    for name in sorted(actor for actor in actors if actor.startswith(_ACTOR)):
        number = name.removeprefix(_ACTOR)
        reported = internal_kv._internal_kv_get(_KEY + number)
        values = json.loads(reported) if reported else {}
        found.append(ReplicaSeen(**{**values, "id": number, "loaded": tuple(values.get("loaded", ()))}))
    message = application.message or (deployment.message if deployment else "")
    return Seen(str(application.status.value), message, states, tuple(found), nodes, dashboard)


def tell(replica: "Replica") -> None:
    """Begin to tell every few seconds what a replica does, for as long as its process runs."""
    from ray import serve
    from ray.experimental import internal_kv

    number = serve.get_replica_context().replica_id.unique_id

    def run() -> None:
        while True:
            now = ReplicaSeen(
                id=number,
                node=replica.node,
                pid=os.getpid(),
                loaded=tuple(replica.loaded),
                loads=dict(replica.loads),
                ongoing=replica.ongoing,
                answers=replica.answers,
                failures=replica.failures,
                per_second=round(replica.per_second, 2),
            )
            with contextlib.suppress(Exception):  # the control service is away
                internal_kv._internal_kv_put(_KEY + number, json.dumps(asdict(now)))
            time.sleep(TELL_S)

    threading.Thread(target=run, name="tell", daemon=True).start()


def forget() -> None:
    """Delete what replicas have reported; those that run report it again."""
    from ray.experimental import internal_kv

    for key in internal_kv._internal_kv_list(_KEY):
        internal_kv._internal_kv_del(key)
