"""Measures the bundled backbones on pictures they were not trained on, and writes what came out.

Every picture goes the way it goes in the app: timm's own transform for the saved config, and for the examples the
app's `Service` itself.
"""

from __future__ import annotations

import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path

import numpy as np
import timm
import torch
from draw import CLASSES, EXAMPLES
from kinds import KNOWN, LABELS, NEVER_SEEN, UNKNOWN, picture
from timm.data import create_transform, resolve_data_config
from torch import nn

HERE = Path(__file__).parent
ROOT = HERE.parent
HELD_OUT, SKETCHES, STRANGE = 120, 60, 100  # pictures of each kind


@dataclass(frozen=True)
class Measured:
    """What came out for one backbone."""

    right: dict[str, float]  # class → share of its held-out pictures that were ranked first
    right_sketches: dict[str, float]
    known: np.ndarray  # the top probability of every held-out picture
    unknown: dict[str, np.ndarray]  # the same of what it does not know, by kind
    examples: dict[str, tuple[bool, float]]  # example → is its class first, probability of what is first

    def top(self, kinds: tuple[str, ...]) -> np.ndarray:
        """The top probabilities of some unknown kinds."""
        return np.concatenate([self.unknown[kind] for kind in kinds])

    @property
    def accuracy(self) -> float:
        """Share of the held-out pictures whose class is ranked first."""
        return float(np.mean(list(self.right.values())))

    @property
    def faults(self) -> list[str]:
        """What is not as it has to be."""
        wrong = [f"example {name} is not ranked first" for name, (first, _) in self.examples.items() if not first]
        return wrong + [f"accuracy {self.accuracy:.1%} is below 95 %"] * (self.accuracy < 0.95)


@cache
def load(folder: Path) -> tuple[nn.Module, object]:
    """Load a saved backbone and its transform."""
    torch.set_num_threads(1)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return network, create_transform(**resolve_data_config({}, pretrained_cfg=network.pretrained_cfg))


@torch.inference_mode()
def judge(folders: tuple[Path, ...], kind: str, seed: str, style: str) -> np.ndarray:
    """(backbones, classes) probabilities for one picture."""
    image = picture(kind, seed, style, large=True)
    loaded = [load(folder) for folder in folders]
    return np.stack([network(transform(image)[None]).softmax(1)[0].numpy() for network, transform in loaded])


def measure(names: tuple[str, ...], pool: ProcessPoolExecutor) -> dict[str, Measured]:
    """Measure saved backbones, all on the same pictures."""
    folders = tuple(HERE / name for name in names)

    def answers(kinds: tuple[str, ...], count: int, style: str = "photo") -> np.ndarray:
        jobs = [(kind, f"held out {k}") for kind in kinds for k in range(count)]
        told = list(pool.map(judge, repeat(folders), *zip(*jobs, strict=True), repeat(style), chunksize=20))
        return np.stack(told, axis=1).reshape(len(names), len(kinds), count, len(LABELS))

    def right(of: np.ndarray) -> dict[str, float]:
        first = of.argmax(-1) == np.arange(len(KNOWN))[:, None]  # (classes, count)
        return dict(zip(KNOWN, first.mean(1).tolist(), strict=True))

    strange = (*UNKNOWN, *NEVER_SEEN)
    photos, sketches = answers(tuple(KNOWN), HELD_OUT), answers(tuple(KNOWN), SKETCHES, "sketch")
    tops = answers(strange, STRANGE).max(-1)  # (backbones, kinds, count)
    return {
        name: Measured(
            right=right(photos[k]),
            right_sketches=right(sketches[k]),
            known=photos[k].max(-1).ravel(),
            unknown=dict(zip(strange, tops[k], strict=True)),
            examples=examples(name),
        )
        for k, name in enumerate(names)
    }


def examples(name: str) -> dict[str, tuple[bool, float]]:
    """Classify the page's examples as the page does."""
    sys.path[:0] = [str(ROOT)] * (str(ROOT) not in sys.path)
    from lineup import config, document
    from lineup.service import Service

    text = f"backbones:\n  - local-dir:{(HERE / name).relative_to(ROOT)}\n"
    service = Service(config.build(document.parse(text, "config.yaml"), ROOT))
    firsts = {}
    for example, _, _ in EXAMPLES:
        first = service.classify(ROOT / "examples" / f"{example}.jpg", top_k=1).predictions[0]
        firsts[example] = first.id == LABELS[list(KNOWN).index(example)], first.probability
    return firsts


def _worst(shares: dict[str, float]) -> str:
    name = min(shares, key=shares.__getitem__)
    return f"{shares[name]:.1%} ({name.replace('_', ' ')})"


def _spread(tops: np.ndarray) -> str:
    return f"{tops.mean():.2f}, {np.quantile(tops, 0.95):.2f}"


def rows(of: Measured) -> dict[str, str]:
    """What was measured, in words and numbers."""
    drawn = tuple(kind for kind in NEVER_SEEN if kind in CLASSES)
    told = {
        f"held-out drawings, {HELD_OUT} of each class: ranked first": f"{of.accuracy:.1%}",
        "… the worst class": _worst(of.right),
        f"sketches (a style not trained on), {SKETCHES} of each class: ranked first": (
            f"{np.mean(list(of.right_sketches.values())):.1%}"
        ),
        "… the worst class of sketches": _worst(of.right_sketches),
        "top probability, known classes: mean, 5th percentile": (
            f"{of.known.mean():.2f}, {np.quantile(of.known, 0.05):.2f}"
        ),
        "top probability, unknown kinds that were trained on as such: mean, 95th percentile": _spread(
            of.top(tuple(UNKNOWN))
        ),
        "top probability, drawn classes never seen: mean, 95th percentile": _spread(of.top(drawn)),
        "top probability, other kinds never seen: mean, 95th percentile": _spread(
            of.top(tuple(kind for kind in NEVER_SEEN if kind not in drawn))
        ),
    }
    told |= {f"… {kind.replace('_', ' ')}": _spread(of.unknown[kind]) for kind in NEVER_SEEN}
    named = {name: f"{'' if first else 'NOT FIRST '}{p:.2f}" for name, (first, p) in of.examples.items()}
    return told | {f"examples/{name}.jpg, top probability": text for name, text in named.items()}


def versions() -> str:
    """What it was measured with."""
    return f"torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()}"


def table(measured: dict[str, Measured]) -> str:
    """A table in Markdown, one column for each backbone."""
    columns = [rows(of) for of in measured.values()]
    lines = [f"| | {' | '.join(measured)} |", f"|---|{'---|' * len(measured)}"]
    lines += [f"| {row} | {' | '.join(column[row] for column in columns)} |" for row in columns[0]]
    return "\n".join(lines)
