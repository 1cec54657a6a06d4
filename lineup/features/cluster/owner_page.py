"""What is seen of the cluster, on a page for the owner."""

from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.routing import BaseRoute

from lineup.inference.cluster.messages import State
from lineup.page import owner_pages
from lineup.page.sign_in import OwnerPages, View
from lineup.page.templates import renderer
from lineup.service import Service

VIEW = View("/cluster", "Cluster")
_render = renderer(Path(__file__).parent / "templates")


def routes(service: Service) -> list[BaseRoute]:
    """Return the route of the owner's page, if the config has a cluster, and the owner a token."""
    pages = owner_pages.of(service)
    if service.cluster is None or pages is None:
        return []
    pages.add(VIEW)
    return [pages.page(VIEW.address, partial(_html, service, pages))]


def _html(service: Service, pages: OwnerPages, request: Request) -> str:
    """Render what the broker has sent last: a page that is opened often asks the cluster for nothing."""
    assert service.cluster
    service.cluster.start()
    problem, state = service.cluster.problem, service.cluster.state
    return _render(
        "cluster.html",
        **pages.frame(request, VIEW),
        problem=problem,
        seen=state.seen,
        summary=_summary(state),
        dashboard=state.dashboard if state.dashboard.startswith(("http://", "https://")) else "",
        backbones=service.backbones(),
    )


def _summary(state: State) -> str:
    """Say how many replicas are in which state, and where."""
    if state.seen is None:
        return "The page connects again when the cluster is back." if state.problem else "The cluster answers."
    seen = state.seen
    states = ", ".join(f"{count} {name.lower()}" for name, count in seen.states.items()) or "none"
    status = seen.status.lower().replace("_", " ").capitalize()
    return f"{status}. Replicas: {states}. Nodes: {', '.join(seen.nodes) or 'none'}. As of a few seconds ago."
