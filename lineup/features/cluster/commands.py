"""The command `cluster`: up, status and down."""

import argparse
from typing import TYPE_CHECKING

from lineup.cli.output import EXIT_ERROR, print_answer
from lineup.formatting import aligned

if TYPE_CHECKING:  # keep `--help` fast
    from lineup.inference.cluster.status import Seen
    from lineup.service import Service

DEPLOY_S = 600.0  # how long the first replica may take to start: its machine may have to be started first


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """Add `cluster`, which has subcommands of its own."""
    command = commands.add_parser("cluster", help="compute answers on a Ray cluster: up, status, down")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    for name, run, summary in (
        ("up", _up, "deploy the config to its cluster, which is started on this machine if there is none"),
        ("status", _status, "show the replicas, where they run, and what each has loaded"),
        ("down", _down, "end the replicas, and the cluster if `up` has started it"),
    ):
        action = actions.add_parser(name, parents=[shared], help=summary, description=f"{summary.capitalize()}.")
        action.set_defaults(run=run)


def _up(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.inference.cluster import connection, control, local
    from lineup.inference.cluster.settings import Settings

    connection.require_ray("cluster up")
    notes = [] if arguments.json else ["this takes some seconds; the first time on a machine, a minute"]
    print(*notes, sep="\n", flush=True)
    cluster = control.section(service.config)
    if cluster.address == "auto" and not connection.finds_local():
        local.start()
    dashboard = control.connect(cluster.address)
    seen = control.deploy(Settings.read(arguments.config), cluster.address == "auto", dashboard, DEPLOY_S)

    def lines() -> list[str]:
        wanted = "" if service.config.cluster else f"add `cluster: {{address: auto}}` to {arguments.config}; "
        done = [f"{len(seen.replicas)} of at most {cluster.replicas.max} replicas answer, on {', '.join(seen.nodes)}"]
        done += [f"Ray's dashboard: {seen.dashboard}"] if seen.dashboard else []
        return [*done, f"next: {wanted}serve the page: make run", "end it: python -m lineup cluster down"]

    print_answer(seen.to_json(), arguments.json, lines)
    return 0


def _status(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.inference.cluster import connection, control, status

    connection.require_ray("cluster status")
    seen = status.seen(control.connect(control.section(service.config).address))
    print_answer(seen.to_json(), arguments.json, lambda: text(seen))
    return 0 if seen.status == "RUNNING" else EXIT_ERROR


def _down(service: "Service", arguments: argparse.Namespace) -> int:
    from lineup.inference.cluster import connection, control, local

    connection.require_ray("cluster down")
    address, started = control.section(service.config).address, connection.LocalCluster.started()
    control.connect(address)
    was_deployed = control.remove()
    ended = address == "auto" and started is not None
    if started and ended:
        local.stop(started)
    done = ["the replicas have ended" if was_deployed else "there were no replicas"]
    done += ["the cluster of this machine has ended"] if ended else []
    print_answer({"removed": was_deployed, "ended": ended}, arguments.json, lambda: done)
    return 0


def text(seen: "Seen") -> list[str]:
    """Return what is seen of a cluster, as lines."""
    states = ", ".join(f"{count} {state.lower()}" for state, count in seen.states.items())
    first = f"{seen.status.lower().replace('_', ' ')}: {states or 'no replicas'}; nodes: {', '.join(seen.nodes)}"
    rows = [
        (
            replica.id,
            f"{replica.node}:{replica.pid}" if replica.pid else "starting",
            ", ".join(replica.loaded) or "-",
            ", ".join(f"{name} {count}" for name, count in replica.loads.items()) or "-",
            str(replica.ongoing),
            f"{replica.per_second:.1f}",
            str(replica.failures),
        )
        for replica in seen.replicas
    ]
    header = ("replica", "node:process", "loaded", "loads", "requests", "answers/s", "errors")
    lines = [first, *([seen.message] if seen.message else []), *(aligned([header, *rows], "llllrrr") if rows else [])]
    return [*lines, *([f"Ray's dashboard: {seen.dashboard}"] if seen.dashboard else [])]
