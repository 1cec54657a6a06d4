"""What the bundled backbones know and what not, and one picture of any of it.

Pictures of what they do not know are trained on with every class as likely, so that they learn to be unsure. Some kinds
are kept from training, to see whether they are unsure of what is new to them, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import draw
import numpy as np
from canvas import ACROSS, DOWN, TAU, Canvas, box, dark, hsv, oval, pale, rounded, smooth, vary
from PIL import Image

Size = tuple[int, int]


def _paint(rng: random.Random) -> tuple[int, ...]:
    return rng.choice([hsv(rng.random(), rng.random(), rng.uniform(0.1, 1)), vary(rng, rng.choice(draw.VIVID))])


def _numbers(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.getrandbits(32))


def _place(c: Canvas, rng: random.Random) -> None:
    """One of the places that the known classes stand in, or a plain one."""
    first, second = _paint(rng), _paint(rng)
    plain = (lambda: c.backdrop(first, dark(first, 0.4)), lambda: c.backdrop(first, second, spots=[first, second]))
    level = rng.uniform(-0.3, 0.8)
    rng.choice([lambda: draw.sky(c, rng), lambda: draw.meadow(c, rng), lambda: draw.table(c, rng, level), *plain])()
    if rng.random() < 0.3:
        draw.lawn(c, rng, level)


def _outline(rng: random.Random) -> np.ndarray:
    """A shape of any form, place, size and turn."""
    blob = [(rng.uniform(0.4, 1) * np.cos(a), rng.uniform(0.4, 1) * np.sin(a)) for a in np.arange(7) * TAU / 7]
    form = rng.choice([box(-1, -1, 1, 1), oval(0, 0, 1), rounded(-1, -1, 1, 1, 0.3), np.array(blob), smooth(blob)])
    turn, (w, h) = rng.uniform(0, TAU), (rng.uniform(0.05, 0.8), rng.uniform(0.05, 0.8))
    way = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    return form * (w, h) @ way + (rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.9))


def place(rng: random.Random, size: Size) -> Image.Image:
    """An empty backdrop."""
    c = Canvas(size, rng, "photo", 1)
    _place(c, rng)
    return c.finish()


def shapes(rng: random.Random, size: Size) -> Image.Image:
    """Shapes that make no sense, in the places and with the light of the known classes."""
    c = Canvas(size, rng, "photo", 2)
    _place(c, rng)
    c.look(tilt=30, shift=0.2, lean=0.1)
    for _ in range(rng.choice([1, 2, 3, 6, 12, 30])):
        points, colour = _outline(rng), _paint(rng)
        soft, hard = pale(colour, rng.uniform(0, 0.5)), dark(colour, rng.uniform(0, 0.6))
        painters: list[Callable[[], None]] = [
            lambda p=points, a=colour: c.fill(p, a),
            lambda p=points, a=colour: c.line(np.concatenate([p, p[:1]]), rng.uniform(0.01, 0.1), a),
            lambda p=points, a=soft, b=hard: c.blend(p, a, b, tile=rng.choice([DOWN, ACROSS])),
            lambda p=points, a=soft, b=colour, d=hard: c.ball(p, a, b, d),
            lambda p=points, a=colour: c.haze(p, a, 0.1),
            lambda p=points, a=soft, b=hard: c.texture(p, a, b, (rng.randint(2, 40), rng.randint(2, 40))),
        ]
        rng.choice(painters)()
    return c.finish()


def blocks(rng: random.Random, size: Size) -> Image.Image:
    """White noise, in grains or patches of one size, sharp or soft."""
    cells = rng.choice([(3, 3), (6, 5), (16, 16), (40, 30), (90, 2), (2, 60), size])
    noise = _numbers(rng).integers(0, 256, (*cells, 3), dtype=np.uint8)
    if rng.random() < 0.4:
        noise[..., 1:] = noise[..., :1]
    return Image.fromarray(noise).resize(size, rng.choice([Image.Resampling.NEAREST, Image.Resampling.BICUBIC]))


def gradient(rng: random.Random, size: Size) -> Image.Image:
    """One colour, or a change from one to another."""
    corners = [_paint(rng)] * 4 if rng.random() < 0.3 else [_paint(rng) for _ in range(4)]
    return Image.fromarray(np.array(corners, dtype=np.uint8).reshape(2, 2, 3)).resize(size, Image.Resampling.BILINEAR)


def stripes(rng: random.Random, size: Size) -> Image.Image:
    """Waves across the picture: straight bands of any direction."""
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    turn, pace = rng.uniform(0, TAU), rng.uniform(2, 40)
    wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * pace + rng.uniform(0, TAU))[..., None]
    wave = np.sign(wave) if rng.random() < 0.5 else wave
    first, second = np.array(_paint(rng)), np.array(_paint(rng))
    return Image.fromarray((first + (second - first) * (wave + 1) / 2).astype(np.uint8))


def checkerboard(rng: random.Random, size: Size) -> Image.Image:
    """Squares of two colours in turn."""
    side = max(2, round(min(size) / rng.uniform(3, 16)))
    y, x = np.mgrid[: size[1], : size[0]] // side
    colours = np.array([_paint(rng), _paint(rng)], dtype=np.uint8)
    return Image.fromarray(colours[(x + y) % 2])


def text_page(rng: random.Random, size: Size) -> Image.Image:
    """A page of words in lines."""
    c = Canvas(size, rng, "photo", 2)
    c.backdrop(vary(rng, (242, 240, 234), 10))
    c.look(tilt=10, shift=0.2)
    height = rng.uniform(0.08, 0.2)
    for y in np.arange(-1.2, 1.2, height * 1.6):
        words = ["".join(rng.choices("aeionstrlhdcmupf", k=rng.randint(1, 9))) for _ in range(6)]
        c.text(rng.uniform(-0.2, 0.2), y, height, " ".join(words), (40, 40, 44))
    return c.finish()


def plasma(rng: random.Random, size: Size) -> Image.Image:
    """Noise of all scales at once, as clouds and rocks have it: the power falls with the frequency."""
    numbers, (w, h) = _numbers(rng), size
    frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]) + 1 / w
    spectrum = np.fft.rfft2(numbers.normal(size=(3, h, w))) / frequency ** rng.uniform(0.8, 2)
    waves = np.fft.irfft2(spectrum, (h, w))
    waves = 128 + 55 * (waves - waves.mean((1, 2), keepdims=True)) / waves.std((1, 2), keepdims=True)
    return Image.fromarray(waves.clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy())


DRAWN = {"place": place, "shapes": shapes, "blocks": blocks, "gradient": gradient, "stripes": stripes}
DRAWN |= {"checkerboard": checkerboard, "text_page": text_page, "plasma": plasma}

NEVER_SEEN = ("envelope", "street_sign", "checkerboard", "text_page", "plasma")
# how many pictures of each are trained on
UNKNOWN = {"jigsaw_puzzle": 500, "parachute": 500}
UNKNOWN |= {"shapes": 1600, "place": 300, "blocks": 300, "gradient": 100, "stripes": 200}
KNOWN = {name: 600 for name in draw.CLASSES if name not in NEVER_SEEN and name not in UNKNOWN}
LABELS = [draw.CLASSES[name][0] for name in KNOWN]  # WordNet ids, in the order of the outputs


def picture(kind: str, seed: str, style: str = "photo", large: bool = False) -> Image.Image:
    """One picture of a kind, upright or across, as large as for training or, `large`, somewhat like a visitor's."""
    rng = random.Random(f"{kind} {seed}")
    side, supersampling = rng.choice([(320, 2), (240, 2)] if large else [(150, 2), (180, 2), (300, 1)])
    long = round(side * rng.choice([1, 1, 4 / 3, 4 / 3, 3 / 2, 16 / 9]))
    size = rng.choice([(long, side), (long, side), (side, long)])
    if kind in draw.CLASSES:
        return draw.draw(kind, rng, size, style, supersampling)
    return DRAWN[kind](rng, size)
