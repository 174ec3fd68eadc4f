"""Rung 6: a smaller copy of the best model, where it does what that one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kramar.data.manifest import Entry
from kramar.data.pixels import Pixels
from kramar.errors import ExportError
from kramar.evaluation import paired
from kramar.evaluation.metrics import wilson
from kramar.exporting import onnx_file, storage
from kramar.exporting.storage import COMPARED
from kramar.files import replacing
from kramar.models import architectures, backbones, squares
from kramar.models.backbones import BACKBONES
from kramar.models.squares import Squares
from kramar.records import Verification
from kramar.runtime.model import Model, in_turns
from kramar.runtime.session import Scores
from kramar.training import backbone_network, compress, heads
from kramar.training.budget import some
from kramar.training.climb import ALIKE, VERIFIED, Climbed, Ground, Learnt, Limits, Step
from kramar.training.ladder import best
from kramar.training.rungs import copies
from kramar.training.rungs.copies import Copy, Way
from kramar.training.rungs.whole import RECIPE

# Training photos that fewer channels are fitted to.
NARROWED_ON = 256
# What scales and their nodes add to the bytes of int8 weights: 1.04 times in EfficientNet-Lite0.
_SCALES = 1.05
# A copy is at most about so many times as fast as its source (docs/benchmarks.md).
_QUICKER = 1.5
_TOGETHER = 8
# The share of channels from which a network is worth narrowing, where another keeps as many.
_ENOUGH = 0.4
# The source and so many copies of it look at all that they are compared on.
_COPIES = 3
_FIXED_SECONDS = 10.0
_CONTROLLED_SECONDS = 240.0
# Fewer channels and weights of four bits: arithmetic and the file, and looks at each photo, stage by stage. PyTorch
# takes so many times as long for one. Numbers in an embedding, about, to which a head is fitted.
_NARROWING_SECONDS, _NARROWING_LOOKS, _PYTORCH, _WIDTH = 15.0, 8, 1.2, 1800


class QuantisedRung:
    """int8 arithmetic where that keeps the labels, int8 weights or float16 weights where it does not; where none of
    them is small enough, weights of four bits and fewer channels."""

    key = rung = "quantised"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def seconds(self, milliseconds: float, *, narrowed: bool) -> float:
        """What it takes for a source of so many milliseconds a photo, the scoring of test photos included, but without
        NNCF."""
        parts = {part: len(entries) for part, entries in self._ground.material.parts.items()}
        photos = (2 if narrowed else 1 + _COPIES) * len(self._compared()) + parts["test"]
        if narrowed:
            photos += _NARROWING_LOOKS * NARROWED_ON
        seconds = _FIXED_SECONDS + photos * milliseconds / 1000
        if narrowed:
            rate = 1000 / (_PYTORCH * milliseconds)
            seconds += _NARROWING_SECONDS + heads.refit_seconds(parts["train"], rate, _WIDTH, self._ground.classes)
        return seconds

    def plan(self, seconds: float, climbed: Mapping[str, Climbed]) -> Step:
        """It is made of the best model whose copy can be within the limits; where no model is, even beyond the time,
        for a run that leaves none has taken all its time for nothing."""
        source, share = self._source(climbed)
        expected = self.seconds(source.milliseconds, narrowed=share is not None)
        expected += self._ground.decoding(self._compared(), architectures.find(source.backbone).resize)
        if expected > seconds and self._ground.limits.met(climbed.values()):
            return Step(do=False, why=f"no time: it takes about {expected:.0f} s, {seconds:.0f} s are left for it")
        in_time = expected + _CONTROLLED_SECONDS <= seconds and not self._ground.stopped()
        controlled = share is None and in_time
        return Step(
            do=True,
            expected=expected + controlled * _CONTROLLED_SECONDS,
            numbers={"share": share} if share is not None else {"controlled": float(controlled)},
            models=[source.key],
        )

    def _source(self, climbed: Mapping[str, Climbed]) -> tuple[Climbed, float | None]:
        """The most accurate model whose copy will be small enough; or else of the networks that can be made so small,
        and the share of channels that is to be left of that one; the smallest, where none would be. What is slower than
        the limit is no model of a copy, unless all are."""
        limits, all_of_them = self._ground.limits, list(climbed.values())
        slowest = np.inf
        if limits.latency is not None:
            slowest = max(limits.latency, ALIKE * min(one.milliseconds for one in all_of_them))
        quick = [one for one in all_of_them if one.milliseconds <= slowest]
        able = [one for one in quick if limits.size is None or copied(self._ground, one) <= limits.size]
        if (found := best(able, Limits())) is not None:
            return found, None
        networks = [one for one in quick if architectures.find(one.backbone).family in BACKBONES]
        shares = {name: room(self._ground, name) for name in {one.backbone for one in networks}}
        kept = {name: share for name, share in shares.items() if share is not None}
        if not kept:
            return min(quick, key=lambda one: one.bytes), None
        # Half of the channels lost nothing (docs/benchmarks.md): of networks that keep about as many, the best one.
        least = min(_ENOUGH, max(kept.values()))
        found = best([one for one in networks if kept.get(one.backbone, 0.0) >= least], Limits())
        assert found is not None, "the network that keeps most is one of them"
        return found, kept[found.backbone]

    def climb(self, step: Step, climbed: Mapping[str, Climbed]) -> Climbed:
        """Make copies, compare them with their source, keep one."""
        ground = self._ground
        source = climbed[step.models[0]]
        path = ground.model_file(source.key)
        model = Model(path)
        entries = self._compared()
        squares.cache(entries, model.card.resize, ground.progress)
        photos = squares.squares(entries, model.card.resize)
        expected = _probabilities(model, photos)
        if (share := step.numbers.get("share")) is not None:
            ways = [self._narrower(source, share)]
        else:
            training = ground.material.parts["train"]
            spread = [training[place] for place in storage.calibrating(len(training))]
            squares.cache(spread, model.card.resize, ground.progress)
            calibration = squares.squares(spread, model.card.resize)
            ways = copies.ways(
                [calibration[i] for i in range(len(spread))], controlled=bool(step.numbers["controlled"])
            )
        made: list[Copy] = []
        failed: ExportError | None = None
        while ways := copies.still(ways, made, ground.limits, stopped=ground.stopped()):
            way, *ways = ways
            place = ground.folder / f".{len(made)}.{self.key}.onnx"
            try:
                way.make(path, place)
            except ExportError as error:
                # There may be other ways; that this one failed is said.
                ground.progress.say(f"Warning: {way.how}: {error}")
                place.unlink(missing_ok=True)
                failed = error
                continue
            made.append(self._judged(place, way, model, entries, photos, expected))
            ground.progress.say(made[-1].note)
        if failed is not None and not made:
            raise failed
        return self._leave(copies.chosen(made, ground.limits), made, source, step)

    def _narrower(self, source: Climbed, share: float) -> Way:
        """A copy with fewer channels, whose weights are few whole numbers, and a head of its own."""

        def make(path: Path, target: Path) -> None:
            ground, architecture = self._ground, architectures.find(source.backbone)
            network = backbone_network.reopen(backbones.find(source.backbone), ground.classes, path)
            train, val = ground.material.parts["train"], some(ground.material.known("val"), heads.HEAD_VAL)
            shown = some(train, NARROWED_ON)
            squares.cache(shown, architecture.resize, ground.progress)
            compress.compress(network, share, squares.squares(shown, architecture.resize))
            embedded = heads.of_photos(network, architecture.resize, RECIPE, ground.progress)
            learnt = heads.part(ground, embedded, some(train, heads.ROWS // heads.VIEWS), heads.VIEWS)
            heads.put(network, heads.fitted(ground, learnt, heads.part(ground, embedded, val)))
            backbone_network.export(ground, network, architecture, target, self.rung)
            storage.int4_weights(target, target)

        kept = f", {share:.0%} of the last channels" if share < 1 else ""
        return Way(f"weights of four bits{kept}, float32 arithmetic", "int4", make)

    def _compared(self) -> list[Entry]:
        """Validation photos, then training photos, spread over the classes, on which a copy is compared."""
        parts = self._ground.material.parts
        val = some(parts["val"], COMPARED)
        return [*val, *(some(parts["train"], COMPARED - len(val)) if len(val) < COMPARED else [])]

    def _judged(
        self,
        path: Path,
        way: Way,
        source: Model,
        entries: Sequence[Entry],
        photos: Squares,
        expected: Scores,
    ) -> Copy:
        ground, model = self._ground, Model(path)
        found = _probabilities(model, photos)
        own, its = in_turns([model, source])
        same = found.argmax(axis=1) == expected.argmax(axis=1)
        val = [entry for entry in entries if entry.split == "val"]
        lost = None
        if val:
            truth = np.array(ground.material.numbers(val), np.int64)
            before, after = (scores[: len(val)].argmax(axis=1) == truth for scores in (expected, found))
            lost = paired.difference(before, after, [entry.group for entry in val], ground.seed)
        return Copy(
            way=way,
            path=path,
            agreement=wilson(int(same.sum()), len(same)),
            lost=lost,
            milliseconds=own,
            faster=its / own,
            bytes=path.stat().st_size,
        )

    def _leave(self, kept: Copy, made: Sequence[Copy], source: Climbed, step: Step) -> Climbed:
        ground, path = self._ground, self._ground.model_file(self.key)
        card = Model(kept.path).card.model_copy(update={"rung": self.rung, "storage": kept.way.storage})
        # The scores that it is judged on are the finished file's own.
        val = ground.material.parts["val"] or ground.material.parts["train"][:VERIFIED]
        photos = squares.squares(val, card.resize)
        logits = _logits(Model(kept.path), photos)
        temperature, metrics = ground.judged(logits[: len(ground.material.parts["val"])], card.temperature)
        card = card.model_copy(update={"metrics": {"val": metrics} if metrics else {}})
        with replacing(path) as temporary:
            onnx_file.describe(kept.path, card, temporary)
            again = _logits(Model(temporary), squares.squares(val[:VERIFIED], card.resize))
            onnx_file.require_same(again, logits[:VERIFIED])
        for copy in made:
            copy.path.unlink(missing_ok=True)
        others = "; ".join(copy.note for copy in made if copy is not kept)
        share, faster = kept.bytes / source.bytes, f"{kept.faster:.2f} times as fast"
        if elsewhere := ground.in_openvino([Model(path), Model(ground.model_file(source.key))]):
            faster += f" in ONNX Runtime, {elsewhere[1] / elsewhere[0]:.2f} times in OpenVINO"
        learnt = Learnt(
            key=self.key,
            rung=self.rung,
            backbone=source.backbone,
            storage=kept.way.storage,
            how=f"{kept.way.how}, of {source.key}: {share:.0%} of its bytes, {faster}",
            expected=step.expected,
            temperature=temperature,
            val=metrics,
            verification=Verification(photos=len(val[:VERIFIED]), label_differences=0, largest_difference=0.0),
            source=source.key,
            passed=kept.passed,
            note=kept.note + (f" (tried too: {others})" if others else ""),
        )
        return ground.leave(learnt, logits[: len(ground.material.parts["val"])], step)


def room(ground: Ground, backbone: str) -> float | None:
    """The share of its channels that a copy of a backbone's network can keep; None where no copy is small enough."""
    limits = ground.limits
    if limits.size is None:
        return 1.0
    network = backbone_network.start(backbones.find(backbone), ground.classes)
    return compress.share_within(network, limits.size - limits.card)


def reachable(ground: Ground, backbone: str, milliseconds: float) -> bool:
    """Whether a copy of a backbone's network that takes so long for a photo may be within the limits."""
    latency = ground.limits.latency
    return (latency is None or milliseconds <= _QUICKER * latency) and room(ground, backbone) is not None


def copied(ground: Ground, one: Climbed) -> float:
    """About the bytes of the smallest copy of a rung's model."""
    return _SCALES * storage.int8_bytes(ground.model_file(one.key))


def _probabilities(model: Model, photos: Squares) -> Scores:
    return _run(model.scores, photos)


def _logits(model: Model, photos: Squares) -> Scores:
    return _run(model.logits, photos)


def _run(said: Callable[[Pixels], Scores], photos: Squares) -> Scores:
    """What is said of each photo, ``[N, C]``."""
    starts = range(0, len(photos), _TOGETHER)
    return np.concatenate(
        [said(np.stack([photos[i] for i in range(start, min(start + _TOGETHER, len(photos)))])) for start in starts]
    )
