"""The owner's pages of a service: features add views to them, which share one sign-in and lead to one another."""

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from starlette.routing import BaseRoute

from lineup.page import owner_session
from lineup.page.client_address import Proxies
from lineup.page.sign_in import OwnerPages

if TYPE_CHECKING:
    from lineup.service import Service

_LOCK = threading.Lock()
_PAGES: "WeakKeyDictionary[Service, OwnerPages | None]" = WeakKeyDictionary()


def of(service: "Service") -> OwnerPages | None:
    """Return the owner's pages of a service, the same ones at each call.

    There are none without a token in the environment, or if it is too short.
    """
    with _LOCK:
        if service not in _PAGES:
            session, config = owner_session.from_environment(), service.config
            pages = OwnerPages(session, config.title, Proxies(config.trusted_proxies)) if session else None
            _PAGES[service] = pages
        return _PAGES[service]


def routes(service: "Service") -> list[BaseRoute]:
    """Return the routes that all views share; none if there are no views. Call it after features have added theirs."""
    pages = of(service)
    return [*pages.routes()] if pages and pages.views else []
