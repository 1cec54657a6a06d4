"""Read the backbones out of a chart."""

import re


def drawn(plot) -> set[str]:
    return set(re.findall("'backbone': '(.*?)'", str(plot.to_dict())))
