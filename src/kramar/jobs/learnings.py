"""The model files that learning replaced, kept beside the model to roll back to, and what was learnt each time."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field, ValidationError

from kramar.errors import InputError
from kramar.exporting import fingerprints
from kramar.files import make_folder, remove_leftovers, replacing, write_text
from kramar.records import Estimate, Record

FOLDER = "learnt"


class Learning(Record):
    """``NNNN.json``: one learning.

    Attributes:
        model: the file that has learnt; ``before`` and ``after``, the SHA-256 of what it was and is.
        layer: names what it has learnt (`exporting.fingerprints.layer`), whatever decisions are fitted since.
        base: the file in the folder whose last layer was trained, and learning starts from; ``kept``, the one that was
            replaced. Empty where another file was written instead.
        learnt: photos that it learnt from; ``changed``, those of them that show something else than it had said.
        undone: whether the file before it was put back since.
        left_out: decided photos that teach nothing, by why.
        categories: labels that are new to it.
        regularisation: inverse strength C of the penalty on the way from the old layer, ``weight`` of a decided photo.
        accuracy: on the validation photos before and after, ``difference`` between them, and ``p`` of the exact test.
        log_loss: the same, in nats, before and after.
        guaranteed: whether the precision of ``auto`` is shown anew by photos that chose nothing; ``auto``, from which
            probability on.
    """

    model: str
    before: str
    after: str
    layer: str
    base: str = ""
    undone: bool = False
    kept: str = ""
    learnt: int
    changed: int
    left_out: dict[str, int] = Field(default_factory=dict)
    categories: list[str] = Field(default_factory=list)
    regularisation: float
    weight: float
    accuracy: tuple[Estimate, Estimate]
    difference: Estimate
    p: float
    log_loss: tuple[float, float]
    temperature: float
    guaranteed: bool
    auto: float | None
    seconds: float


class Learnings:
    """Those of one model file."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._folder = model.parent / FOLDER

    def last(self) -> Learning | None:
        """The one that made the file's last layer, if one did."""
        layer = fingerprints.layer(self._model)
        found = [one for one in self._all() if one.layer == layer and not one.undone]
        return found[-1] if found else None

    def base(self, corrections: int) -> Path:
        """The file whose layer was trained, of the model file, which learnt from so many ``corrections``.

        Raises InputError where it has learnt, and it is not known from what.
        """
        made = self.last()
        if made is not None and (self._folder / made.base).is_file():
            return self._folder / made.base
        if corrections:
            raise InputError(
                f"{self._model}: has learnt from corrections, and the file that it was before is not in "
                f"{self._folder}; learn with that one, which was trained"
            )
        return self._model

    def publish(self, made: Path, learning: Learning, base: Path) -> Learning:
        """Let ``made`` take the model file's place, which is kept; one step decides.

        What a kill leaves before that step is known by no file, and after it nothing is left to do.
        """
        make_folder(self._folder)
        remove_leftovers(self._folder)
        name = f"{1 + max((int(path.stem) for path in self._folder.glob('[0-9]*.json')), default=0):04d}"
        kept = self._folder / f"{name}.onnx"
        with replacing(kept) as temporary:
            shutil.copyfile(self._model, temporary)
        if base == self._model:
            base = kept
        learning = learning.model_copy(update={"base": base.name, "kept": kept.name})
        write_text(self._folder / f"{name}.json", learning.model_dump_json(indent=1))
        with replacing(self._model) as temporary:
            shutil.copyfile(made, temporary)
        return learning

    def undo(self) -> Learning:
        """Put back what the model file was before its last learning. Raises InputError where there was none."""
        last = self.last()
        if last is None or not (self._folder / last.kept).is_file():
            raise InputError(
                f"{self._model}: expected a file that kramar learn made, with the one before it in {self._folder}, "
                "found no such; nothing was changed"
            )
        with replacing(self._model) as temporary:
            shutil.copyfile(self._folder / last.kept, temporary)
        # What makes the same layer again is another learning: the way back leads further back each time.
        record = (self._folder / last.kept).with_suffix(".json")
        write_text(record, last.model_copy(update={"undone": True}).model_dump_json(indent=1))
        return last

    def _all(self) -> list[Learning]:
        """In the order in which they were made; a record that is broken counts as none."""
        found = []
        for path in sorted(self._folder.glob("[0-9]*.json"), key=lambda one: int(one.stem)):
            try:
                found.append(Learning.model_validate_json(path.read_text(encoding="utf-8")))
            except (ValidationError, UnicodeDecodeError):
                continue
        return found
