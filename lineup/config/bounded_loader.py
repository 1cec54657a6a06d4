"""A YAML loader with bounds on time and memory, by overriding two methods of PyYAML 6.0.

Without the overrides, the time of nested brackets is quadratic (yaml/scanner.py:295), and a few lines of aliases expand
to gigabytes (yaml/composer.py:63). `python benchmarks/patches.py 3 brackets`: 1,000 take 0.03 s instead of 0.75 s. A
version of PyYAML that does not call these methods parses in its own time; `lineup.config.yaml_source` rejects aliases
in that case, too.
"""

from typing import Any

import yaml

MAX_DEPTH = 20  # nested brackets around a simple key


class BoundedLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, in time linear in the number of nested brackets."""

    def save_possible_simple_key(self) -> None:
        # PyYAML checks the possible key of every open bracket at each token
        if getattr(self, "flow_level", 0) < MAX_DEPTH:
            super().save_possible_simple_key()

    def compose_node(self, parent: Any, index: Any) -> Any:
        # aliases allow exponential expansion ("billion laughs"), and no config needs them
        event: Any = self.peek_event()
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem=f"the alias *{event.anchor}; write the value out", problem_mark=event.start_mark
            )
        if event.anchor in self.anchors:
            raise yaml.MarkedYAMLError(
                problem=f"the anchor &{event.anchor} again; remove it", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)
