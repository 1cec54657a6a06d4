"""The interface of a feature's panel: its own components and events on the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from lineup.page.layout import Page
from lineup.page.visit import Visit
from lineup.service import Service

Changes = dict[Any, Any]  # component → its new value


class Panel(Protocol):
    """A panel below the results.

    The page calls `applies`, then `build` and `wire` once, and `refresh` after every answer.
    """

    def applies(self, service: Service) -> bool:
        """Return whether the panel applies to this line-up."""

    def build(self, service: Service) -> None:
        """Create the components in the current Blocks context."""

    def wire(self, page: Page) -> None:
        """Register the panel's event listeners."""

    @property
    def outputs(self) -> Sequence[gr.Blocks | Any]:
        """Return the components that `refresh` may change."""

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Return the new values of the components.

        Args:
            service: the facade of the line-up.
            visit: the state of the page.
            path: the image file, if there is one.
            is_final: False while answers are pending.
        """
