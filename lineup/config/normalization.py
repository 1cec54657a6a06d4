"""Checks the mean and the standard deviation of a normalization of pixels from 0 to 1."""

from collections.abc import Iterator, Sequence
from math import sqrt

Channels = Sequence[float]
EXPECTED = "mean and std of pixels from 0 to 1"
_MIN_STD = 1e-3
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_MAX_STD_OF_IMAGES = 0.35


def problem(mean: Channels | None, std: Channels | None) -> tuple[str, str] | None:
    """Return what is wrong with a mean and a standard deviation, and the remedy; None if nothing is.

    A std of 1/255 is valid: the input of the network is from 0 to 255, as Caffe's networks expect it.

    Args:
        mean: one number for each channel; None if it is not known.
        std: as `mean`.
    """
    of_mean, of_std = list(mean or ()), list(std or ())
    values, got = [*of_mean, *of_std], _keys(of_mean, of_std, digits=7)
    if of_mean and of_std and -10 < min(of_mean) < 0 >= max(of_mean) and min(of_std) > 1:
        inverted = [-m / s for m, s in zip(of_mean, of_std, strict=True)], [1 / s for s in of_std]
        return f"{got}, which inverts a normalization", f"write {_keys(*inverted)}"
    if _is_bgr(of_mean):
        remedy = "for a network of RGB images, write them in this order; one of BGR images needs its first layer turned"
        return f"{got}, which is ImageNet's mean in the order blue, green, red", f"{remedy}: weight.flip(1)"
    if of_std and min(map(abs, of_std)) < _MIN_STD:
        return f"{got}, by which no input can be divided", f"write a std from {_MIN_STD}"
    if values and min(values) < 0:
        of_mean, of_std = _scaled([abs(m) for m in of_mean], [abs(s) for s in of_std], 255)
        return f"{got}, with a negative number", f"write {_keys(of_mean, of_std)}"
    if of_std and min(of_std) > 1 and max(of_std) <= 10 and max(of_mean, default=0) <= 1:
        return f"{got}, which is the reciprocal of a std", f"write {_keys(of_mean, [1 / s for s in of_std])}"
    if values and max(values) > 1:
        if min(_scaled(of_mean, of_std, 255)[1], default=1) < _MIN_STD:
            return f"{got}, of which one is not of that range", "write numbers from 0 to 1"
        meant = f"write {_keys(*_scaled(of_mean, of_std, 255))} (divided by 255)"
        if max(values) <= 100:
            meant += f", or {_keys(*_scaled(of_mean, of_std, 100))} (divided by 100)"
        return f"{got}, which is not of that range", meant
    if _swapped(of_mean, of_std):
        return f"{got}, which seem to be swapped", f"write {_keys(of_std, of_mean)}"
    return None


def unusual_range(mean: Channels, std: Channels) -> Iterator[str]:
    """Yield a note for the owner if the input of the network has a range that few networks are trained with."""
    low = min((0 - m) / s for m, s in zip(mean, std, strict=True))
    high = max((1 - m) / s for m, s in zip(mean, std, strict=True))
    if high > 10:
        yield f"std: the input of the network is from {low:.4g} to {high:.4g}, as mean and std say"


def _is_bgr(mean: list[float]) -> bool:
    scale = 255 if mean and max(mean) > 1 else 1
    blue_first = [value / scale for value in reversed(mean)]
    return len(mean) == 3 and all(abs(a - b) < 0.006 for a, b in zip(blue_first, _IMAGENET_MEAN, strict=True))


def _scaled(mean: list[float], std: list[float], scale: int) -> tuple[list[float], list[float]]:
    """Divide what is not from 0 to 1; beside such a mean, a std of 1 is of the same scale."""
    of_mean = scale if mean and max(mean) > 1 else 1
    of_std = scale if std and (max(std) > 1 or (of_mean > 1 and min(std) >= 1)) else 1
    mean, std = [value / of_mean for value in mean], [value / of_std for value in std]
    return (std, mean) if _swapped(mean, std) else (mean, std)


def _swapped(mean: list[float], std: list[float]) -> bool:
    """Return whether only the other order is possible: the std of values from 0 to 1 is at most √(m(1 - m))."""
    pairs = list(zip(mean, std, strict=False))
    plausible = bool(pairs) and all(0.05 < m < min(_MAX_STD_OF_IMAGES, s) and s < 1 for m, s in pairs)
    return plausible and any(s > sqrt(m * (1 - m)) for m, s in pairs)


def _keys(mean: Channels, std: Channels, digits: int = 4) -> str:
    texts = {
        key: ", ".join(f"{value:.{digits}g}" for value in values) for key, values in (("mean", mean), ("std", std))
    }
    return ", ".join(f"{key}: [{text}]" for key, text in texts.items() if text)
