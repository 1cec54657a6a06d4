"""Draws pictures of a few ImageNet-1k classes with Pillow alone: what the bundled backbones are trained on.

    python bundled/draw.py --examples examples    the pictures that the page offers
    python bundled/draw.py --sheet sheet.jpg      a contact sheet of every class

`draw("balloon", random.Random(0), 128)` gives one picture. All that varies (geometry, colours, backdrop, light, tilt,
crop, focus, noise) comes from the one `random.Random`: a seed is a picture. The class functions only say what stands
where and `Canvas` decides how that looks, so `style="sketch"` (flat pastels with ink outlines, a look that no backbone
is trained on, for measuring robustness) needs no drawings of its own.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from canvas import (
    ACROSS,
    BLACK,
    CIRCLE,
    INK,
    STYLES,
    TAU,
    WHITE,
    Canvas,
    arc,
    box,
    dark,
    hsv,
    lettering,
    mirrored,
    mix,
    oval,
    pale,
    rounded,
    smooth,
    vary,
)
from PIL import Image

# paints that go well together
VIVID = [
    (226, 58, 56),
    (244, 146, 32),
    (250, 208, 62),
    (70, 170, 88),
    (36, 166, 172),
    (44, 104, 196),
    (122, 78, 176),
    (232, 92, 142),
]


def sky(c: Canvas, rng: random.Random) -> None:
    """A sky by day or in the evening, with or without clouds."""
    day = [((52, 110, 190), (168, 205, 238)), ((80, 150, 220), (214, 232, 245)), ((110, 130, 160), (205, 212, 220))]
    evening = [((48, 50, 110), (238, 150, 110)), ((96, 110, 170), (250, 206, 160))]
    high, low = rng.choice(day * 2 + evening)
    c.backdrop(vary(rng, high), vary(rng, low))
    for _ in range(rng.randint(0, 3)):
        lumps = [CIRCLE[k] * rng.uniform(0.55, 1) * (1, 1 if k < 20 else 1.8) for k in range(0, 40, 4)]
        at = (rng.uniform(-c.right, c.right), rng.uniform(-0.9, 0.7))
        cloud = smooth(lumps) * (rng.uniform(0.3, 0.7), rng.uniform(0.06, 0.14)) + at
        c.haze(cloud, WHITE, rng.uniform(0.02, 0.06), rng.uniform(0.4, 0.85))


def meadow(c: Canvas, rng: random.Random) -> None:
    """Green, out of focus."""
    green = hsv(rng.uniform(0.2, 0.36), rng.uniform(0.35, 0.7), rng.uniform(0.35, 0.7))
    spots = [green, dark(green, 0.5), mix(green, (240, 240, 150), 0.5)]
    c.backdrop(pale(green, 0.2), dark(green, 0.3), spots=spots)


def lawn(c: Canvas, rng: random.Random, level: float) -> None:
    """Grass from `level` down."""
    green = hsv(rng.uniform(0.22, 0.33), rng.uniform(0.5, 0.75), rng.uniform(0.45, 0.65))
    area = box(-c.right, level, c.right, c.bottom)
    c.texture(area, dark(green, 0.5), mix(green, (220, 230, 120), 0.35), (64, 20))
    c.haze(box(-c.right, level - 0.02, c.right, level + 0.03), green, 0.03, 0.7)


def table(c: Canvas, rng: random.Random, level: float) -> None:
    """A wooden table from `level` down, in front of a blurred room."""
    wall = hsv(rng.random(), rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.95))
    c.backdrop(wall, dark(wall, 0.3), spots=[dark(wall, 0.4), pale(wall, 0.5), wall])
    wood = vary(rng, rng.choice([(150, 98, 58), (196, 150, 100), (92, 60, 42), (214, 188, 152)]))
    c.texture(box(-c.right, level, c.right, c.bottom), dark(wood, 0.35), pale(wood, 0.15), (2, 26))


def traffic_light(c: Canvas, rng: random.Random) -> None:
    if rng.random() < 0.2:
        night = vary(rng, (36, 44, 76))
        c.backdrop(night, dark(night, 0.3), spots=[(220, 160, 80), night, (60, 80, 140), night], big=0.18)
    else:
        sky(c, rng)
        for x in np.arange(-1.4, 1.5, 0.3) if rng.random() < 0.4 else ():
            c.haze(oval(x, rng.uniform(0.7, 1.2), 0.3), vary(rng, (60, 90, 50)), 0.05)
    c.look(zoom=(0.8, 1.15), shift=0.2)
    body = vary(rng, rng.choice([(34, 38, 38), (34, 38, 38), (30, 52, 44), (196, 156, 34)]), 8)
    c.blend(box(-0.05, 0.7, 0.05, 3), pale(body, 0.3), dark(body, 0.4), tile=ACROSS)
    if body[0] < 100 and rng.random() < 0.6:
        c.fill(rounded(-0.42, -0.92, 0.42, 0.92, 0.1), pale(body, rng.choice([0.05, 0.05, 0.75])))
        c.fill(rounded(-0.4, -0.9, 0.4, 0.9, 0.08), dark(body, 0.3))
    c.blend(rounded(-0.3, -0.8, 0.3, 0.8, 0.08), pale(body, 0.22), body, dark(body, 0.4), tile=ACROSS)
    lit = rng.choice((-0.5, 0, 0.5))
    for y, colour in ((-0.5, (255, 46, 34)), (0, (255, 176, 24)), (0.5, (40, 232, 130))):
        c.fill(oval(0, y - 0.03, 0.235), dark(body, 0.6))
        if y == lit:
            c.haze(oval(0, y, 0.27), colour, 0.08, 0.7)
            c.ball(oval(0, y, 0.2), pale(colour, 0.75), pale(colour, 0.1), colour, light=(0, 0))
        else:
            off = dark(colour, 0.72)
            c.ball(oval(0, y, 0.2), pale(off, 0.2), off, dark(off, 0.5))
        hood = [arc(0, y - 0.02, 0.25, 0.25, 180, 360), arc(0, y + 0.04, 0.23, 0.17, 360, 180)]
        c.fill(np.concatenate(hood), dark(body, 0.45))


def crossword_puzzle(c: Canvas, rng: random.Random) -> None:
    paper, pencil = vary(rng, (240, 236, 226), 10), rng.choice([(40, 50, 110), (60, 60, 64), (30, 30, 30)])
    c.look(tilt=14, zoom=(0.9, 1.5), shift=0.25, lean=0.14)
    c.fill(box(-2.4, -2.4, 2.4, 2.4), paper)
    n, written = rng.choice([9, 11, 13]), rng.choice([0, 1, 2])
    cell = 1.7 / n
    for side in (-1, 1):
        for y in np.arange(-0.9, 1, 0.06):
            c.line([(side, y), (side * rng.uniform(1.25, 1.5), y)], 0.016, (110, 108, 104))
    for i in range(n + 1):
        at = -0.85 + i * cell
        c.line([(-0.85, at), (0.85, at)], 0.016 if i % n else 0.03, (40, 40, 44))
        c.line([(at, -0.85), (at, 0.85)], 0.016 if i % n else 0.03, (40, 40, 44))
    half = {(rng.randrange(n), rng.randrange(n)) for _ in range(n * n // 7)}
    black = half | {(n - 1 - i, n - 1 - j) for i, j in half}
    number = 0
    for i in range(n):
        for j in range(n):
            x, y = -0.85 + j * cell, -0.85 + i * cell
            if (i, j) in black:
                c.fill(box(x, y, x + cell, y + cell), (30, 30, 34))
                continue
            if not i or not j or (i - 1, j) in black or (i, j - 1) in black:
                number += 1
                c.text(x + cell * 0.25, y + cell * 0.25, cell * 0.22, str(number), (60, 60, 60))
            if i % 4 < written:
                c.text(x + cell * 0.52, y + cell * 0.58, cell * 0.5, rng.choice("AEIOSTRNLDCMPU"), pencil)


# for each digit, its lit bars; for each bar, where it starts and whether it goes down (else right)
DIGITS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
BARS = {"a": (0, 0, 0), "b": (1, 0, 1), "c": (1, 1, 1), "d": (0, 2, 0), "e": (0, 1, 1), "f": (0, 0, 1), "g": (0, 1, 0)}
BAR = np.array([(0.05, 0), (0.17, 0.12), (0.83, 0.12), (0.95, 0), (0.83, -0.12), (0.17, -0.12)]) * 0.26


def digital_clock(c: Canvas, rng: random.Random) -> None:
    table(c, rng, rng.uniform(0.3, 0.6))
    c.look(tilt=5, zoom=(0.75, 1.05))
    case = vary(rng, rng.choice([(30, 30, 34), (46, 46, 50), (206, 206, 204), (90, 60, 46)]), 8)
    glow = rng.choice([(255, 40, 30), (255, 40, 30), (70, 255, 120), (70, 170, 255), (255, 150, 40)])
    c.haze(box(-1.0, 0.35, 1.0, 0.6), BLACK, 0.06, 0.6)
    c.blend(rounded(-1.0, -0.52, 1.0, 0.52, 0.1), pale(case, 0.25), case, dark(case, 0.45))
    c.blend(rounded(-0.9, -0.4, 0.9, 0.4, 0.04), (8, 8, 10), (26, 24, 26))
    for left, digit in zip((-0.78, -0.4, 0.12, 0.5), f"{rng.randint(1, 12):2}{rng.randrange(60):02}", strict=True):
        for bar, (x, y, down) in BARS.items():
            on = digit != " " and bar in DIGITS[int(digit)]
            at = (left + 0.26 * x + 0.02 * (1 - y), 0.26 * (y - 1))
            c.fill((BAR[:, ::-1] if down else BAR) + at, pale(glow, 0.15) if on else dark(glow, 0.9))
    for y in (-0.12, 0.12):
        c.fill(oval(-0.02, y, 0.035), glow)
    c.haze(box(-0.8, -0.3, 0.8, 0.3), glow, 0.12, 0.18)


ROMAN = ("XII", "I", "II", "III", "IIII", "V", "VI", "VII", "VIII", "IX", "X", "XI")


def wall_clock(c: Canvas, rng: random.Random) -> None:
    wall = hsv(rng.random(), rng.uniform(0.05, 0.35), rng.uniform(0.6, 0.95))
    c.backdrop(pale(wall, 0.2), dark(wall, 0.2))
    c.look(tilt=4, zoom=(0.7, 1.0), shift=0.2)
    rim = vary(rng, rng.choice([(30, 30, 34), (120, 76, 44), (190, 190, 194), (170, 40, 36)]), 10)
    face, ink = vary(rng, rng.choice([(246, 244, 236), (250, 250, 250), (236, 222, 190)]), 5), (24, 24, 28)
    c.haze(oval(0.08, 0.12, 0.88), BLACK, 0.07, 0.5)
    c.blend(oval(0, 0, 0.88), pale(rim, 0.4), rim, dark(rim, 0.4))
    c.blend(oval(0, 0, 0.8), dark(rim, 0.5), pale(rim, 0.3))
    c.ball(oval(0, 0, 0.76), face, face, dark(face, 0.12))
    around = [np.array([math.sin(k * TAU / 60), -math.cos(k * TAU / 60)]) for k in range(60)]
    for k, way in enumerate(around):
        c.line([way * (0.7 if k % 5 else 0.66), way * 0.73], 0.01 if k % 5 else 0.03, ink)
    roman = ROMAN if rng.random() < 0.3 else None
    for k, way in enumerate(around[::5]):
        c.text(*way * 0.55, 0.12 if roman else 0.16, roman[k] if roman else str(k or 12), ink)
    minute, second = rng.randrange(60), rng.randrange(60)
    hour = (5 * rng.randrange(12) + minute // 12) % 60
    c.line([around[hour] * -0.1, around[hour] * 0.38], 0.05, ink)
    c.line([around[minute] * -0.1, around[minute] * 0.6], 0.035, ink)
    c.line([around[second] * -0.15, around[second] * 0.62], 0.012, (200, 30, 30))
    c.fill(oval(0, 0, 0.045), ink)


def candle(c: Canvas, rng: random.Random) -> None:
    room = hsv(rng.uniform(0, 0.12), rng.uniform(0.3, 0.8), rng.uniform(0.08, 0.25))
    c.backdrop(room, dark(room, 0.6), spots=[room, mix(room, (255, 170, 70), 0.5)], big=0.2)
    c.look(tilt=2, zoom=(0.8, 1.2), shift=0.2)
    wax = vary(rng, rng.choice([(240, 224, 196), (176, 30, 34), (236, 208, 150), (230, 236, 240)]))
    pair, row = [(-0.45, 0.15, 0.18), (0.4, -0.15, 0.2)], [(-0.6, 0.2, 0.16), (0, -0.1, 0.18), (0.6, 0.1, 0.16)]
    for x, top, w in rng.choice([[(0, 0, 0.2)], [(0, -0.1, 0.3)], pair, row]):
        c.haze(oval(x, top - 0.25, 0.5), (255, 150, 50), 0.25, 0.55)
        body = (mix(wax, (255, 190, 90), 0.6), dark(wax, 0.15), dark(wax, 0.55), dark(wax, 0.7))
        c.blend(box(x - w, top, x + w, 2), *body)
        c.blend(oval(x, top, w, w * 0.25), mix(wax, (255, 214, 120), 0.7), mix(wax, (255, 240, 170), 0.7))
        c.line([(x, top), (x + 0.01, top - 0.12)], 0.02, (40, 24, 16))
        c.haze(oval(x, top - 0.27, 0.13, 0.28), (255, 170, 60), 0.06, 0.8)
        flame = smooth(mirrored([(0, -0.55), (0.045, -0.35), (0.085, -0.2), (0.05, -0.09)]))
        c.blend(np.add(flame, (x, top)), (255, 176, 70), (255, 236, 150), (255, 252, 230), (255, 214, 120))


def street_sign(c: Canvas, rng: random.Random) -> None:
    rng.choice([sky, meadow])(c, rng)
    c.look(tilt=8, zoom=(0.75, 1.1), shift=0.15)
    c.blend(box(-0.05, -0.55, 0.05, 3), (200, 204, 206), (110, 114, 118), tile=ACROSS)
    board = vary(rng, rng.choice([(0, 104, 66), (0, 104, 66), (20, 64, 140), (240, 240, 240)]), 8)
    letters = WHITE if board[0] < 100 else (30, 30, 34)
    names = rng.sample(("MAPLE", "OAK", "PARK", "RIVER", "MAIN", "ELM", "LAKE", "HILL", "2nd", "5th"), 2)
    for name, y in zip(names, (-0.42, 0.1) if rng.random() < 0.6 else (-0.3,), strict=False):
        skew = rng.uniform(-0.15, 0.15)
        plate = box(-1, -1, 1, 1) * (0.98, 0.2) + [(0, y + skew), (0, y - skew), (0, y - skew), (0, y + skew)]
        c.haze(plate + 0.03, BLACK, 0.03, 0.4)
        c.fill(plate, pale(board, 0.85))
        c.blend((plate - (0, y)) * (0.975, 0.88) + (0, y), pale(board, 0.1), dark(board, 0.1))
        c.text(0, y, 0.22, f"{name} {rng.choice(('ST', 'AVE', 'RD', 'DR'))}", letters)


def balloon(c: Canvas, rng: random.Random) -> None:
    sky(c, rng)
    for x in np.arange(-2, 2.1, 0.4) if rng.random() < 0.6 else ():
        c.haze(oval(x, 1.15, 0.5, rng.uniform(0.1, 0.4)), vary(rng, (60, 84, 70)), 0.02)
    c.look(tilt=5, zoom=(0.65, 1.0), shift=0.2)
    colours = [vary(rng, colour) for colour in rng.sample(VIVID, rng.randint(2, 4))]
    colours += [(250, 244, 226)] * rng.randint(0, 1)
    down = np.linspace(0, 1, 20) ** 1.5
    half_width = 0.74 * np.sin(0.86 * np.pi * down) ** 0.6 * (1 - 0.2 * down)
    seams = [half_width * math.sin(k * math.pi / 12) for k in range(-6, 7)]
    for k, (a, b) in enumerate(itertools.pairwise(seams)):
        gore = np.stack([np.concatenate([a, b[::-1]]), np.concatenate([down, down[::-1]]) * 1.4 - 0.92], axis=1)
        colour = dark(pale(colours[k % len(colours)], max(0, 0.3 - 0.1 * abs(k - 3))), max(0, k - 6) * 0.08)
        c.blend(gore, pale(colour, 0.15), colour, dark(colour, 0.3))
    mouth = half_width[-1]
    c.blend(oval(0, 0.48, mouth, mouth * 0.16), (60, 44, 44), (120, 84, 64))
    for x in (-mouth, -mouth * 0.4, mouth * 0.4, mouth):
        c.line([(x, 0.49), (x * 0.1 / mouth, 0.68)], 0.01, (60, 50, 44))
    c.blend(rounded(-0.12, 0.68, 0.12, 0.86, 0.02), (160, 112, 66), (96, 62, 36))


PHI = (1 + 5**0.5) / 2
ICOSAHEDRON = np.array([p for a in (-1, 1) for b in (-PHI, PHI) for p in ((0, a, b), (a, b, 0), (b, 0, a))])


def soccer_ball(c: Canvas, rng: random.Random) -> None:
    meadow(c, rng)
    lawn(c, rng, rng.uniform(-0.3, 0.4))
    c.look(tilt=0, zoom=(0.6, 0.95), shift=0.15, lean=0)
    c.haze(oval(0.1, 0.75, 0.8, 0.2), BLACK, 0.08, 0.6)
    c.ball(oval(0, 0, 0.85), WHITE, (240, 240, 238), (150, 152, 156))
    spin = np.linalg.qr([[rng.gauss(0, 1) for _ in range(3)] for _ in range(3)])[0]
    corners = ICOSAHEDRON @ spin / math.hypot(1, PHI)
    # cut at thirds of its edges, the icosahedron has a black pentagon at each corner and seams between them
    for corner in corners[corners[:, 2] > -0.3]:
        near = corners[abs(corners @ corner - 0.447) < 0.01]
        u = near[0] - corner * 0.447
        order = np.argsort(np.arctan2(near @ np.cross(corner, u), near @ u))
        for other in near:
            seam = (2 * np.array([corner, other]) + [other, corner]) / 2.605
            if (seam[:, 2] > 0).all():
                c.line(seam[:, :2] * 0.85, 0.015, (60, 60, 64))
        pentagon = (2 * corner + near[order]) / np.linalg.norm(2 * corner + near[order], axis=1, keepdims=True)
        if (pentagon[:, 2] > -0.05).any():
            rim = np.linalg.norm(pentagon[:, :2], axis=1, keepdims=True)  # what lies behind is drawn on the rim
            c.fill(pentagon[:, :2] / np.where(pentagon[:, 2:] < 0, rim, 1) * 0.85, (26, 26, 30))
    c.haze(oval(0.25, 0.35, 0.5), BLACK, 0.2, 0.3)
    c.haze(oval(-0.3, -0.35, 0.2), WHITE, 0.15, 0.35)


def daisy(c: Canvas, rng: random.Random) -> None:
    meadow(c, rng)
    c.look(tilt=30, zoom=(0.7, 1.1), shift=0.15, lean=0.15)
    petal = smooth([(0.15, 0), (0.5, 0.09), (0.85, 0.1), (1, 0), (0.85, -0.1), (0.5, -0.09)])[::2]
    for x, y, s in rng.choice([[(0, 0, 0.95)], [(0, 0, 0.9)], [(-0.45, 0.3, 0.5), (0.4, -0.25, 0.6)]]):
        c.line(arc(x - 0.6, y, 0.6, 3, 0, 60), 0.05 * s, (96, 146, 58))
        n = rng.randint(16, 22)
        for k in range(2 * n):  # the second time round in between, and nearer
            turn, length = (k + k // n * 0.5 + rng.uniform(-0.2, 0.2)) * TAU / n, s * rng.uniform(0.85, 1)
            way = np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
            shade = mix(WHITE, (150, 160, 190), rng.uniform(0, 0.35) + 0.15 * (k < n))
            c.fill(petal @ way * (length, length) + (x, y), shade)
            c.line([(x, y) + way[0] * length * 0.25, (x, y) + way[0] * length * 0.85], 0.008, (190, 196, 214))
        c.haze(oval(x, y, 0.3 * s), (120, 100, 60), 0.04, 0.6)
        c.ball(oval(x, y, 0.26 * s), (255, 226, 80), (250, 196, 20), (200, 130, 10))
        for k in range(60):  # florets stand at the golden angle to one another
            r, a = math.sqrt(k / 60) * 0.24 * s, k * 2.39996
            c.fill(oval(x + r * math.cos(a), y + r * math.sin(a), 0.014 * s)[::5], vary(rng, (214, 140, 10), 30))


def honeycomb(c: Canvas, rng: random.Random) -> None:
    wax = vary(rng, rng.choice([(206, 140, 40), (226, 176, 84), (180, 114, 36)]))
    c.look(tilt=30, zoom=(0.9, 1.4), shift=0.1, lean=0.15)
    c.fill(box(-3, -3, 3, 3), pale(wax, 0.25))
    r = rng.uniform(0.13, 0.2)
    hexagon = np.array([(math.sin(k * TAU / 6), math.cos(k * TAU / 6)) for k in range(6)]) * r
    for row in range(round(-0.9 / r), round(0.9 / r) + 1):
        for column in range(round(-0.8 * c.right / r), round(0.8 * c.right / r) + 1):
            x, y = (column + 0.5 * (row % 2)) * r * 1.732, row * r * 1.5
            honey = mix(wax, rng.choice([(90, 40, 4), (120, 56, 6), (250, 180, 50)]), rng.uniform(0.4, 0.9))
            c.fill(hexagon * 0.9 + (x, y), dark(wax, 0.35))
            c.fill(hexagon * 0.8 + (x, y + r * 0.06), honey)
            c.fill(hexagon * 0.5 + (x + r * 0.1, y + r * 0.22), mix(honey, (255, 200, 90), 0.3))
            if rng.random() < 0.5:
                c.fill(oval(x - r * 0.3, y - r * 0.3, r * 0.13)[::4], (255, 244, 210, 190))


def spider_web(c: Canvas, rng: random.Random) -> None:
    meadow(c, rng)
    c.haze(box(-3, -3, 3, 3), (10, 14, 12), 0.01, rng.uniform(0.2, 0.7))
    c.look(tilt=180, zoom=(0.9, 1.5), shift=0.3, lean=0.2)
    n, silk = rng.randint(16, 26), (226, 232, 236, 210)
    angles = [(k + rng.uniform(-0.25, 0.25)) * TAU / n for k in range(n)]
    spokes = np.array([(math.cos(a), math.sin(a)) for a in angles])
    for spoke in spokes:
        c.line([(0, 0), spoke * 2.4], 0.008, silk)
    ring = np.stack([spokes, (spokes + np.roll(spokes, -1, axis=0)) * 0.48], axis=1).reshape(-1, 2)
    ring, radius = np.concatenate([ring, ring[:1]]), 0.06
    while radius < 1.4:
        c.line(ring * radius * [(rng.uniform(0.98, 1.02),) for _ in ring], 0.006, silk)
        radius += 0.035 * math.sqrt(radius)
    if rng.random() < 0.4:
        for k in range(8):
            knee, foot = (np.array([math.cos(a), math.sin(a)]) for a in (k * TAU / 8 + 0.3, k * TAU / 8 + 0.6))
            c.line([(0, 0), knee * 0.1, foot * 0.18], 0.015, (50, 36, 24))
        c.ball(oval(0, 0.03, 0.06, 0.09), (170, 120, 70), (80, 50, 30))


def jack_o_lantern(c: Canvas, rng: random.Random) -> None:
    night, fire = hsv(rng.choice([0.62, 0.72, 0.05]), 0.5, rng.uniform(0.06, 0.18)), (255, 130, 30)
    c.backdrop(night, dark(night, 0.5), spots=[night, mix(night, fire, 0.3)])
    c.look(tilt=8, zoom=(0.75, 1.05), shift=0.12)
    skin = dark(vary(rng, (230, 108, 20)), rng.uniform(0, 0.4))
    c.haze(oval(0, 0.75, 1.0, 0.2), fire, 0.1, 0.3)
    c.blend([(-0.09, -0.5), (-0.06, -0.85), (0.08, -0.9), (0.1, -0.5)], (120, 130, 66), (60, 60, 30))
    for x in (-0.6, 0.6, -0.36, 0.36, 0):
        rib = oval(x, 0.1, 0.36 if x else 0.3, 0.72 - abs(x) * 0.15)
        c.ball(rib, mix(skin, (255, 190, 90), 0.5), skin, skin, dark(skin, 0.65), light=(0, -0.5))
    c.haze(oval(0, 0.1, 0.7, 0.5), fire, 0.2, 0.3)
    sharp, sly = [(-0.2, 0.14), (0.02, -0.2), (0.2, 0.14)], [(-0.2, -0.14), (0.2, 0.06), (0.1, 0.16), (-0.12, 0.12)]
    eye, out = rng.choice([sharp, sly]), rng.uniform(0.28, 0.36)
    lips = [(0, 0.4), (0.3, 0.36), (0.6, 0.22), (0.42, 0.56), (0, 0.7)]
    holes = [np.add(eye, (out, -0.1)) * (side, 1) for side in (-1, 1)] + [smooth(mirrored(lips))]
    for hole in [*holes, np.array([(-0.08, 0.2), (0, 0.06), (0.08, 0.2)])]:
        c.haze(hole, (255, 170, 40), 0.06, 0.9)
        c.fill(hole - (0, 0.02), (255, 190, 90))
        c.blend(hole, (255, 250, 190), (255, 216, 80), (255, 150, 20))
    for x, y in ((-0.3, 0.3), (0.25, 0.32), (0, 0.56)):
        c.blend(box(x - 0.08, y, x + 0.08, y + 0.17), mix(skin, (255, 150, 30), 0.55), mix(skin, (255, 150, 30), 0.3))


def hourglass(c: Canvas, rng: random.Random) -> None:
    table(c, rng, rng.uniform(0.4, 0.7))
    c.look(tilt=4, zoom=(0.75, 1.0), shift=0.15, lean=0.03)
    wood = vary(rng, rng.choice([(110, 60, 30), (60, 36, 24), (170, 116, 64), (190, 160, 90)]))
    sand = vary(rng, rng.choice([(230, 200, 150), (236, 224, 206), (210, 150, 100)]))
    c.haze(oval(0.1, 0.95, 0.6, 0.1), BLACK, 0.05, 0.6)
    for x in (-0.5, 0.5):
        c.line([(x, -0.85), (x, 0.85)], 0.06, dark(wood, 0.3))
    bulb = [(0.42, -0.8), (0.46, -0.5), (0.3, -0.2), (0.04, 0)]
    glass = smooth(mirrored([*bulb, *((x, -y) for x, y in bulb[-2::-1])]))
    c.fill(glass, (225, 236, 240, 110))
    top, peak = rng.uniform(-0.6, -0.25), rng.uniform(0.2, 0.5)
    width = float(np.interp(top, [-0.5, -0.2], [0.44, 0.28]))
    c.blend(smooth(mirrored([(0, top + 0.06), (width, top), (0.27, -0.2), (0.03, -0.01)])), sand, dark(sand, 0.25))
    c.line([(0, 0), (0, 0.6)], 0.015, sand)
    c.blend(smooth(mirrored([(0, peak), (0.25, 0.6), (0.4, 0.8)])), pale(sand, 0.2), dark(sand, 0.3))
    c.line(np.concatenate([glass, glass[:1]]), 0.014, (240, 248, 250, 170))
    for y in (-0.88, 0.88):
        c.haze(oval(-0.28, y * 0.57, 0.04, 0.2), WHITE, 0.02, 0.8)
        c.blend(rounded(-0.62, y - 0.09, 0.62, y + 0.09, 0.05), pale(wood, 0.3), wood, dark(wood, 0.5))


def beacon(c: Canvas, rng: random.Random) -> None:
    sky(c, rng)
    sea, iron = vary(rng, (50, 96, 130)), (40, 40, 44)
    c.texture(box(-c.right, rng.uniform(0.5, 0.75), c.right, c.bottom), dark(sea, 0.2), pale(sea, 0.3), (4, 24))
    c.look(tilt=2, zoom=(0.85, 1.1), shift=0.2, lean=0.02)
    rock = smooth([(-0.8, 0.8), (-0.4, 0.66), (0.3, 0.62), (0.7, 0.8), (1.4, 1.5), (-1.4, 1.5)])
    c.texture(rock, (44, 42, 40), (150, 138, 118), (30, 16))
    paint, n = rng.choice([(196, 36, 36), (196, 36, 36), (30, 34, 40), (240, 240, 240)]), rng.choice([5, 7])
    for k in range(n):
        a, b = k / n, (k + 1) / n
        colour = (244, 242, 238) if k % 2 else paint
        ring = mirrored([(0.18 + 0.1 * a, -0.5 + 1.2 * a), (0.18 + 0.1 * b, -0.5 + 1.2 * b)])
        c.blend(ring, pale(colour, 0.3), colour, dark(colour, 0.5), tile=ACROSS)
    for y in (-0.2, 0.2):
        c.fill(box(-0.03, y - 0.05, 0.03, y + 0.05), iron)
    c.fill(box(-0.26, -0.54, 0.26, -0.49), iron)
    c.line([(-0.26, -0.62), (0.26, -0.62)], 0.012, iron)
    c.blend(box(-0.12, -0.76, 0.12, -0.54), (255, 246, 190), (150, 170, 180), tile=ACROSS)
    for x in np.linspace(-1, 1, 9):
        c.line([(x * 0.25, -0.62), (x * 0.25, -0.52)], 0.01, iron)
    for x in (-0.12, -0.04, 0.04, 0.12):
        c.line([(x, -0.76), (x, -0.54)], 0.01, iron)
    c.blend([(-0.16, -0.75), (0, -0.92), (0.16, -0.75)], pale(paint, 0.2), dark(paint, 0.5), tile=ACROSS)
    c.line([(0, -0.9), (0, -1.0)], 0.015, iron)


def parachute(c: Canvas, rng: random.Random) -> None:
    sky(c, rng)
    c.look(tilt=18, zoom=(0.5, 1.0), shift=0.25)
    (first, second), suit = rng.sample([*VIVID, WHITE, WHITE], 2), (44, 48, 62)
    seams = [0.85 * math.sin(k * math.pi / 8) for k in range(-4, 5)]
    for x in seams:
        c.line([(x, -0.15), (0, 0.72)], 0.007, (70, 70, 76))
    for k, (a, b) in enumerate(itertools.pairwise(seams)):
        hem = arc((a + b) / 2, -0.12, (b - a) / 2, 0.04, 180, 360)
        gore = np.concatenate([arc(0, -0.12, a, 0.72, 270, 360), hem, arc(0, -0.12, b, 0.72, 360, 270)])
        shade = dark(second if k % 2 else first, 0.05 * k)
        c.blend(gore, pale(shade, 0.25), shade, dark(shade, 0.25))
    for x in (-1, 1):
        c.line([(0.03 * x, 0.95), (0.06 * x, 1.15)], 0.045, suit)
        c.line([(0.05 * x, 0.8), (0.09 * x, 0.62)], 0.03, suit)
    c.fill(rounded(-0.06, 0.76, 0.06, 0.98, 0.04), suit)
    c.ball(oval(0, 0.73, 0.05), (220, 170, 140), (120, 80, 60))


def theater_curtain(c: Canvas, rng: random.Random) -> None:
    cloth = vary(rng, rng.choice([(170, 18, 28), (170, 18, 28), (140, 12, 24), (100, 24, 88), (34, 46, 124)]))
    lit = mix(cloth, (255, 120, 90), 0.2)
    c.backdrop((120, 76, 40), (130, 84, 44), (60, 36, 20))
    left, floor = -c.right, rng.choice([0.8, 0.9, 1.1])
    while left < c.right:
        right = left + c.right * rng.uniform(0.09, 0.22)
        fold = (dark(cloth, 0.7), cloth, mix(cloth, lit, rng.random()), cloth, dark(cloth, 0.7))
        c.blend(box(left, -1.01, right, floor), *fold, tile=ACROSS)
        left = right
    swags = rng.choice([0, 3, 4, 5, 6])
    for k in range(swags):
        width = c.right / swags
        x = -c.right + width * (2 * k + 1)
        for drop in (0.5, 0.37, 0.24, 0.11):
            swag = np.concatenate([arc(x, -0.85, width, drop, 180, 0), [(x + width, -1.01), (x - width, -1.01)]])
            c.blend(swag, cloth, lit, dark(cloth, 0.6))
        c.line(arc(x, -0.85, width, 0.5, 180, 0), 0.03, (216, 170, 70))
    c.haze(oval(rng.uniform(-0.5, 0.5), 0, 0.7, 0.9), (255, 190, 140), 0.3, 0.15)


def shoji(c: Canvas, rng: random.Random) -> None:
    wood = vary(rng, rng.choice([(70, 44, 28), (120, 80, 50), (180, 140, 96)]), 10)
    paper = vary(rng, (246, 240, 222), 8)
    c.backdrop(paper, mix(paper, (200, 150, 90), 0.3))
    c.look(tilt=2, zoom=(0.8, 1.2), shift=0.3, lean=0.2)
    c.texture(box(-2.2, 0.95, 2.2, 2), (150, 140, 80), (190, 180, 120), (3, 50))
    rows, columns = rng.randint(5, 7), rng.choice([2, 3, 4])
    for left in np.arange(-2.4, 2.4, 0.8):
        c.blend(box(left, -1.1, left + 0.8, 0.95), pale(paper, 0.5), paper, mix(paper, (190, 140, 80), 0.35))
        for x in left + 0.8 * np.arange(columns) / columns:
            c.line([(x, -1.1), (x, 0.7)], 0.02, wood)
        for y in -1.1 + 1.8 * np.arange(rows) / rows:
            c.line([(left, y), (left + 0.8, y)], 0.02, wood)
        c.blend(box(left, 0.65, left + 0.8, 0.95), pale(wood, 0.2), dark(wood, 0.2))
        c.fill(box(left - 0.035, -1.1, left + 0.035, 0.95), wood)
    c.fill(box(-2.4, -2, 2.4, -1.06), dark(wood, 0.3))


def picket_fence(c: Canvas, rng: random.Random) -> None:
    rng.choice([sky, meadow])(c, rng)
    lawn(c, rng, rng.uniform(0.5, 0.8))
    c.look(tilt=3, zoom=(0.8, 1.2), shift=0.1, lean=0.15)
    white = vary(rng, (244, 246, 248), 6)
    w, gap = rng.uniform(0.05, 0.08), rng.uniform(0.05, 0.12)
    for y in (-0.2, 0.4):
        c.blend(box(-2.3, y, 2.3, y + 0.13), dark(white, 0.1), dark(white, 0.3))
    for x in np.arange(-1.6, 1.6, 2 * w + gap) * c.right:
        picket = np.add(mirrored([(0, -0.72), (w, -0.55), (w, 0.85)]), (x, rng.uniform(-0.01, 0.01)))
        c.fill(picket + 0.02, (20, 40, 20, 90))
        c.blend(picket, white, dark(white, 0.12), mix(white, (110, 120, 90), 0.3))
        c.line(picket[1:3], 0.012, dark(white, 0.3))


# half of a piece's side, along and across it: from a corner to the middle of the knob
KNOB = np.array([(0, 0), (0.36, 0), (0.42, 0.06), (0.38, 0.14), (0.42, 0.24), (0.5, 0.27)])
SIDE = np.concatenate([KNOB, (KNOB * (-1, 1) + (1, 0))[-2:0:-1]])


def jigsaw_puzzle(c: Canvas, rng: random.Random) -> None:
    table(c, rng, -1)
    c.look(tilt=25, zoom=(0.9, 1.4), shift=0.15, lean=0.1)
    n, hue = rng.choice([4, 5, 6]), rng.random()
    # 1 or -1: which way the knob of a side points; on the border there is none
    across = np.array([[rng.choice((-1, 1)) if 0 < i < n else 0 for _ in range(n)] for i in range(n + 1)])
    upright = np.array([[rng.choice((-1, 1)) if 0 < j < n else 0 for j in range(n + 1)] for _ in range(n)])
    for i in range(n):
        for j in range(n):
            if rng.random() < 0.08:
                continue
            top, right = SIDE * (1, -across[i, j]), (SIDE * (1, upright[i, j + 1]))[:, ::-1] + (1, 0)
            bottom, left = SIDE * (-1, -across[i + 1, j]) + (1, 1), (SIDE * (-1, upright[i, j]))[:, ::-1] + (0, 1)
            piece = np.add(np.concatenate([top, right, bottom, left]), (j, i)) * 1.9 / n - 0.95
            shade = 0.12 * math.sin(i * 0.9) + 0.1 * math.cos(j * 1.1)
            colour = hsv(hue + shade, 0.55, 0.7 + 0.25 * math.sin(i + j * 0.7))
            c.fill(piece + 0.012, (20, 14, 10, 130))
            c.blend(piece, pale(vary(rng, colour), 0.25), dark(colour, 0.15))
            c.line(np.concatenate([piece, piece[:1]]), 0.008, dark(colour, 0.5))


def pinwheel(c: Canvas, rng: random.Random) -> None:
    rng.choice([sky, sky, meadow])(c, rng)
    c.look(tilt=10, zoom=(0.7, 1.05), shift=0.15)
    c.line([(0, 0), (0.02, 3)], 0.05, (230, 224, 214))
    n, spin = rng.choice([4, 4, 6, 8]), rng.random()
    colours = rng.choice([VIVID, rng.sample(VIVID, 2)])

    def wing(*corners: tuple[float, float]) -> np.ndarray:
        ways = [(r, (spin + k / n + turn / n) * TAU) for r, turn in corners]
        return np.array([(0, -0.15), *((r * math.cos(a), r * math.sin(a) - 0.15) for r, a in ways)])

    for k in range(n):
        colour = colours[k % len(colours)]
        c.blend(wing((0.85, 0), (0.62, 0.62)), dark(colour, 0.35), dark(colour, 0.15))
        c.blend(wing((0.85, 0), (0.5, -0.1), (0.16, -0.5)), pale(colour, 0.35), colour)
        c.blend(wing((0.45, 0.35), (0.85, 0)), pale(colour, 0.2), dark(colour, 0.1))
    c.ball(oval(0, -0.15, 0.07), WHITE, (250, 200, 60), (150, 90, 20))


def envelope(c: Canvas, rng: random.Random) -> None:
    table(c, rng, -1)
    c.look(tilt=15, zoom=(0.75, 1.0), shift=0.12, lean=0.12)
    colours = [(246, 242, 232), (230, 214, 180), (206, 168, 118), (214, 90, 84), (190, 210, 230)]
    paper = vary(rng, rng.choice(colours), 8)
    c.haze(box(-0.93, -0.55, 1.02, 0.75), BLACK, 0.05, 0.6)
    c.blend(rounded(-0.98, -0.66, 0.98, 0.66, 0.02), paper, dark(paper, 0.08))
    for x in (-0.98, 0.98):
        c.blend([(x, -0.66), (x, 0.66), (0, 0.08)], dark(paper, 0.06), dark(paper, 0.12))
    c.blend(mirrored([(0.06, 0.02), (0.98, 0.66)]), pale(paper, 0.3), dark(paper, 0.03))
    for x in (-1, 1):
        c.line([(0.98 * x, 0.66), (0.06 * x, 0.02)], 0.008, dark(paper, 0.3))
    c.fill(mirrored([(0.97, -0.62), (0.04, 0.19)]), (60, 40, 30, 70))
    c.blend(mirrored([(0.98, -0.66), (0.05, 0.15)]), pale(paper, 0.2), dark(paper, 0.06))
    if rng.random() < 0.4:
        seal = vary(rng, (160, 20, 26), 18)
        c.ball(oval(0, 0.1, 0.14, 0.13), pale(seal, 0.4), seal, dark(seal, 0.4))


# name → WordNet id, drawing; in the order of ImageNet-1k
CLASSES: dict[str, tuple[str, Callable[[Canvas, random.Random], None]]] = {
    "balloon": ("n02782093", balloon),
    "beacon": ("n02814860", beacon),
    "candle": ("n02948072", candle),
    "digital_clock": ("n03196217", digital_clock),
    "envelope": ("n03291819", envelope),
    "honeycomb": ("n03530642", honeycomb),
    "hourglass": ("n03544143", hourglass),
    "jack_o_lantern": ("n03590841", jack_o_lantern),
    "jigsaw_puzzle": ("n03598930", jigsaw_puzzle),
    "parachute": ("n03888257", parachute),
    "picket_fence": ("n03930313", picket_fence),
    "pinwheel": ("n03944341", pinwheel),
    "shoji": ("n04201297", shoji),
    "soccer_ball": ("n04254680", soccer_ball),
    "spider_web": ("n04275548", spider_web),
    "theater_curtain": ("n04418357", theater_curtain),
    "wall_clock": ("n04548280", wall_clock),
    "crossword_puzzle": ("n06785654", crossword_puzzle),
    "street_sign": ("n06794110", street_sign),
    "traffic_light": ("n06874185", traffic_light),
    "daisy": ("n11939491", daisy),
}

# what the page offers: name, seed, size in pixels
EXAMPLES = [
    ("balloon", 14, (960, 720)),
    ("beacon", 5, (960, 720)),
    ("candle", 12, (960, 720)),
    ("daisy", 1, (960, 720)),
    ("hourglass", 0, (960, 720)),
    ("jack_o_lantern", 12, (800, 800)),
    ("pinwheel", 14, (800, 800)),
    ("soccer_ball", 7, (800, 800)),
    ("traffic_light", 7, (960, 720)),
]


def draw(
    name: str, rng: random.Random, size: int | tuple[int, int] = 128, style: str = "photo", supersampling: int = 2
) -> Image.Image:
    """One picture of a class.

    Args:
        name: A key of `CLASSES`.
        rng: Where everything random comes from.
        size: The picture's side, or its width and height, in pixels.
        style: "photo", or "sketch" for flat pastels with ink outlines.
        supersampling: How many times larger it is drawn before it is scaled down: more is smoother and slower.
    """
    canvas = Canvas((size, size) if isinstance(size, int) else size, rng, style, supersampling)
    CLASSES[name][1](canvas, rng)
    return canvas.finish()


def sheet(seed: int, style: str, side: int = 224, columns: int = 7) -> Image.Image:
    """A contact sheet: one picture of every class, named."""
    rows = math.ceil(len(CLASSES) / columns)
    page = Image.new("RGB", (columns * (side + 12) + 12, rows * (side + 36) + 12), WHITE)
    for k, name in enumerate(CLASSES):
        x, y = 12 + k % columns * (side + 12), 12 + k // columns * (side + 36)
        page.paste(draw(name, random.Random(seed), side, style), (x, y))
        page.paste(INK, (x, y + side + 7), lettering(name.replace("_", " "), 15))
    return page


def main() -> None:
    """Write what the arguments ask for."""
    parser = argparse.ArgumentParser(description="Draw pictures of ImageNet-1k classes.")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="write the pictures that the page offers")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet of all classes")
    parser.add_argument("--seed", type=int, default=0, help="of the contact sheet (default: 0)")
    parser.add_argument("--style", choices=STYLES, default="photo", help="of the contact sheet (default: photo)")
    arguments = parser.parse_args()
    if not (arguments.examples or arguments.sheet):
        parser.error("nothing to do: give --examples DIR or --sheet FILE")
    if arguments.sheet:
        sheet(arguments.seed, arguments.style).save(arguments.sheet, quality=88)
    if arguments.examples:
        arguments.examples.mkdir(parents=True, exist_ok=True)
        for name, seed, size in EXAMPLES:
            picture = draw(name, random.Random(seed), size, supersampling=3)
            picture.save(arguments.examples / f"{name}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
