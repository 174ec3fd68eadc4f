"""Near twins: photos that are one photograph, copied.

A copy may be resized, recompressed, cropped a little, mirrored, brighter or darker, or marked. Another photo of the
same thing is no twin, however alike.

Likely pairs come from an approximate nearest-neighbour index (HNSW, Malkov and Yashunin 2018) of small pictures, so
that time grows as n log n. Each pair is then laid one over the other: the small shift and scale, the gain and the
offset that bring one closest to the other are found by Gauss-Newton steps (Lucas and Kanade 1981; Hager and Belhumeur
1998). Whether the edges of both are the same ones then tells: `benchmarks.twins` has the figures.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kramar.auditing.glances import LUMA, Glances
from kramar.auditing.overlay import Rule, laid
from kramar.config import cores
from kramar.errors import MissingExtra

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Sides of what the index compares, and of the pictures that are laid over each other: first small ones, then, where
# both photos have the pixels for it, larger ones, since few pixels cannot tell a label from another of the same layout.
_SIDE, _COLOURS, _COARSE = 12, 4, 20
_FINE_SIDE = 2 * LUMA
# Neighbours that are looked at, of a photo and of its mirror image each. A copy is the first or the second.
NEIGHBOURS = 4
# After the first steps, most pairs are known to be none: a twin is nearer than this by then, and far nearer in the end.
_FIRST_STEPS, _NEAR, _COARSE_STEPS, _FINE_STEPS = 2, 0.6, 4, 3
# How near twins are that need no comparison with others, and what may else be between them, against the others.
_SURE, _STANDS_OUT = 0.997, 0.25
# Of colour differences: how much stronger a copy's may be, the levels that are noise, and the share of their variance
# that a tint may leave.
_GAIN, _COLOUR, _LEFT = (0.5, 1.6), 5.0, 0.4
# Pairs that are laid over each other at once.
_BLOCK = 256
# Photos that are made small at once: 16 kB each before they are.
_SHRUNK = 4096


# What is not ruled out by small pictures, what is certain by them, and what is certain by the larger ones.
_POSSIBLE = Rule(edges=0.85, kept=0.85, share=0.65)
_SMALL = Rule(edges=0.92, kept=0.88, share=0.8)
_LARGE = Rule(edges=0.94, kept=0.95, share=0.92)


@dataclass(frozen=True, slots=True)
class Compared:
    """Pairs of photos, ``[M]`` each: which are twins by themselves, and how alike they are (as in `Laid`)."""

    twins: Bools
    edges: Floats
    near: Floats


def groups(glances: Glances) -> tuple[Indices, Floats]:
    """The photo that each photo is a copy of, ``[N]``, itself for most; and how alike their edges are, 1 for itself.

    A group is what matches its medoid, the photo that most others match: nothing is chained from copy to copy.
    """
    number = len(glances.luma)
    medoid, likeness = np.arange(number), np.ones(number, np.float32)
    some = np.arange(number)
    while len(some) > 1:
        first, second, alike = matches(glances.some(some))
        leads, scores = medoids(len(some), first, second, alike)
        joined = np.flatnonzero(leads != np.arange(len(some)))
        if not len(joined):
            break
        medoid[some[joined]], likeness[some[joined]] = some[leads[joined]], scores[joined]
        # A photo with more copies than neighbours leaves several groups: what leads one, or was left alone by others
        # that found a group, is compared once more.
        matched = np.unique(np.concatenate([first, second]))
        some = some[matched[leads[matched] == matched]]
    return _settled(glances, medoid, likeness)


def _settled(glances: Glances, medoid: Indices, likeness: Floats) -> tuple[Indices, Floats]:
    """Groups whose members all match their medoid: those whose medoid joined another are compared with that one."""
    root = medoid.copy()
    while (root[root] != root).any():
        root = root[root]
    moved = np.flatnonzero(root != medoid)
    if not len(moved):
        return medoid, likeness
    medoid = medoid.copy()
    for mirrored in (False, True):
        left = moved[medoid[moved] != root[moved]]
        found = compared(glances, left, root[left], np.full(len(left), mirrored))
        medoid[left[found.twins]], likeness[left[found.twins]] = root[left[found.twins]], found.edges[found.twins]
    alone = moved[medoid[moved] != root[moved]]
    medoid[alone], likeness[alone] = alone, 1.0
    return medoid, likeness


def matches(glances: Glances) -> tuple[Indices, Indices, Floats]:
    """Pairs of twins, the lower index first, ``[M]`` each, and how alike they are."""
    first, second, mirrored = likely(glances)
    found = compared(glances, first, second, mirrored)
    twins = _standing_out(len(glances.luma), first, second, found)
    return first[twins], second[twins], found.edges[twins]


def medoids(number: int, first: Indices, second: Indices, likeness: Floats) -> tuple[Indices, Floats]:
    """For each of ``number`` photos the one that leads its group, itself where it is alone; and how alike they are.

    Photos that most others match lead first, and take those that no other has.
    """
    ends = np.concatenate([first, second])
    others, alike = np.concatenate([second, first]), np.concatenate([likeness, likeness])
    order = np.argsort(ends, kind="stable")
    ends, others, alike = ends[order], others[order], alike[order]
    starts = np.searchsorted(ends, np.arange(number + 1))
    lead, score = np.full(number, -1, np.int64), np.ones(number, np.float32)
    degree = np.diff(starts)
    for photo in np.argsort(-degree, kind="stable").tolist():
        if lead[photo] >= 0:
            continue
        lead[photo] = photo
        for place in range(starts[photo], starts[photo + 1]):
            if lead[others[place]] < 0:
                lead[others[place]], score[others[place]] = photo, alike[place]
    return lead, score


def likely(glances: Glances) -> tuple[Indices, Indices, Bools]:
    """Pairs that may be twins: the lower index, the higher, whether one is mirrored, each ``[M]``."""
    # First: loaded after usearch, it ends the process (onnxruntime 1.32, usearch 2.26).
    import onnxruntime  # noqa: F401

    try:
        from usearch.index import Index
    except ImportError:
        raise MissingExtra("train", "looking for near twins") from None
    plain, mirrored = signatures(glances)
    number = len(plain)
    index = Index(ndim=plain.shape[1], metric="ip", dtype="f16")
    # By one thread: several build another index each time, and twins decide a split, which a resumed run must repeat.
    index.add(np.arange(number), plain, threads=1)
    found: list[Indices] = []
    for flipped, queries in ((0, plain), (1, mirrored)):
        answers = index.search(queries, min(NEIGHBOURS + 1, number), threads=cores())
        others = answers.keys.reshape(number, -1).astype(np.int64)
        own = np.repeat(np.arange(number), others.shape[1])
        low, high = np.minimum(own, others.ravel()), np.maximum(own, others.ravel())
        # As one number each, which are sorted many times as fast as rows.
        found.append(((low * number + high) * 2 + flipped)[low != high])
    pairs, flips = np.divmod(np.unique(np.concatenate(found)), 2)
    return pairs // number, pairs % number, flips.astype(bool)


def signatures(glances: Glances) -> tuple[Floats, Floats]:
    """What the index compares, of photos and of their mirror images: unit vectors ``[N, D]`` without brightness."""
    plain, mirrored = [], []
    for start in range(0, len(glances.luma), _SHRUNK):
        some = slice(start, start + _SHRUNK)
        luma, chroma = shrunk(glances.luma[some], _SIDE), shrunk(glances.chroma[some], _COLOURS)
        plain.append(_unit(luma, chroma))
        mirrored.append(_unit(luma[:, :, ::-1], chroma[..., ::-1]))
    return np.concatenate(plain), np.concatenate(mirrored)


def _unit(luma: Floats, chroma: Floats) -> Floats:
    luma = luma - luma.mean(axis=(1, 2), keepdims=True)
    flat = np.concatenate([luma.reshape(len(luma), -1), (chroma - 128).reshape(len(chroma), -1)], axis=1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)


def shrunk(pictures: npt.NDArray[np.uint8], side: int) -> Floats:
    """Means over a grid, ``[..., side, side]``."""
    weights = _averages(pictures.shape[-1], side)
    return np.asarray(weights @ pictures.astype(np.float32) @ weights.T)


def _averages(of: int, to: int) -> Floats:
    """Weights ``[to, of]`` that average ``of`` pixels to ``to``, parts of pixels included."""
    edges, starts = np.linspace(0, of, to + 1), np.arange(of)
    cover = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.asarray(np.clip(cover, 0, None) * to / of, np.float32)


def compared(glances: Glances, first: Indices, second: Indices, mirrored: Bools) -> Compared:
    """Pairs laid over each other."""
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(first), _BLOCK)]

    def compare(block: slice) -> Compared:
        return _compared(glances, first[block], second[block], mirrored[block])

    with ThreadPoolExecutor(cores()) as executor:
        found = list(executor.map(compare, blocks))
    if not found:
        return Compared(np.zeros(0, bool), np.zeros(0, np.float32), np.zeros(0, np.float32))
    return Compared(
        np.concatenate([one.twins for one in found]),
        np.concatenate([one.edges for one in found]),
        np.concatenate([one.near for one in found]),
    )


def _compared(glances: Glances, first: Indices, second: Indices, mirrored: Bools) -> Compared:
    one, other = glances.luma[first], glances.luma[second]
    one = np.where(mirrored[:, None, None], one[:, :, ::-1], one)
    small, small_other = shrunk(one, _COARSE), shrunk(other, _COARSE)
    glance = laid(small, small_other, _FIRST_STEPS)
    twins, edges, near = np.zeros(len(first), bool), glance.edges.copy(), glance.near.copy()
    some: Indices = np.flatnonzero(near >= _NEAR)
    if len(some):
        coarse = laid(small[some], small_other[some], _COARSE_STEPS, glance.moved[some])
        twins[some], edges[some], near[some] = coarse.passes(_SMALL), coarse.edges, coarse.near
        detailed = np.minimum(_short(glances, first[some]), _short(glances, second[some])) >= _FINE_SIDE
        twins[some[detailed]] = False
        closer = detailed & coarse.passes(_POSSIBLE)
        if closer.any():
            place = some[closer]
            large, large_other = one[place].astype(np.float32), other[place].astype(np.float32)
            fine = laid(large, large_other, _FINE_STEPS, coarse.moved[closer])
            twins[place], edges[place], near[place] = fine.passes(_LARGE), fine.edges, fine.near
    twins &= _same_colours(glances.chroma[first], glances.chroma[second], mirrored)
    return Compared(twins, edges, near)


def _standing_out(number: int, first: Indices, second: Indices, found: Compared) -> Bools:
    """Which twins are far nearer to each other than to anything that is none (as Lowe 2004 matches key points).

    In small pictures of one kind of thing, such as trousers of 28 pixels, all are alike, and none is a copy.
    """
    others = ~found.twins
    nearest = np.full(number, -np.inf)
    for ends in (first, second):
        np.maximum.at(nearest, ends[others], found.near[others])
    # Where all neighbours are twins, nothing can be told but by what hardly differs at all.
    rest = np.where(
        np.isinf(nearest[first]) | np.isinf(nearest[second]), 1.0, np.maximum(nearest[first], nearest[second])
    )
    return found.twins & ((found.edges >= _SURE) | (1 - found.near <= _STANDS_OUT * (1 - rest)))


def _same_colours(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], mirrored: Bools) -> Bools:
    """Whether colours, ``[M, 2, 16, 16]``, differ by a tint at most: not a thing that is there in red and in blue."""
    one, other = first.astype(np.float32), second.astype(np.float32)
    one = np.where(mirrored[:, None, None, None], one[..., ::-1], one)
    one, other = (part - part.mean(axis=(2, 3), keepdims=True) for part in (one, other))
    gain = (one * other).sum(axis=(2, 3), keepdims=True) / np.maximum((one**2).sum(axis=(2, 3), keepdims=True), 1e-3)
    left = ((other - np.clip(gain, *_GAIN) * one) ** 2).mean(axis=(1, 2, 3))
    return np.asarray(left <= np.maximum(_COLOUR**2, _LEFT * (other**2).mean(axis=(1, 2, 3))))


def _short(glances: Glances, places: Indices) -> Floats:
    return np.minimum(glances.width[places], glances.height[places])
