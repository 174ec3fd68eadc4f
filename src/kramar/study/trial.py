"""One trial: a network trained by a setting, its file written and verified, its answers on the test photos kept.

A trial is the unit that is resumed: it goes on from its last epoch, and once ``trial.json`` is there it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from kramar import machine
from kramar.data.manifest import Entry
from kramar.errors import TrainingError
from kramar.evaluation.metrics import score
from kramar.exporting import network_file, onnx_file
from kramar.files import make_folder, remove_leftovers, replacing, write_text
from kramar.models import networks, squares, weights
from kramar.models.networks import AUXILIARY_SIZE, Network, Top
from kramar.models.squares import roomy
from kramar.models.weights import Located
from kramar.progress import Progress
from kramar.records import Epoch, Metrics, ModelCard, ResizeRule
from kramar.runtime.model import Model
from kramar.runtime.session import Scores
from kramar.study.records import TrialRecord
from kramar.study.settings import FROZEN_VIEWS, REGIMES, Setting
from kramar.study.views import views
from kramar.training import augment, loop, losses, memory
from kramar.training.answers import answer
from kramar.training.material import Material
from kramar.training.photos import PhotoBatches, ViewBatches, beside
from kramar.training.recipe import Recipe

# Without validation photos, this many training photos prove that the file is what was trained.
VERIFIED = 300
_RATE_BATCH = 8
RATE_SECONDS = 1.5
_RECIPE = TypeAdapter(Recipe)

AfterEpoch = Callable[[Sequence[Epoch]], None]
Card = Callable[[Setting, dict[str, Metrics], float, Located | None], ModelCard]


def rules(setting: Setting) -> list[ResizeRule]:
    """The squares that a trial needs: for evaluation and, where photos are augmented, with their margins."""
    rule = setting.architecture.resize
    return list(dict.fromkeys([rule, roomy(rule)])) if setting.recipe.augment != "none" else [rule]


def finished(folder: Path) -> TrialRecord | None:
    """The trial in ``folder``, if it is done."""
    try:
        return TrialRecord.model_validate_json((folder / "trial.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def run(
    setting: Setting,
    material: Material,
    card: Card,
    folder: Path,
    accelerator: Accelerator,
    progress: Progress,
) -> TrialRecord:
    """Do the trial, or what is left of it, in ``folder``.

    Leaves ``model.onnx``, ``answers.npz`` (``right``, bool, for each test photo) and ``trial.json``.
    Raises InputError, OutputError, ExportError, TrainingError.
    """
    make_folder(folder)
    remove_leftovers(folder)
    checkpoint = folder / "training.safetensors"
    energy = None if checkpoint.is_file() else machine.energy_joules()

    try:
        trained = train(setting, material, accelerator, progress, checkpoint=checkpoint)
    except TrainingError as error:
        raise TrainingError(f"{setting.title}: {error}; lower the learning rate, or the batch") from None
    network, notes = trained.network, trained.notes
    joules, ended = machine.energy_joules(), time.monotonic()
    logits = {
        part: answer(network, squares.squares(material.parts[part], setting.architecture.resize))
        for part in ("val", "test")
    }
    temperature = material.temperature(logits["val"])
    scored = {part: material.scored(logits[part], temperature, part) for part in logits if material.parts[part]}
    metrics = {part: score(answers, setting.seed) for part, answers in scored.items()}
    path = folder / "model.onnx"
    shown, source = _proof(network, setting, material, logits["val"])
    verification = network_file.write(
        network, card(setting, metrics, temperature, trained.located), path, [e.photo for e in shown], source, progress
    )
    model = Model(path)
    right = scored["test"].right if "test" in scored else np.zeros(0, bool)
    with replacing(folder / "answers.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, right=right)
    record = TrialRecord(
        architecture=setting.architecture.name,
        regime=setting.regime,
        transfer=setting.transfer,
        seed=setting.seed,
        size=setting.architecture.resize.size,
        recipe=_RECIPE.dump_python(setting.recipe, mode="json"),
        epochs=trained.epochs,
        metrics=metrics,
        parameters=onnx_file.parameters(path),
        bytes=path.stat().st_size,
        milliseconds=model.milliseconds(),
        photos_per_second=_rate(model),
        train_seconds=trained.seconds,
        seconds=trained.seconds + time.monotonic() - ended,
        # The counters wrap.
        energy_joules=joules - energy if joules is not None and energy is not None and joules >= energy else None,
        weights_source=model.card.weights_source,
        weights_licence=model.card.weights_licence,
        verification=verification,
        notes=notes,
    )
    write_text(folder / "trial.json", record.model_dump_json(indent=1))
    checkpoint.unlink(missing_ok=True)
    return record


@dataclass(frozen=True, slots=True)
class Trained:
    """A network after its training.

    Attributes:
        located: the weights that it started from, if any.
        seconds: wall time of its epochs, and of looking at the photos where the body was frozen.
        notes: what the user should know of how it was trained.
    """

    network: Network
    located: Located | None
    epochs: list[Epoch]
    seconds: float
    notes: list[str]


@memory.enough()
def train(
    setting: Setting,
    material: Material,
    accelerator: Accelerator,
    progress: Progress,
    *,
    checkpoint: Path | None = None,
    after_epoch: AfterEpoch = lambda _: None,
) -> Trained:
    """The network of ``setting``, trained on the training photos and chosen on the validation photos.

    It goes on from ``checkpoint`` where there is one, and leaves one after each epoch. Raises TrainingError.
    """
    network, located, notes = start(setting, len(material.classes))
    network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe, rule = setting.recipe, setting.architecture.resize
    truth = material.truth("train")
    began = time.monotonic()
    learning: nn.Module
    judge: loop.Judge
    batches: loop.Batches
    if setting.frozen:
        assert located is not None
        network.body.requires_grad_(requires_grad=False)
        count = FROZEN_VIEWS if recipe.augment != "none" else 1
        seen = views(setting, network, located, material.parts["train"], count, progress)
        shown = views(setting, network, located, material.known("val"), 1, progress)[0]
        learning = network.head
        batches = ViewBatches(seen, truth, batch=recipe.batch, seed=setting.seed, accelerator=accelerator)
        judge = _Judge(lambda head: head(shown.to(accelerator.device)), _known_truth(material, "val"))
    else:
        policy = augment.POLICIES[recipe.augment](rule, recipe.strength)
        photos = squares.squares(material.parts["train"], roomy(rule) if recipe.augment != "none" else rule)
        learning = network
        batches = PhotoBatches(
            photos,
            truth,
            policy,
            size=rule.size,
            batch=recipe.batch,
            seed=setting.seed,
            accelerator=accelerator,
            workers=beside(accelerator.device),
        )
        held_out = squares.squares(material.known("val"), rule)
        judge = _Judge(lambda model: torch.from_numpy(answer(model, held_out)), _known_truth(material, "val"))
    looked = time.monotonic() - began
    epochs = loop.fit(
        learning,
        batches,
        judge,
        recipe,
        seed=setting.seed,
        loss=losses.of(recipe),
        accelerator=accelerator,
        progress=progress,
        checkpoint=checkpoint,
        body=[network.body] if setting.transfer == "full" else (),
        after_epoch=after_epoch,
    )
    seconds = sum(epoch.seconds for epoch in epochs) + (looked if setting.frozen else 0.0)
    return Trained(network.eval(), located, epochs, seconds, notes)


def start(setting: Setting, classes: int) -> tuple[Network, Located | None, list[str]]:
    """The network before its training, the weights that it has, and what the user should know."""
    architecture, recipe, notes = setting.architecture, setting.recipe, []
    auxiliary = architecture.model == "inception_v3" and not setting.frozen
    if auxiliary and architecture.resize.size < AUXILIARY_SIZE:
        auxiliary = False
        notes.append(f"trained without its second classifier, which needs photos of {AUXILIARY_SIZE} pixels")
    network = networks.build(
        architecture,
        classes,
        Top(recipe.head_layers, recipe.dropout, recipe.activation or "relu"),
        setting.seed,
        # A frozen body's weights were learnt with its own.
        activation="" if setting.frozen else recipe.activation,
        auxiliary=auxiliary,
    )
    if not REGIMES[setting.regime].weights:
        return network, None, notes
    located = weights.require(architecture)
    networks.load(network, weights.read(architecture, located), str(located.path))
    return network, located, notes


class _Judge:
    """Loss and accuracy on validation photos of known class."""

    def __init__(self, logits: Callable[[nn.Module], Tensor], truth: Sequence[int]) -> None:
        self._logits, self._truth = logits, torch.tensor(truth)

    def __call__(self, model: nn.Module) -> tuple[float, float] | None:
        if not len(self._truth):
            return None
        logits = self._logits(model).cpu()
        loss = functional.cross_entropy(logits, self._truth).item()
        return loss, (logits.argmax(dim=1) == self._truth).float().mean().item()


def _known_truth(material: Material, part: str) -> list[int]:
    return [number for number in material.truth(part) if number >= 0]


def _proof(
    network: Network, setting: Setting, material: Material, val_logits: Scores
) -> tuple[list[Entry], npt.NDArray[np.float32]]:
    """The photos that the file is verified on, and the network's own logits."""
    if material.parts["val"]:
        return material.parts["val"], val_logits
    shown = material.parts["train"][:VERIFIED]
    return shown, answer(network, squares.squares(shown, setting.architecture.resize))


def _rate(model: Model) -> float:
    """Photos a second of the model file on all cores, on ready photos."""
    size = model.card.resize.size
    batch = np.random.default_rng(0).integers(0, 256, (_RATE_BATCH, size, size, 3), np.uint8)
    model.scores(batch)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < RATE_SECONDS:
        model.scores(batch)
        done += _RATE_BATCH
    return done / (time.perf_counter() - began)
