"""What a feature brings to the page: a panel of its own components, with its own events."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from lineup.page.layout import Page
from lineup.page.visit import Visit
from lineup.service import Service

Changes = dict[Any, Any]  # component → its new value


class Panel(Protocol):
    """A part of the page below the results.

    The page calls `applies`, then `build` and `wire` once, and `refresh` after each answer.
    """

    def applies(self, service: Service) -> bool:
        """Tell whether this line-up has a use for the panel."""
        ...

    def build(self, service: Service) -> None:
        """Create the components in the Blocks that is open."""
        ...

    def wire(self, page: Page) -> None:
        """Connect the panel's own events."""
        ...

    @property
    def outputs(self) -> Sequence[gr.Blocks | Any]:
        """Return the components that `refresh` may change."""
        ...

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Return what the components show now.

        Args:
            service: whose line-up it is.
            visit: what the page shows.
            path: the image's file, if there is one.
            is_final: False while answers are still to come.
        """
        ...
