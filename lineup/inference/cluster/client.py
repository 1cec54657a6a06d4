"""Backbones that a cluster computes, as the pool of the page's process sees them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lineup.config import Config, Entry
from lineup.errors import BusyError, ForwardTimeout, LineupError, brief
from lineup.inference.cluster import ONGOING
from lineup.inference.cluster.link import Link
from lineup.inference.cluster.messages import Ask, What
from lineup.inference.cluster.settings import digest
from lineup.inference.queue import Cancelled, never_cancelled

if TYPE_CHECKING:
    from lineup.registry import Plan
    from lineup.registry.remote import RemoteOutput

LOAD_S = 3600.0  # how long a replica may take for its first load, a download; the Hub's own timeout ends a dead one


class Elsewhere:
    """Has the entries of a config computed by its cluster; see `Loader`.

    Entries that were added to the page later, such as a trained classifier, are computed in its process: the cluster
    does not have them.

    Attributes:
        link: the connection to the cluster.
    """

    def __init__(self, config: Config) -> None:
        assert config.cluster
        self.link = Link(config.cluster.address)
        self._config, self._entries = config, list(config.backbones)

    def __call__(self, entry: Entry, plan: "Plan") -> "Plan":
        if plan.remote or entry not in self._entries:
            return plan
        return replace(plan, remote=lambda: RayBackbone(self.link, self._config, entry, plan.output))


class RayBackbone:
    """A backbone of a Ray cluster; see `lineup.registry.remote`. It is loaded there when this is made.

    Raises:
        LineupError: when the cluster cannot be asked, or the backbone cannot run there.
    """

    name, hint = "ray", ""
    fingerprint = ""  # replicas may differ in their engines and devices: nothing identifies what the next one computes

    def __init__(self, link: Link, config: Config, entry: Entry, kind: str) -> None:
        self._link, self._entry, self._kind = link, entry, kind
        self._digest, self._timeout_s = digest(config, entry), config.limits.forward_timeout_s
        self._ask("load", LOAD_S, LOAD_S)

    @property
    def concurrency(self) -> int:
        """How many images the cluster computes at the same time: it is asked for no more, and the rest wait here."""
        return ONGOING * max(1, self._link.state.replicas)

    @property
    def problem(self) -> LineupError | None:
        """Return why it cannot answer now, or None."""
        return self._link.problem

    @property
    def where(self) -> str:
        """The replicas, and how many of them have loaded it, as they reported some seconds ago."""
        state, name = self._link.state, self._entry.name
        if state.problem:
            return "a cluster that does not answer now"
        text = f"{state.replicas} replica{'' if state.replicas == 1 else 's'} of the cluster"
        if state.seen is None:
            return text
        rates = [replica.per_second for replica in state.seen.replicas if name in replica.loaded]
        return f"{text}, loaded in {len(rates)}" + (f" ({sum(rates):.1f} answers/s)" if rates else "")

    def output(self, image: bytes, model_input: bool, cancelled: Cancelled) -> "RemoteOutput":
        """Compute an image file; raise as `RemoteBackbone.output` does.

        A request waits for a replica for as long as the forward pass may take, and then for that.
        """
        found: RemoteOutput = self._ask("output", self._timeout_s, 2 * self._timeout_s, image, model_input, cancelled)
        return found

    def _ask(
        self,
        what: What,
        wait_s: float,
        deadline_s: float,
        image: bytes = b"",
        model_input: bool = False,
        cancelled: Cancelled = never_cancelled,
    ) -> Any:
        name = self._entry.name
        ask = Ask(name, self._kind, self._digest, wait_s, model_input)
        reply = self._link.ask(what, ask, image, deadline_s, cancelled)
        if reply.outcome == "busy":
            raise BusyError(name, "", "too many requests wait for the cluster", "try again in some seconds")
        if reply.outcome == "late" and not self._link.state.replicas:
            raise BusyError(name, f"a replica within {deadline_s:g} s", "none runs", "try again in some seconds")
        if reply.outcome == "late":
            got = "the cluster is still computing"
            raise ForwardTimeout(name, f"an answer within {deadline_s:g} s", got, "choose another backbone")
        if reply.outcome == "died":
            got = f"the replicas that it was sent to ended: {brief(Exception(reply.value), line=0)}"
            raise BusyError(name, "an answer of the cluster", got, "try again in some seconds")
        if isinstance(reply.value, LineupError):
            raise reply.value
        return reply.value
