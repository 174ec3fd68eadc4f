"""One picture laid over another: how they have to be moved, and whether their edges are the same ones then.

The small shift and scale, the gain and the offset that bring one closest to the other are found by Gauss-Newton steps
(Lucas and Kanade 1981; Hager and Belhumeur 1998), for many pairs at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

# How far a copy may be cropped: scales and shifts (in half sides) of those that are not moved at all, and from them.
_UNMOVED, _FARTHEST = np.array([1, 0, 1, 0], np.float32), 0.13
# How much brighter a copy may be: a fifth, with room for what is clipped.
_STRONGEST = 1.35


@dataclass(frozen=True, slots=True)
class Rule:
    """From where on two photos are twins.

    Attributes:
        edges: the correlation of all their edges; or
        kept: of those where both agree, if those are a share of at least ``share``: a mark hides the others.
    """

    edges: float
    kept: float
    share: float


@dataclass(frozen=True, slots=True)
class Laid:
    """Pairs of pictures, one laid over the other, ``[M]`` each.

    Attributes:
        edges: the correlation of their gradients, up to 1.
        kept: the same of the pixels that agree.
        share: how much of the edges those pixels hold, in the picture that has more of them there.
        moved: scale and shift along x, then along y, in half sides, ``[M, 4]``.
        gain: how much stronger the differences of the second are.
    """

    edges: Floats
    kept: Floats
    share: Floats
    moved: Floats
    gain: Floats

    def passes(self, rule: Rule) -> Bools:
        """Which pairs ``rule`` takes for twins."""
        alike = (self.edges >= rule.edges) | ((self.kept >= rule.kept) & (self.share >= rule.share))
        near = (np.abs(self.moved - _UNMOVED) <= _FARTHEST).all(axis=1)
        return np.asarray(alike & near & (self.gain >= 1 / _STRONGEST) & (self.gain <= _STRONGEST))

    @property
    def near(self) -> Floats:
        """The better of both correlations."""
        return np.maximum(self.edges, self.kept)


def laid(first: Floats, second: Floats, steps: int, moved: Floats | None = None) -> Laid:
    """``first`` laid over ``second``, both ``[M, S, S]``, in ``steps`` from where it was ``moved`` to before."""
    count, side = len(first), first.shape[-1]
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = (np.broadcast_to(one, (side, side)).reshape(-1) for one in (axis[None, :], axis[:, None]))
    target = second.reshape(count, -1)
    moved = np.tile(_UNMOVED, (count, 1)) if moved is None else moved
    weights = np.ones_like(target)
    for step in range(steps):
        warped, cover = _warped(first, moved, axis)
        gx, gy = (one.reshape(count, -1) for one in _gradients(warped, axis[1] - axis[0]))
        flat = warped.reshape(count, -1)
        # What a little more scale and shift along x and y, gain and offset would change.
        columns = np.stack([flat, np.ones_like(flat), gx * x, gx, gy * y, gy], axis=1)
        trusted = columns * (weights * cover)[:, None]
        normal = trusted @ columns.transpose(0, 2, 1)
        normal += 1e-3 / 6 * np.eye(6, dtype=np.float32) * np.trace(normal, axis1=1, axis2=2)[:, None, None]
        normal += 1e-6 * np.eye(6, dtype=np.float32)
        solution = np.linalg.solve(normal, trusted @ target[:, :, None])[:, :, 0]
        left = target - (solution[:, None] @ columns)[:, 0]
        if step < steps - 1:
            moved = _moved_on(moved, solution)
            # Pixels that do not fit count less (Geman and McClure's weights): a mark must not pull.
            spread = np.sqrt((trusted[:, 1] * left**2).sum(axis=1) / np.maximum(trusted[:, 1].sum(axis=1), 1))
            weights = 1 / (1 + (left / np.maximum(2 * spread, 1.0)[:, None]) ** 2) ** 2
    fitted = (target - left).reshape(first.shape)
    return _edges(fitted, second, cover.reshape(first.shape), moved, solution[:, 0])


def _moved_on(moved: Floats, solution: Floats) -> Floats:
    """Where pictures are after a step: x becomes s (x + a x + b) + t, for its a and b."""
    gain = np.where(np.abs(solution[:, :1]) > 0.2, solution[:, :1], 1.0)
    a_x, b_x, a_y, b_y = np.clip(solution[:, 2:] / gain, -0.1, 0.1).T
    s_x, t_x, s_y, t_y = moved.T
    found = np.stack([s_x * (1 + a_x), t_x + s_x * b_x, s_y * (1 + a_y), t_y + s_y * b_y], axis=1)
    return np.asarray(found, np.float32)


def _edges(fitted: Floats, second: Floats, cover: Floats, moved: Floats, gain: Floats) -> Laid:
    ax, ay = _gradients(fitted)
    bx, by = _gradients(second)
    a, b = np.hypot(ax, ay), np.hypot(bx, by)
    agree = cover / (1 + ((second - fitted) / (4 + 0.3 * np.maximum(a, b))) ** 4)

    def correlation(weights: Floats) -> Floats:
        product = (weights * (ax * bx + ay * by)).sum(axis=(1, 2))
        norms = np.sqrt((weights * a**2).sum(axis=(1, 2)) * (weights * b**2).sum(axis=(1, 2)))
        return np.asarray(product / np.maximum(norms, 1e-3), np.float32)

    def held(edges: Floats) -> Floats:
        return np.asarray((agree * edges).sum(axis=(1, 2)) / np.maximum((cover * edges).sum(axis=(1, 2)), 1e-3))

    return Laid(correlation(cover), correlation(agree), np.maximum(held(a), held(b)), moved, gain)


def _gradients(pictures: Floats, spacing: float = 1.0) -> tuple[Floats, Floats]:
    """Along x and along y."""
    along_x, along_y = np.gradient(pictures, spacing, axis=(2, 1))
    return np.asarray(along_x), np.asarray(along_y)


def _warped(pictures: Floats, moved: Floats, axis: Floats) -> tuple[Floats, Floats]:
    """Pictures ``[M, S, S]`` at s x + t for each pixel, bilinear; and 1 where that is inside, ``[M, S * S]``."""
    across, x_in = _interpolation(moved[:, 0], moved[:, 1], axis)
    down, y_in = _interpolation(moved[:, 2], moved[:, 3], axis)
    inside = (y_in[:, :, None] & x_in[:, None, :]).reshape(len(pictures), -1)
    return down @ pictures @ across.transpose(0, 2, 1), inside.astype(np.float32)


def _interpolation(scale: Floats, shift: Floats, axis: Floats) -> tuple[Floats, Bools]:
    """Weights ``[M, S, S]`` of the pixels along one axis at ``scale * axis + shift``; and where that is inside."""
    side = len(axis)
    at = (scale[:, None] * axis + shift[:, None] + 1) / 2 * (side - 1)
    pixels = np.arange(side, dtype=np.float32)
    weights = np.maximum(0, 1 - np.abs(np.clip(at, 0, side - 1)[:, :, None] - pixels))
    return np.asarray(weights, np.float32), np.asarray((at > -0.5) & (at < side - 0.5))
