"""What augmentation makes of a photo, as pictures for the report."""

from __future__ import annotations

import inspect
import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from kramar.data.manifest import Entry
from kramar.errors import FailedError
from kramar.models import squares
from kramar.models.squares import roomy
from kramar.records import ResizeRule
from kramar.study.settings import Setting
from kramar.training.augment import POLICIES
from kramar.training.material import Material
from kramar.training.seeds import derived

NINE = 9
# Side of a picture on the page, in pixels, at most.
SHOWN = 160
_QUALITY = 85


class Pictures:
    """One training photo as the networks saw it: the first by hash, so that the same data shows the same photo."""

    def __init__(self, settings: Sequence[Setting], material: Material) -> None:
        self._settings = settings
        self.entry: Entry = min(material.parts["train"], key=lambda entry: entry.hash)

    def plain(self) -> bytes | None:
        """The photo as it is, as JPEG; None where it can no longer be read."""
        return next(iter(self._drawn("none", 0.0, self._rule(list(self._settings)), 1)), None)

    def nine(self, policy: str, strength: float) -> list[bytes]:
        """Nine draws of an augmentation policy that the trials use, as JPEG, the same ones each time.

        They are drawn at the largest size that a trial draws them at, and then made small enough to show.
        None of them where the photo can no longer be read.
        """
        using = [one for one in self._settings if (one.recipe.augment, one.recipe.strength) == (policy, strength)]
        return self._drawn(policy, strength, self._rule(using or list(self._settings)), NINE)

    @staticmethod
    def _rule(settings: Sequence[Setting]) -> ResizeRule:
        return max((one.architecture.resize for one in settings), key=lambda rule: rule.size)

    def _drawn(self, policy: str, strength: float, rule: ResizeRule, count: int) -> list[bytes]:
        augmented = POLICIES[policy](rule, strength)
        try:
            pixels = squares.squares([self.entry], roomy(rule) if policy != "none" else rule)[0]
        except FailedError:
            return []
        photo = torch.from_numpy(pixels).permute(2, 0, 1)
        made = []
        for number in range(count):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derived(number, int(self.entry.hash[:15], 16)))
                made.append(_jpeg(augmented(photo)))
        return made


def words(policy: str) -> str:
    """What a policy does, in its own words: the first line of its documentation."""
    return (inspect.getdoc(POLICIES[policy]) or "").partition("\n")[0].replace("``", "")


def _jpeg(photo: Tensor) -> bytes:
    """uint8 ``[3, S, S]`` as a JPEG of at most ``SHOWN`` pixels a side."""
    image = Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())
    image.thumbnail((SHOWN, SHOWN), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
