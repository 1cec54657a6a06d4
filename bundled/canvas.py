"""What the pictures of `draw.py` are drawn on: shapes, colours, light and the look of a photograph or of a sketch.

Units: the shorter side of a picture reaches from -1 to 1; x goes right and y down.
"""

from __future__ import annotations

import colorsys
import functools
import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, ...]  # red, green, blue and, where something shows through, alpha; each 0-255
Points = ArrayLike  # (n, 2): x and y of the corners; the shapes below are arrays, plain lists of pairs do as well

STYLES = ("photo", "sketch")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
PAPER, INK = (250, 246, 238), (84, 80, 104)

TAU = 2 * math.pi
BILINEAR = Image.Resampling.BILINEAR
SHADES = np.arange(256)
DOWN = Image.linear_gradient("L").crop((0, 0, 1, 256))
ACROSS = DOWN.transpose(Image.Transpose.TRANSPOSE)
RINGS = Image.radial_gradient("L")
VIGNETTE = RINGS.resize((64, 64)).point([round(255 - v * v / 255) for v in range(256)])
# the half-steps keep every point off the axes: each belongs to one corner
CIRCLE = np.array([(math.cos(a), math.sin(a)) for a in (np.arange(40) + 0.5) * TAU / 40])


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """The opaque colour a fraction `t` of the way from `a` to `b`."""
    return tuple(round(x + (y - x) * t) for x, y in zip(a[:3], b[:3], strict=True))


def dark(colour: Colour, t: float) -> Colour:
    """A colour a fraction `t` of the way to black."""
    return mix(colour, BLACK, t)


def pale(colour: Colour, t: float) -> Colour:
    """A colour a fraction `t` of the way to white."""
    return mix(colour, WHITE, t)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from its hue (round once is 1), saturation and value."""
    return tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def vary(rng: random.Random, colour: Colour, amount: int = 12) -> Colour:
    """A colour near `colour`."""
    return tuple(min(255, max(0, channel + rng.randint(-amount, amount))) for channel in colour)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def oval(x: float, y: float, width: float, height: float | None = None) -> np.ndarray:
    """An ellipse of the given half-axes."""
    return CIRCLE * (width, width if height is None else height) + (x, y)


def arc(x: float, y: float, width: float, height: float, start: float, end: float) -> np.ndarray:
    """The part of an ellipse between two angles, in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 16))
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> np.ndarray:
    """A rectangle with round corners."""
    reach = np.array([right - left, bottom - top]) / 2 - radius
    return np.array([left + right, top + bottom]) / 2 + reach * np.sign(CIRCLE) + CIRCLE * radius


def mirrored(right_half: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """An outline from its right half, listed from top to bottom."""
    return [*right_half, *((-x, y) for x, y in reversed(right_half) if x)]


def smooth(corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """A closed Catmull-Rom curve through `corners`."""
    p = np.array(corners, dtype=float)
    a, b, c, d = (np.roll(p, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    t = np.linspace(0, 1, 8, endpoint=False)[None, :, None]
    curve = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    return (curve / 2).reshape(-1, 2)


@functools.cache
def pillow_font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow brings along, so that none of the system is needed; unpacking it takes a millisecond."""
    return ImageFont.load_default(size_px)


@functools.lru_cache(maxsize=512)
def lettering(string: str, size_px: int, tilt: int = 0) -> Image.Image:
    """A mask of words."""
    font = pillow_font(size_px)
    left, top, right, bottom = font.getbbox(string)
    mask = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2))
    ImageDraw.Draw(mask).text((1 - left, 1 - top), string, 255, font)
    return mask.rotate(-tilt, BILINEAR, expand=True) if tilt else mask


class Canvas:
    """A picture in the making: shapes go through a projection (tilt, zoom, shift, lean) on to a larger image."""

    def __init__(self, size_px: tuple[int, int], rng: random.Random, style: str, supersampling: int) -> None:
        """Start blank; the image is `supersampling` times larger than the picture that `finish` makes of it."""
        self.rng, self.sketch, self.supersampling = rng, style == "sketch", supersampling
        self.bytes = np.random.default_rng(rng.getrandbits(32)).bytes
        self.width, self.height = (side * supersampling for side in size_px)
        self.unit = min(self.width, self.height) / 2  # in the image's pixels
        self.right, self.bottom = self.width / 2 / self.unit, self.height / 2 / self.unit
        self.image = Image.new("RGB", (self.width, self.height), PAPER)
        self.pen = ImageDraw.Draw(self.image, "RGBA")
        self.pixels = np.array([[self.unit, 0, self.width / 2], [0, self.unit, self.height / 2], [0, 0, 1]])
        self.matrix, self.tilt, self.zoom = self.pixels, 0.0, 1.0

    def look(
        self, tilt: float = 6, zoom: tuple[float, float] = (0.85, 1.1), shift: float = 0.1, lean: float = 0.06
    ) -> None:
        """Tilt (degrees), zoom, shift and lean back or aside, at random, whatever is drawn from now on."""
        rng = self.rng
        self.tilt, self.zoom = rng.uniform(-tilt, tilt), rng.uniform(*zoom)
        c, s = self.zoom * math.cos(math.radians(self.tilt)), self.zoom * math.sin(math.radians(self.tilt))
        x, y = rng.uniform(-shift, shift) * self.right, rng.uniform(-shift, shift)
        perspective = [rng.uniform(-lean, lean), rng.uniform(-lean, lean), 1]
        self.matrix = self.pixels @ np.array([[c, -s, x], [s, c, y], perspective])

    def project(self, points: Points) -> np.ndarray:
        """Where points land on the image, in its pixels."""
        at = np.asarray(points, dtype=float) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return at[:, :2] / at[:, 2:]

    def fill(self, points: Points, colour: Colour) -> None:
        """A polygon of one colour."""
        flat = self.project(points).ravel().tolist()
        if not self.sketch:
            self.pen.polygon(flat, colour)
            return
        opacity = colour[3] / 255 if len(colour) > 3 else 1
        self.pen.polygon(flat, mix(PAPER, colour, 0.45 * opacity))
        self.pen.line(flat + flat[:4], INK, max(1, round(self.unit / 70)), joint="curve")

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """A line."""
        if self.sketch:
            width, colour = max(width * 0.6, 0.012), mix(INK, colour, 0.2)
        flat = self.project(points).ravel().tolist()
        width_px = max(1, round(width * self.unit * self.zoom))
        self.pen.line(flat, colour, width_px, joint="curve" if width_px > 3 else None)  # a joint costs a disc

    def blend(self, points: Points, *colours: Colour, tile: Image.Image = DOWN) -> None:
        """A polygon whose colour changes evenly, through `colours`, from its top to its bottom (or `ACROSS`)."""
        self._paint(points, colours, tile, (0, 0, *tile.size))

    def ball(self, points: Points, *colours: Colour, light: tuple[float, float] = (-0.3, -0.4)) -> None:
        """A polygon lit like a ball: `colours` spread from the highlight, off centre by `light`, to the rim."""
        x, y = 128 - 45 * light[0], 128 - 45 * light[1]
        self._paint(points, colours, RINGS, (x - 80, y - 80, x + 80, y + 80))

    def texture(self, points: Points, a: Colour, b: Colour, cells: tuple[int, int]) -> None:
        """A polygon in a random mixture of two colours: `cells` blotches across and down, and finer ones."""
        coarse, fine = (
            Image.frombytes("L", (x, y), self.bytes(x * y)).resize((192, 128), Image.Resampling.BICUBIC)
            for x, y in (cells, (cells[0] * 3, cells[1] * 3))
        )
        self._paint(points, (a, b), Image.blend(coarse, fine, 0.4), (0, 0, 192, 128))

    def _paint(self, points: Points, colours: Sequence[Colour], tile: Image.Image, area: Sequence[float]) -> None:
        """Fill a polygon with an area of a grey tile, stretched over it, black to white becoming `colours`."""
        if self.sketch:
            self.fill(points, colours[len(colours) // 2])
            return
        at = self.project(points)
        (left, top), (right, bottom) = at.min(axis=0).tolist(), at.max(axis=0).tolist()
        x0, x1 = max(0, int(left)), min(self.width, int(right) + 1)
        y0, y1 = max(0, int(top)), min(self.height, int(bottom) + 1)
        if x0 >= x1 or y0 >= y1:
            return
        # only what is in the picture is made, for a shape may reach far out of it
        u, v = (area[2] - area[0]) / (right - left + 1), (area[3] - area[1]) / (bottom - top + 1)
        start_u, start_v = area[0] + u * max(0, x0 - left), area[1] + v * max(0, y0 - top)
        seen = (start_u, start_v, min(area[2], area[0] + u * (x1 - left)), min(area[3], area[1] + v * (y1 - top)))
        piece = tile.resize((x1 - x0, y1 - y0), BILINEAR, box=seen)
        stops = np.linspace(0, 255, len(colours))
        palette = [np.interp(SHADES, stops, channel) for channel in zip(*(c[:3] for c in colours), strict=True)]
        piece.putpalette(np.stack(palette, axis=1).astype(np.uint8).tobytes())
        mask = Image.new("L", piece.size)
        ImageDraw.Draw(mask).polygon((at - (x0, y0)).ravel().tolist(), 255)
        self.image.paste(piece.convert("RGB"), (x0, y0), mask)

    def haze(self, points: Points, colour: Colour, blur: float, strength: float = 1.0) -> None:
        """A polygon with soft edges: a shadow, a glow, a cloud. Its mask is made small, where a blur costs little."""
        if self.sketch:
            return
        k = max(1, round(self.unit / 64))
        radius = blur * self.unit * self.zoom / k
        at = self.project(points) / k
        left, top = np.maximum(at.min(axis=0) - 2.5 * radius, 0).astype(int).tolist()
        end = np.minimum(at.max(axis=0) + 2.5 * radius, (self.width / k, self.height / k))
        right, bottom = (end + 1).astype(int).tolist()
        if left >= right or top >= bottom:
            return
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon((at - (left, top)).ravel().tolist(), round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(radius))
        mask = mask.resize((mask.width * k, mask.height * k), BILINEAR)
        self.image.paste(colour, (left * k, top * k), mask)

    def text(self, x: float, y: float, height: float, string: str, colour: Colour) -> None:
        """Words centred on a point, tilted as the rest is; left out where they would be too small to read."""
        size_px = 2 * round(height * self.unit * self.zoom * 0.65)  # even, for fewer fonts to be made
        if size_px > 8:
            mask = lettering(string, size_px, round(self.tilt))
            left, top = (self.project([(x, y)])[0] - (mask.width / 2, mask.height / 2)).round().astype(int).tolist()
            self.image.paste(INK if self.sketch else colour, (left, top), mask)

    def backdrop(self, *colours: Colour, spots: Sequence[Colour] = (), big: float = 0.3) -> None:
        """Fill the picture, from top to bottom, with `colours` and out-of-focus `spots`."""
        if self.sketch:
            self.image.paste(mix(PAPER, colours[0], 0.12), (0, 0, self.width, self.height))
            return
        self.blend(box(-self.right, -self.bottom, self.right, self.bottom), *colours)
        if not spots:
            return
        small = Canvas((round(48 * self.right), round(48 * self.bottom)), self.rng, "photo", 1)
        small.image.paste(self.image.resize(small.image.size, Image.Resampling.NEAREST))
        for _ in range(14):
            x, y = self.rng.uniform(-self.right, self.right), self.rng.uniform(-self.bottom, self.bottom)
            colour = vary(self.rng, self.rng.choice(spots), 18)
            small.fill(oval(x, y, self.rng.uniform(0.3, 1) * big)[::3], (*colour, self.rng.randint(60, 200)))
        soft = small.image.filter(ImageFilter.GaussianBlur(big * 0.3 * small.unit))
        self.image.paste(soft.resize(self.image.size, BILINEAR))

    def finish(self) -> Image.Image:
        """The picture at its own size, with the light, the vignette, the focus and the noise of a photograph."""
        picture = self.image.reduce(self.supersampling) if self.supersampling > 1 else self.image
        if self.sketch:
            return picture
        rng = self.rng
        if rng.random() < 0.5:
            picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.005) * min(picture.size)))
        warmth, dim, grain = rng.uniform(-8, 8), rng.uniform(0.05, 0.3), rng.uniform(0, 0.07)
        light = Image.new("RGB", (2, 2))
        values = [rng.uniform(220, 255) for _ in range(4)]
        light.putdata([(round(value + warmth), round(value), round(value - warmth)) for value in values])
        shade = Image.blend(Image.new("L", VIGNETTE.size, 255), VIGNETTE, dim)
        light = ImageChops.multiply(light.resize(shade.size, BILINEAR), Image.merge("RGB", [shade] * 3))
        picture = ImageChops.multiply(picture, light.resize(picture.size, BILINEAR))
        noise = Image.frombytes("L", picture.size, self.bytes(picture.width * picture.height))
        noise = Image.blend(Image.new("L", picture.size, 128), noise, grain)
        return ImageChops.add(picture, Image.merge("RGB", [noise] * 3), offset=-128)
