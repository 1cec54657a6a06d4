"""Trains the two backbones beside it on drawings, saves them in timm's hub format and measures them.

    python bundled/train.py            all of it, from nothing: draws, trains, saves, measures, writes the cards
    python bundled/train.py --check    measures again what is saved

The same seeds give the same pictures and, on the same machine and versions, the same weights. Each backbone is trained
in a process of its own with one thread: two threads for one network wait for each other where cores are shared.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from kinds import KNOWN, LABELS, NEVER_SEEN, UNKNOWN, picture
from measure import Measured, load, measure, table, versions
from PIL import Image
from timm.models._hub import save_for_hf
from torch import nn

HERE = Path(__file__).parent
SIDE, SMALL = 128, 96  # what goes into a backbone, in pixels, and into one that is beginning to learn
STORED = 144  # what training pictures are kept at, so that it can zoom in a little without blurring
DATA = {
    "input_size": (3, SIDE, SIDE),
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "crop_pct": 1.0,
    "interpolation": "bicubic",
}


@dataclass(frozen=True)
class Recipe:
    """How one backbone is made."""

    architecture: str
    about: str
    steps: int
    rate: float
    arguments: dict[str, Any] = field(default_factory=dict)
    batch: int = 64
    decay: float = 0.05
    smoothing: float = 0.05
    small: float = 0.7  # the first share of the steps is made with SMALL pixels, at half the price


# the page shows it beside each answer
TOLD = "trained on drawings of a few things, to show the page and the format for one's own: it knows nothing else"

RECIPES = {
    "tiny_resnet": Recipe("test_resnet", "a residual network of four blocks", 750, 4e-3),
    "tiny_vit": Recipe(
        "test_vit2",
        "a vision transformer of eight blocks",
        6000,
        2.5e-3,
        # timm's own 1e-5 opens the blocks slowly: meant for longer trainings than this one
        {"img_size": SIDE, "init_values": 0.1},
        batch=32,
    ),
}


# pictures


def stored(kind: str, seed: str) -> np.ndarray:
    """A training picture, (STORED, STORED, 3) uint8: its middle, made small as a backbone's transform makes it."""
    full = picture(kind, seed)
    side = min(full.size)
    left, top = (full.width - side) // 2, (full.height - side) // 2
    area = (left, top, left + side, top + side)
    return np.asarray(full.resize((STORED, STORED), Image.Resampling.BICUBIC, area))


def draw_training_set(folder: Path, pool: ProcessPoolExecutor) -> None:
    """Write pictures.npy, (N, STORED, STORED, 3) uint8, and targets.npy, (N,) int64; -1 is unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = list((KNOWN | UNKNOWN).items())
    names = [name for name, count in counts for _ in range(count)]
    seeds = [f"train {k}" for _, count in counts for k in range(count)]
    shape = (len(names), STORED, STORED, 3)
    pictures = np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, shape)
    for k, one in enumerate(pool.map(stored, names, seeds, chunksize=50)):
        pictures[k] = one
    index = {name: k for k, name in enumerate(KNOWN)}
    np.save(folder / "targets.npy", np.array([index.get(name, -1) for name in names]))


# training


def uniform(n: int, low: float, high: float) -> torch.Tensor:
    """(n, 1, 1, 1) random numbers, one for each picture."""
    return torch.empty(n, 1, 1, 1).uniform_(low, high)


def chosen(n: int, share: float) -> torch.Tensor:
    """(n, 1, 1, 1) bool: which pictures something is done to."""
    return torch.rand(n, 1, 1, 1) < share


def move(x: torch.Tensor, side: int) -> torch.Tensor:
    """Turn, zoom, stretch and shift each picture, to `side` pixels.

    None is mirrored: letters and clocks are not seen so.
    """
    n = len(x)
    turn, zoom, stretch = torch.randn(n) * 0.12, torch.empty(n).uniform_(0.7, 1.1), torch.randn(n) * 0.06
    c, s = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    shift = torch.randn(n, 2) * 0.12
    matrix = torch.stack([c * (1 + stretch), -s, shift[:, 0], s, c * (1 - stretch), shift[:, 1]], dim=1).view(n, 2, 3)
    grid = F.affine_grid(matrix, [n, 3, side, side], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def recolour(x: torch.Tensor) -> torch.Tensor:
    """Change each picture's light and colours, some to grey or to their negative."""
    n = len(x)
    mixing = torch.eye(3) + torch.randn(n, 3, 3) * 0.12
    x = torch.einsum("nij,njhw->nihw", mixing / mixing.sum(2, keepdim=True).clamp(min=0.5), x)
    x = torch.where(chosen(n, 0.15), x.mean(1, keepdim=True), x)
    x = torch.where(chosen(n, 0.04), 1 - x, x)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * uniform(n, 0.4, 1.3) + middle + uniform(n, -0.2, 0.2)
    return x.clamp(0, 1) ** torch.exp(uniform(n, -0.5, 0.5))


def spoil(x: torch.Tensor) -> torch.Tensor:
    """Blur some pictures, halve the detail of some, and put noise on some: a batch is in random order already."""
    soft, coarse, noisy = slice(0, len(x) // 5), slice(len(x) // 5, len(x) // 3), slice(len(x) // 10, len(x) // 2)
    x[soft] = F.avg_pool2d(x[soft], 3, 1, 1, count_include_pad=False)
    x[coarse] = F.interpolate(F.avg_pool2d(x[coarse], 2), scale_factor=2, mode="bilinear")
    x[noisy] += torch.randn_like(x[noisy]) * uniform(len(x[noisy]), 0, 0.08)
    return x


def normalised(x: torch.Tensor) -> torch.Tensor:
    """Make of 0-1 what a backbone gets."""
    return (x - torch.tensor(DATA["mean"]).view(3, 1, 1)) / torch.tensor(DATA["std"]).view(3, 1, 1)


def soft_targets(targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """(N, classes) probabilities: nearly one for the class of a known picture, all alike for an unknown one."""
    known = (targets >= 0)[:, None]
    flat = torch.full((len(targets), len(KNOWN)), 1 / len(KNOWN))
    return torch.where(known, F.one_hot(targets.clamp(min=0), len(KNOWN)) * (1 - smoothing) + smoothing * flat, flat)


def train(name: str, folder: Path) -> float:
    """Train one backbone on what `draw_training_set` wrote, save it, and return the minutes of a core."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    started, recipe = time.process_time(), RECIPES[name]
    pictures = np.load(folder / "pictures.npy", mmap_mode="r")
    targets = torch.from_numpy(np.load(folder / "targets.npy"))
    network = timm.create_model(recipe.architecture, num_classes=len(KNOWN), **recipe.arguments)
    # what multiplies is held small; offsets and scales are free
    groups = [[p for p in network.parameters() if (p.ndim > 1) == many] for many in (True, False)]
    optimizer = torch.optim.AdamW([{"params": groups[0], "weight_decay": recipe.decay}, {"params": groups[1]}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, recipe.steps, pct_start=0.15)
    order = torch.cat([torch.randperm(len(targets)) for _ in range(recipe.steps * recipe.batch // len(targets) + 1)])
    network.train()
    mean_loss = 0.0
    for step, chosen_now in enumerate(order.split(recipe.batch)[: recipe.steps], start=1):
        raw = torch.from_numpy(pictures[chosen_now.numpy()]).permute(0, 3, 1, 2).float() / 255
        logits = network(normalised(spoil(recolour(move(raw, SMALL if step <= recipe.small * recipe.steps else SIDE)))))
        loss = F.cross_entropy(logits, soft_targets(targets[chosen_now], recipe.smoothing))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean_loss += (loss.item() - mean_loss) / min(step, 50)
        if step % 250 == 0:
            seconds = time.process_time() - started
            print(f"{name}: step {step}/{recipe.steps}, loss {mean_loss:.3f}, {seconds:.0f} s", flush=True)
    save(network, HERE / name)
    return (time.process_time() - started) / 60


def save(network: nn.Module, folder: Path) -> None:
    """Save a backbone in timm's hub format."""
    config = {
        "label_names": LABELS,
        # the architecture's own tag names other weights, trained on ImageNet
        "pretrained_cfg": {"tag": "drawings", "license": "apache-2.0", "description": TOLD},
    }
    save_for_hf(network.eval(), str(folder), config, safe_serialization=True, data_config=DATA)
    (folder / "model.safetensors").chmod(0o644)  # safetensors lets nobody else read what it writes


# what is written about them

CARD = """---
license: apache-2.0
library_name: timm
pipeline_tag: image-classification
tags: [timm, image-classification]
---

# {name}

timm's `{architecture}`, {about}, {parameters:,} parameters, trained on drawings and on nothing else: no photograph
was seen. It is there to show Lineup's page where there is no network, and to show the format for a backbone of your
own. It is not for use on photographs.

**Classes:** {classes} of ImageNet-1k's: {known}. Their WordNet ids are `label_names` in `config.json`.

**Pictures:** `bundled/draw.py` draws them with Pillow, each from a seed: {drawings} of each class to train on, and for
"none of these" {unknown} others with every class as likely ({unknown_kinds}). Moved, turned, recoloured, blurred and
made noisy at random while training. A picture's shorter side is made {side} pixels, and its middle is what goes in.

**Training:** `python bundled/train.py`: {steps} steps of {batch} pictures, AdamW, one cycle up to {rate}, label
smoothing {smoothing}; {minutes:.0f} minutes of one core.

## Measured

{table}

Unknown kinds never seen in training: {never}. Top probabilities of {chance:.2f} would be no opinion at all.

## Limits

- A style that was not trained on costs accuracy: see the sketches above.
- What it does not know mostly gets a low top probability, not always: the 95th percentiles above tell how high it
  gets. Whatever the picture, one of the {classes} classes is ranked first.
- What it says of photographs was not measured.
"""


def listed(names: Iterable[str]) -> str:
    """Names in words."""
    return ", ".join(name.replace("_", " ") for name in names)


def card(name: str, measured: Measured, minutes: float) -> str:
    """The model card of a saved backbone."""
    recipe = RECIPES[name]
    return CARD.format(
        name=name,
        table=table({name: measured}),
        parameters=sum(p.numel() for p in load(HERE / name)[0].parameters()),
        classes=len(KNOWN),
        known=listed(KNOWN),
        drawings=min(KNOWN.values()),
        unknown=sum(UNKNOWN.values()),
        unknown_kinds=listed(UNKNOWN),
        never=listed(NEVER_SEEN),
        chance=1 / len(KNOWN),
        side=SIDE,
        minutes=minutes,
        **asdict(recipe),
    )


RESULTS = """# The bundled backbones, measured

`python bundled/train.py` drew, trained and measured them in {minutes:.0f} minutes on {cores} cores, and wrote this;
`python bundled/train.py --check` measures again. {versions}.

{table}
"""


def main() -> int:
    """Train and measure, or only measure."""
    parser = argparse.ArgumentParser(description="Train and measure the bundled backbones.")
    parser.add_argument("--check", action="store_true", help="measure what is saved; write nothing")
    parser.add_argument("--drawings", type=Path, metavar="DIR", help="keep the drawings here, or take them from here")
    arguments = parser.parse_args()
    started, minutes = time.time(), dict.fromkeys(RECIPES, 0.0)
    with ProcessPoolExecutor(2) as pool, tempfile.TemporaryDirectory(prefix="drawings-") as passing:
        folder = arguments.drawings or Path(passing)
        if not arguments.check:
            if not (folder / "targets.npy").exists():
                draw_training_set(folder, pool)
                print(f"drawn: {time.time() - started:.0f} s", flush=True)
            minutes = dict(zip(RECIPES, pool.map(train, RECIPES, repeat(folder)), strict=True))
        measured = measure(tuple(RECIPES), pool)
    print(table(measured))
    if not arguments.check:
        told = {"minutes": (time.time() - started) / 60, "cores": os.cpu_count(), "versions": versions()}
        (HERE / "RESULTS.md").write_text(RESULTS.format(table=table(measured), **told))
        for name in RECIPES:
            (HERE / name / "README.md").write_text(card(name, measured[name], minutes[name]))
    faults = [f"{name}: {fault}" for name, of in measured.items() for fault in of.faults]
    print("\n".join(faults), file=sys.stderr, end="\n" * bool(faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
