"""Draws a deterministic test image."""

from pathlib import Path


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (320, 240)) -> Path:
    import numpy as np
    from PIL import Image, ImageDraw

    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size)
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        (x, y), (w, h) = random.integers(0, size), random.integers(10, 90, 2)
        shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
        shape((int(x), int(y), int(x + w), int(y + h)), fill=tuple(random.integers(0, 256, 3).tolist()))
    image.save(path)
    return path
