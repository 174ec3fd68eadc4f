"""The last stages of a network, trained on what the first ones, which stay as they are, have made of photos."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kramar.data.store import let_go
from kramar.models.networks import Network
from kramar.models.staged import Staged
from kramar.runtime.session import Scores
from kramar.training.losses import Loss, Target, Taught
from kramar.training.photos import Shuffled

PROBE_SECONDS = 2.0
_WARM_STEPS = 2
_LET_GO_EVERY = 2
# From a photo's place among those trained on and the view's number to what the loss is told, a batch at a time.
Targets = Callable[[Sequence[int], Sequence[int]], Target]


class Tail(nn.Module):
    """A network from a cut on: maps ``[N, c, h, w]`` to logits ``[N, C]``.

    Embeddings have a large mean, which all photos share. Adam's first steps, as large in each direction, would move all
    logits along it and drown what tells classes apart; so it learns on embeddings less ``centre``, which the layer's
    bias makes good until `settle`.
    """

    def __init__(self, network: Network, cut: int, centre: Tensor | None = None) -> None:
        """What is beyond ``cut`` learns; the stages before it stay as they are, and are not part of this.

        ``centre``, ``[D]``: what embeddings are less of; nothing by default.
        """
        super().__init__()
        assert isinstance(network.body, Staged)
        self.stages = network.body.stages[cut:]
        self.head = network.head
        # Not a submodule: what comes before the cut is neither trained nor kept in checkpoints.
        self._joint = network.body.joint
        self.centre = nn.Buffer(torch.zeros(network.body.width) if centre is None else centre, persistent=False)
        with torch.no_grad():
            self.layer.bias.add_(self.layer.weight @ self.centre.to(self.layer.weight))

    @property
    def layer(self) -> nn.Linear:
        """The layer that the classes come from."""
        layer = list(self.head.children())[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def settle(self) -> None:
        """Leave the network's own layer as it is for embeddings as they are; this module is done with."""
        with torch.no_grad():
            self.layer.bias.sub_(self.layer.weight @ self.centre)
            self.centre.zero_()

    def forward(self, maps: Tensor) -> Tensor:
        """Logits ``[N, C]``."""
        seen, found = maps, []
        for stage in self.stages:
            seen = stage(seen)
            found.append(seen)
        logits: Tensor = self.head(self._joint(found)[1] - self.centre)
        return logits


class DrawnBatches:
    """Views of photos that were drawn before, batch by batch; an epoch shows each photo once, in a view of chance."""

    def __init__(
        self,
        views: Sequence[tuple[npt.NDArray[Any], Sequence[int]]],
        targets: Targets,
        *,
        batch: int,
        seed: int,
        accelerator: Accelerator,
        most: int | None = None,
    ) -> None:
        """``views``: rows of each view and where in them each photo's is; ``most`` photos an epoch, if not all.

        Rows are maps, float16 ``[h, w, c]``, or pixels, uint8 ``[S, S, 3]``.
        """
        self._views, self._targets, self._seed = views, targets, seed
        self._device = accelerator.device
        self._photos = len(views[0][1])
        self._sampler = Shuffled(self._photos, batch, seed, accelerator.process_index, accelerator.num_processes, most)

    def __len__(self) -> int:
        return len(self._sampler)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Target]]:
        """Maps ``[B, c, h, w]``, channels last in memory, or pixels ``[B, S, S, 3]``; and what the loss is told."""
        drawn = np.random.default_rng([self._seed, number, 1]).integers(0, len(self._views), self._photos)
        self._sampler.epoch = number
        for step, (_, indices) in enumerate(self._sampler):
            if step % _LET_GO_EVERY == 0:
                for rows_of_view, _ in self._views:
                    let_go(rows_of_view)
            shown = [int(drawn[index]) for index in indices]
            rows = [self._views[view][0][self._views[view][1][i]] for view, i in zip(shown, indices, strict=True)]
            inputs = torch.from_numpy(np.stack(rows)).to(self._device)
            if inputs.dtype == torch.float16:
                inputs = inputs.float().permute(0, 3, 1, 2)
            yield inputs, self._targets(indices, shown)


def labels(truth: Sequence[int], device: torch.device) -> Targets:
    """The loss is told the photos' classes."""
    known = torch.tensor(truth, device=device)
    return lambda indices, _views: known[list(indices)]


def taught(truth: Sequence[int], said: Sequence[Scores], device: torch.device) -> Targets:
    """The loss is told the photos' classes, and the teacher's logits ``[N, C]`` of the view that is shown."""
    known = torch.tensor(truth, device=device)
    logits = torch.from_numpy(np.stack(said)).to(device)
    return lambda indices, views: Taught(known[list(indices)], logits[list(views), list(indices)])


def speed(learner: nn.Module, inputs: Tensor, target: Target, loss: Loss, seconds: float | None = None) -> float:
    """Photos a second of training steps on this batch, in about ``seconds``; the weights are as before afterwards."""
    seconds = PROBE_SECONDS if seconds is None else seconds
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-6, fused=True)
    learner.train()
    began, steps = 0.0, 0
    while True:
        if steps == _WARM_STEPS:
            began = time.perf_counter()
        torch.autograd.backward(loss(learner, inputs, target))
        optimiser.step()
        optimiser.zero_grad()
        steps += 1
        if steps > _WARM_STEPS and time.perf_counter() - began > seconds:
            break
    took = time.perf_counter() - began
    learner.load_state_dict(before)
    learner.eval()
    return (steps - _WARM_STEPS) * len(inputs) / took
