"""The process between the page and a Ray cluster: ``python -m lineup.inference.cluster.broker ADDRESS DESCRIPTOR``.

Ray ends a process that has lost its cluster for a minute, and installs handlers and threads of its own. It therefore
runs here and not in the page's process, which starts another broker when this one has ended. The broker ends with the
page: it reads the end of their socket.
"""

import asyncio
import contextlib
import os
import socket
import sys
from typing import Any

from lineup.errors import LineupError, brief
from lineup.inference.cluster import APPLICATION, COMMAND, DEPLOYMENT, connection, messages, status
from lineup.inference.cluster.messages import Reply, Request, State
from lineup.inference.cluster.status import Seen

WATCH_S = 2.0  # how often the state of the application is looked up
_TRIES = 2  # a request whose replica has died is sent to another one, once
_NOT_DEPLOYED = ("cluster", f"the application {APPLICATION}", "the cluster does not run it", COMMAND)


class Broker:
    """Forwards requests from a socket to replicas.

    Args:
        reader: of the socket, and so is `writer`.
        dashboard: the address of the cluster's dashboard.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dashboard: str) -> None:
        self._reader, self._writer, self._dashboard = reader, writer, dashboard
        self._handle: Any = None
        self._tasks = dict[int, asyncio.Task[None]]()
        self._state: State | None = None

    async def run(self) -> None:
        """Serve until the page closes the socket."""
        watching = asyncio.create_task(self._watch())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = messages.length(await self._reader.readexactly(messages.HEADER_BYTES))
                self._begin(messages.unpacked(await self._reader.readexactly(size)))
        watching.cancel()

    def _begin(self, request: Request) -> None:
        if request.what == "cancel":
            if task := self._tasks.get(request.number):
                task.cancel()
            return
        task = asyncio.create_task(self._serve(request))
        self._tasks[request.number] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.number, None))

    async def _serve(self, request: Request) -> None:
        try:
            async with asyncio.timeout(request.deadline_s):
                reply = await self._ask(request)
        except TimeoutError:
            reply = Reply(request.number, "late")
        except Exception as error:
            reply = Reply(request.number, "died", f"{type(error).__name__}: {error}")
        self._send(reply)

    async def _ask(self, request: Request) -> Reply:
        """Send a request to a replica that has the backbone, and to another one if that dies meanwhile."""
        from ray import exceptions
        from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError

        problem = ""
        for _ in range(_TRIES):
            if not (handle := self._handle):
                return Reply(request.number, "died", "it does not run any more")
            assert request.ask
            options = handle.options(multiplexed_model_id=request.ask.name)
            if request.what == "load":
                response = options.load.remote(request.ask)
            else:
                response = options.output.remote(request.image, request.ask)
            try:
                return Reply(request.number, "answered", await response)
            except BackPressureError:
                return Reply(request.number, "busy")
            except asyncio.CancelledError:  # the deadline, or the client has gone
                response.cancel()
                raise
            except (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.NodeDiedError) as error:
                problem = str(error)
            except (exceptions.ObjectLostError, exceptions.RpcError, ReplicaUnavailableError) as error:
                problem = str(error)
        return Reply(request.number, "died", problem)

    def _send(self, message: Reply | State) -> None:
        self._writer.write(messages.packed(message))

    async def _watch(self) -> None:
        while True:
            state = await asyncio.to_thread(self._look)
            if state != self._state:
                self._state = state
                self._send(state)
            await asyncio.sleep(WATCH_S)

    def _look(self) -> State:
        """Look up whether the application runs, and what it does."""
        from ray import serve

        try:
            application = serve.status().applications.get(APPLICATION)
        except Exception as error:  # the control service is away; replicas may answer nevertheless
            return self._state or State(_failing(brief(error, line=0)))
        seen = self._seen(application)
        deployment = application.deployments.get(DEPLOYMENT) if application else None
        if not application or not deployment:
            self._handle = None
            return State(_NOT_DEPLOYED, dashboard=self._dashboard, seen=seen)
        running = sum(n for state, n in deployment.replica_states.items() if state == "RUNNING")
        if not self._handle and running:
            self._handle = serve.get_app_handle(APPLICATION)
        if not self._handle:
            reason = application.message or deployment.message or f"it is {application.status}"
            return State(_failing(reason), dashboard=self._dashboard, seen=seen)
        return State((), running, self._dashboard, seen)

    def _seen(self, application: Any) -> Seen | None:
        """Look up what each replica does; requests are sent even if that is impossible."""
        try:
            return status.seen_of(application, self._dashboard)
        except Exception:  # the control service is away
            return self._state.seen if self._state else None


def _failing(got: str) -> tuple[str, ...]:
    return "cluster", f"the application {APPLICATION} to run", got, "python -m lineup cluster status shows it"


async def _main(descriptor: int, dashboard: str) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    await Broker(reader, writer, dashboard).run()


def main() -> None:
    """Connect to the cluster, and serve until the page's end of the socket is closed."""
    address, descriptor = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(BrokenPipeError):
        try:
            dashboard = connection.connect(*connection.resolve(address))
        except LineupError as error:
            socket.socket(fileno=descriptor).sendall(messages.packed(State(error.args)))
        else:
            asyncio.run(_main(descriptor, dashboard))
    os._exit(0)  # without Ray's farewells, which wait for the cluster


if __name__ == "__main__":
    main()
