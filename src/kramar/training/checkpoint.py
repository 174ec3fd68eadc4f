"""What a training that was killed goes on from: one file, whole or absent, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from kramar.files import output_error, replacing
from kramar.records import Epoch

_EPOCHS = TypeAdapter(list[Epoch])


class Checkpoint:
    """The state of a training: weights, their average, the best so far, the optimiser, and all epochs."""

    def __init__(
        self,
        path: Path | None,
        model: nn.Module,
        average: AveragedModel | None,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
    ) -> None:
        """A moving ``average`` of ``model``, where there is one, is what is kept. ``path`` None writes nothing."""
        self._path, self._model, self._average = path, model, average
        self._optimiser, self._schedule = optimiser, schedule
        self._best: dict[str, Tensor] = {}
        self.epochs: list[Epoch] = []

    @property
    def since_best(self) -> int:
        """Epochs since the one of the lowest validation loss; without validation, the last is the best."""
        losses = [epoch.val_loss for epoch in self.epochs if epoch.val_loss is not None]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def add(self, epoch: Epoch) -> None:
        """Take note of an epoch that has just been judged."""
        self.epochs.append(epoch)
        if self.since_best == 0 or not self._best:
            kept = self._average.module if self._average is not None else self._model
            self._best = {name: value.detach().cpu().clone() for name, value in kept.state_dict().items()}

    def load_best(self) -> None:
        """Give the model the best weights there were, if it was judged at all."""
        if self._best:
            self._model.load_state_dict(self._best)

    def save(self) -> None:
        """Write everything. Raises OutputError."""
        if self._path is None:
            return
        tensors = {f"model/{name}": value for name, value in self._model.state_dict().items()}
        if self._average is not None:
            tensors |= {f"average/{name}": value for name, value in self._average.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in self._best.items()}
        numbers: dict[str, Any] = {}
        for index, values in self._optimiser.state_dict()["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser/{index}/{name}"] = value
                elif value is not None:
                    numbers[f"{index}/{name}"] = value
        metadata = {
            "epochs": _EPOCHS.dump_json(self.epochs).decode(),
            "step": str(self._schedule.last_epoch),
            "numbers": json.dumps(numbers),
        }
        try:
            with replacing(self._path) as temporary:
                save_file({name: value.contiguous().clone() for name, value in tensors.items()}, temporary, metadata)
        except OSError as error:
            raise output_error(self._path, error) from error

    def restore(self) -> None:
        """Go back to what was written, where something was."""
        if self._path is None or not self._path.is_file():
            return
        with safe_open(self._path, "pt") as file:
            metadata = file.metadata()
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "best": {}, "optimiser": {}}
            for key in file.keys():  # noqa: SIM118  (it is no mapping)
                part, _, name = key.partition("/")
                parts[part][name] = file.get_tensor(key)
        self._model.load_state_dict(parts["model"])
        if self._average is not None:
            self._average.load_state_dict(parts["average"])
        self._best = parts["best"]
        self.epochs = _EPOCHS.validate_json(metadata["epochs"])
        state: dict[int, dict[str, Any]] = {}
        learnt = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        for key, value in parts["optimiser"].items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = _laid_out(value, learnt[int(index)])
        for key, number in json.loads(metadata["numbers"]).items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = number
        step = int(metadata["step"])
        self._optimiser.load_state_dict(self._optimiser.state_dict() | {"state": state})
        self._schedule.last_epoch = step
        for group, base, share in zip(
            self._optimiser.param_groups, self._schedule.base_lrs, self._schedule.lr_lambdas, strict=True
        ):
            group["lr"] = base * share(step)


def _laid_out(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """``value`` in memory as ``parameter`` is, whose strides fused optimisers take for granted."""
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.shape == parameter.shape else value
