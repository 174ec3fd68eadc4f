"""The training loop. Regimes, tuning and distillation vary what is passed in; there is no other loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from kramar.errors import TrainingError
from kramar.progress import Progress
from kramar.records import Epoch
from kramar.training import memory
from kramar.training.checkpoint import Checkpoint
from kramar.training.climb import EndedError
from kramar.training.losses import Loss, Target, Taught
from kramar.training.recipe import Recipe
from kramar.training.seeds import derived

# What a bias counts as, where rates are relative: an output is the sum of so many numbers.
_BIAS_SUMS = 256


class Batches(Protocol):
    """Training photos, the same for the same epoch number."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, number: int) -> Iterable[tuple[Tensor, Target]]:
        """Inputs ``[B, ...]`` of each batch, and what the loss is told of them: classes ``[B]``, most often."""
        ...


class Judge(Protocol):
    """Log loss in nats and accuracy of a model on the validation photos, if there are any."""

    def __call__(self, model: nn.Module) -> tuple[float, float] | None:
        """Both of ``model``, which is in evaluation mode."""
        ...


def unjudged(model: nn.Module) -> None:
    """A judge that does not look: the last epoch's weights are kept."""


@memory.enough()
def fit(
    model: nn.Module,
    batches: Batches,
    judge: Judge,
    recipe: Recipe,
    *,
    seed: int,
    loss: Loss,
    accelerator: Accelerator,
    progress: Progress,
    checkpoint: Path | None = None,
    body: Sequence[nn.Module] = (),
    at_once: int | None = None,
    after_epoch: Callable[[Sequence[Epoch]], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Epoch]:
    """Train ``model`` in place, and leave it with the weights of its lowest validation loss.

    Args:
        model: goes from a batch's inputs to logits ``[B, C]``.
        batches: what it learns from.
        judge: what decides between epochs.
        recipe: all numbers.
        seed: of dropout; ``batches`` have their own.
        loss: what a step lowers.
        accelerator: devices, precision and processes.
        progress: who listens.
        checkpoint: a file to go on from, where it is there, and to write after each epoch: a killed training that
            goes on from it ends with the weights of one that was not killed.
        body: the stages of ``model`` that came with weights, the lowest first: the last learns at
            ``recipe.body_rate`` of the rate, each other at ``recipe.stage_rate`` of the one above it.
        at_once: photos that go through ``model`` together at most. A larger batch goes in equal parts, whose gradients
            add up to the same step where photos do not depend on each other: mixtures are of one part, and batch
            normalisation that learns sees one part.
        after_epoch: called after each epoch with all epochs; what it raises ends the training.
        stopped: asked after each step; once it says so, the epoch ends there, is judged, and is the last. The
            checkpoint is without it: who goes on from that has the whole epoch.

    Returns:
        One record an epoch. Raises EndedError where ``stopped`` says so before the first step, and TrainingError.
    """
    optimiser = build_optimiser(model, recipe, body)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _cosine(recipe, len(batches)))
    with (
        _prepared(accelerator, model, optimiser) as (running, stepping),
        torch.random.fork_rng(),
        progress.stage("Training", recipe.epochs * len(batches)) as advance,
    ):
        average = _average(model, recipe.ema)
        judged: nn.Module = average.module if average is not None else model
        state = Checkpoint(checkpoint, model, average, optimiser, schedule)
        state.restore()
        advance(len(state.epochs) * len(batches))
        for number in range(len(state.epochs), recipe.epochs):
            if stopped() or (recipe.patience and state.since_best >= recipe.patience):
                break
            start = time.monotonic()
            torch.manual_seed(derived(seed, number))
            running.train()
            sums = torch.zeros(2, device=accelerator.device)
            steps, is_cut = 0, False
            for inputs, target in batches.epoch(number):
                for some, told in _parts(inputs, target, at_once):
                    with accelerator.autocast():
                        value = loss(running, some, told) * (len(some) / len(inputs))
                    accelerator.backward(value)
                    sums += torch.stack([value.detach() * len(inputs), sums.new_tensor(len(some))])
                stepping.step()
                schedule.step()
                stepping.zero_grad()
                if average is not None:
                    average.update_parameters(model)
                advance(1)
                steps += 1
                is_cut = stopped()
                if is_cut:
                    break
            total, seen = accelerator.reduce(sums, "sum").tolist()
            judged.eval()
            with torch.inference_mode():
                val_loss, val_accuracy = judge(judged) or (None, None)
            state.add(
                Epoch(
                    number=number,
                    train_loss=total / max(seen, 1),
                    val_loss=val_loss,
                    val_accuracy=val_accuracy,
                    seconds=time.monotonic() - start,
                    share=steps / len(batches),
                )
            )
            # Of a training that has diverged there is nothing to go on from.
            finite = math.isfinite(state.epochs[-1].train_loss)
            if accelerator.is_main_process and not is_cut and finite:
                state.save()
            after_epoch(state.epochs)
            if not finite:
                raise TrainingError(
                    f"after {len(state.epochs)} of {recipe.epochs} epochs its loss is no number any more"
                )
        if recipe.epochs and not state.epochs:
            raise EndedError
        state.load_best()
    return state.epochs


def done(epochs: Sequence[Epoch]) -> float:
    """How many epochs these are; of one that was cut, what was done of it."""
    return sum(one.share for one in epochs)


def _parts(inputs: Tensor, target: Target, at_once: int | None) -> Iterator[tuple[Tensor, Target]]:
    """A batch in equal parts of at most so many photos."""
    count = 1 if at_once is None else math.ceil(len(inputs) / at_once)
    for places in torch.arange(len(inputs)).tensor_split(count):
        part = slice(int(places[0]), int(places[-1]) + 1)
        yield inputs[part], target[part] if isinstance(target, Tensor) else Taught(*(one[part] for one in target))


@contextmanager
def _prepared(
    accelerator: Accelerator, model: nn.Module, optimiser: torch.optim.Optimizer
) -> Iterator[tuple[nn.Module, torch.optim.Optimizer]]:
    """Both as the devices have them; accelerate lets go of them afterwards, or it would keep every one there was, and
    the model would go on computing in mixed precision."""
    try:
        yield accelerator.prepare(model), accelerator.prepare(optimiser)
    finally:
        accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        accelerator.free_memory()


def build_optimiser(model: nn.Module, recipe: Recipe, body: Sequence[nn.Module] = ()) -> torch.optim.Optimizer:
    """The recipe's optimiser for all of ``model``; biases and normalisation layers do not decay.

    ``body`` are the stages that came with weights, the lowest first. Where the recipe's rates are relative, a tensor's
    is a share of its own size (`_scale`; after You et al. 2017, LARS). Adam's steps are as large as the rate,
    whatever they change; and where batch normalisation was folded into convolutions, one tensor's numbers may be
    thirty times another's.
    """
    top = len(body) - 1
    shares = {
        id(parameter): recipe.body_rate * recipe.stage_rate ** (top - place)
        for place, stage in enumerate(body)
        for parameter in stage.parameters()
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            share = shares.get(id(parameter), 1.0) * (_scale(parameter) if recipe.relative else 1.0)
            groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    rate = recipe.learning_rate
    options: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": rate * share,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (share, decays), parameters in groups.items()
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(options, lr=rate, momentum=0.9, nesterov=True)
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(options, lr=rate, momentum=0.9)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(options, lr=rate, fused=True)


def _scale(parameter: nn.Parameter) -> float:
    """A tensor's size in relative rates: its root mean square, over the root of how many numbers one output sums.

    That many steps in one direction add up in an output (after Yang et al. 2022, the maximal update). A bias counts as
    one of sixteen squared. Not less than a ten thousandth, or what starts at zero would never move.
    """
    size = float(parameter.detach().float().square().mean().sqrt())
    summed = parameter[0].numel() if parameter.ndim > 1 else _BIAS_SUMS
    return max(1e-4, size / math.sqrt(summed))


def _cosine(recipe: Recipe, steps_an_epoch: int) -> Callable[[int], float]:
    """The share of the highest rate at a step: up in a line, then down half a cosine (Loshchilov and Hutter 2016)."""
    steps = max(1, recipe.epochs * steps_an_epoch)
    rising = max(1, round(recipe.warmup * steps))

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return share


def _average(model: nn.Module, decay: float) -> AveragedModel | None:
    """The moving average of the weights, normalisation statistics included; None for a decay of zero.

    The decay rises with the steps taken, min(decay, (1 + n) / (10 + n)) as in TensorFlow, so that the average of a
    short training has forgotten its start.
    """
    if not decay:
        return None

    def step(averages: list[Tensor], current: list[Tensor], taken: Tensor) -> None:
        share = 1 - min(decay, (1 + taken.item()) / (10 + taken.item()))
        for average, now in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(now.to(average.device), share)
            else:
                average.copy_(now)

    return AveragedModel(model, multi_avg_fn=step, use_buffers=True)  # type: ignore[arg-type]
