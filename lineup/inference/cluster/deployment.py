"""How the replicas run in Ray Serve: how many, with what, and when one is replaced."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.config import Config
from lineup.config.sections import Cluster
from lineup.inference.cluster import APPLICATION, DEPLOYMENT, ONGOING, connection, status
from lineup.inference.cluster.replica import Held, Replica
from lineup.inference.cluster.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application

HEALTH_PERIOD_S, HEALTH_TIMEOUT_S = 2.0, 10.0  # a replica that fails three times in a row is replaced
_PER_REPLICA = 1.5  # requests at the same time, on average, above which another replica is started
_UP_S, _DOWN_S = 3.0, 120.0  # for how long there must be more, or fewer, before one is started, or stopped
_LOOK_BACK_S = 12.0  # over how long requests are averaged; Serve wants more than 10
BUILDER = "lineup.inference.cluster.deployment:application"


def application(arguments: dict[str, str]) -> "Application":
    """Return the application for a config file that every node has; called by Serve, which names this function.

    Args:
        arguments: ``config``, the path of the file.

    Raises:
        ConfigError: when it is invalid.
    """
    return bound(Settings.read(Path(arguments["config"])))


def bound(
    settings: Settings, environment: dict[str, str] | None = None, kind: type[Replica] = Replica
) -> "Application":
    """Return the application for a config.

    Args:
        settings: the config.
        environment: variables that its processes need.
        kind: the class that answers.

    Raises:
        ConfigError: when the config is invalid.
    """
    from ray import serve

    config = settings.read_config()
    cluster = config.cluster or Cluster()  # type: ignore[call-arg]
    deployment = serve.deployment(name=DEPLOYMENT, **options(config, environment))
    return deployment(_with_multiplexing(kind, cluster.backbones_per_replica)).bind(settings, cluster.cpus)


def options(config: Config, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the options of the deployment, as `serve.deployment` and a `serveConfigV2` take them."""
    cluster, limits = config.cluster or Cluster(), config.limits  # type: ignore[call-arg]
    actor: dict[str, Any] = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus}
    if environment:
        actor["runtime_env"] = {"env_vars": environment}
    return {
        "max_ongoing_requests": ONGOING,
        "max_queued_requests": limits.queue_size,
        "autoscaling_config": {
            "min_replicas": cluster.replicas.min,
            "max_replicas": cluster.replicas.max,
            "target_ongoing_requests": _PER_REPLICA,
            "upscale_delay_s": _UP_S,
            "downscale_delay_s": _DOWN_S,
            "look_back_period_s": _LOOK_BACK_S,
        },
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": 2 * limits.forward_timeout_s + 5,
        "ray_actor_options": actor,
    }


def serve_config(config: Config, path: str) -> dict[str, Any]:
    """Return the ``serveConfigV2`` of an image in which Lineup is installed, with the config file at this path."""
    return {
        "applications": [
            {
                "name": APPLICATION,
                "import_path": BUILDER,
                "route_prefix": None,  # no HTTP: the page asks through a handle
                "args": {"config": path},
                "deployments": [{"name": DEPLOYMENT, **options(config)}],
            }
        ]
    }


def _with_multiplexing(kind: type[Replica], backbones: int) -> type[Replica]:
    """Return a class whose backbones Serve counts: it sends a request to a replica that has its backbone."""
    from ray import serve

    class Multiplexed(kind):  # type: ignore[valid-type, misc]
        def __init__(self, settings: Settings, cpus: float) -> None:
            connection.keep_ports_to_this_machine()
            super().__init__(settings, cpus)
            status.tell(self)

        @serve.multiplexed(max_num_models_per_replica=backbones)  # type: ignore[untyped-decorator]
        async def held(self, name: str) -> Held:
            return self.hold(name)

    return Multiplexed
