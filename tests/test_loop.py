"""The training loop: it learns, keeps its best weights, and a killed training ends as one that was not."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

from kramar.models import networks
from kramar.models.architectures import find
from kramar.models.networks import Network, Top
from kramar.progress import Silent
from kramar.records import Epoch
from kramar.training import loop, losses, memory
from kramar.training.augment import POLICIES, draw
from kramar.training.climb import EndedError
from kramar.training.photos import PhotoBatches, Shuffled
from kramar.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

ARCHITECTURE = find("convnet:depth=2:width=8@16")
TRUTH = [number % 3 for number in range(48)]


class Photos:
    """Squares whose colour tells their class."""

    def __len__(self) -> int:
        return len(TRUTH)

    def __getitem__(self, index: int) -> np.ndarray:
        square = np.random.default_rng(index).integers(0, 90, (16, 16, 3), dtype=np.uint8)
        square[..., TRUTH[index]] += 120
        return square


class KilledError(Exception):
    """Stands for a kill between two epochs."""


def trained(
    recipe: Recipe,
    checkpoint: Path | None = None,
    die_after: int | None = None,
    judged: Sequence[float] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Network, list[Epoch]]:
    network = networks.build(ARCHITECTURE, 3, Top(dropout=0.2), seed=3)
    network.to(memory_format=torch.channels_last)
    accelerator = Accelerator(cpu=True)
    batches = PhotoBatches(
        Photos(),
        TRUTH,
        POLICIES[recipe.augment](ARCHITECTURE.resize, 0.5),
        size=16,
        batch=recipe.batch,
        seed=3,
        accelerator=accelerator,
    )
    images = torch.from_numpy(np.stack([Photos()[i] for i in range(24)]))
    given = iter(judged or [])

    def judge(model: nn.Module) -> tuple[float, float]:
        logits = model(images)
        loss = nn.functional.cross_entropy(logits, torch.tensor(TRUTH[:24])).item()
        return next(given, loss), (logits.argmax(1) == torch.tensor(TRUTH[:24])).float().mean().item()

    def after(epochs: Sequence[Epoch]) -> None:
        if len(epochs) == die_after:
            raise KilledError

    epochs = loop.fit(
        network,
        batches,
        judge,
        recipe,
        seed=3,
        loss=losses.of(recipe),
        accelerator=accelerator,
        progress=Silent(),
        checkpoint=checkpoint,
        after_epoch=after,
        stopped=stopped,
    )
    return network, epochs


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimiser_learns(optimiser: str) -> None:
    _, epochs = trained(Recipe(epochs=8, batch=8, optimiser=optimiser, learning_rate=3e-3))
    assert epochs[-1].train_loss < epochs[0].train_loss
    assert max(epoch.val_accuracy or 0 for epoch in epochs) > 0.8


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_training_ends_with_the_same_weights(optimiser: str, ema: float, tmp_path: Path) -> None:
    recipe = Recipe(epochs=5, batch=8, optimiser=optimiser, ema=ema, augment="trivial")
    whole, epochs = trained(recipe)
    for kill in (1, 3):
        with pytest.raises(KilledError):
            trained(recipe, tmp_path / f"{kill}.safetensors", die_after=kill)
        resumed, again = trained(recipe, tmp_path / f"{kill}.safetensors")
        assert [epoch.model_copy(update={"seconds": 0}) for epoch in again] == [
            epoch.model_copy(update={"seconds": 0}) for epoch in epochs
        ]
        assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in weights(whole).items())


def test_the_weights_of_the_lowest_validation_loss_are_kept(tmp_path: Path) -> None:
    recipe = Recipe(epochs=4, batch=8)
    best, _ = trained(recipe, judged=[3.0, 1.0, 2.0, 2.5])
    path = tmp_path / "training.safetensors"
    with pytest.raises(KilledError):
        trained(recipe, path, die_after=2, judged=[3.0, 1.0])
    # The checkpoint's best is the second epoch's: no epoch is left to be better.
    second, epochs = trained(Recipe(epochs=2, batch=8), path)
    assert len(epochs) == 2
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in weights(best).items())


def test_after_a_training_in_mixed_precision_a_network_computes_in_float32() -> None:
    network = networks.build(ARCHITECTURE, 3, Top(), seed=3)
    images = torch.from_numpy(np.stack([Photos()[i] for i in range(24)]))
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        accelerator = Accelerator(cpu=True, mixed_precision="bf16")
        recipe = Recipe(epochs=1, batch=8)
        policy = POLICIES["none"](ARCHITECTURE.resize, 0.0)
        batches = PhotoBatches(Photos(), TRUTH, policy, size=16, batch=8, seed=3, accelerator=accelerator)
        loss = losses.of(recipe)
        loop.fit(network, batches, loop.unjudged, recipe, seed=3, loss=loss, accelerator=accelerator, progress=Silent())
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), Network.forward(network, images))


@pytest.mark.parametrize("kind", ["classes", "taught"])
def test_a_batch_in_parts_is_the_same_step(kind: str) -> None:
    seen: list[int] = []

    class Few(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(len(inputs))
            return super().forward(inputs)

    class One:
        def __len__(self) -> int:
            return 1

        def epoch(self, number: int) -> list[tuple[Tensor, losses.Target]]:
            drawn = torch.Generator().manual_seed(number)
            truth = torch.arange(10) % 3
            told = losses.Taught(truth, torch.randn(10, 3, generator=drawn)) if kind == "taught" else truth
            return [(torch.randn(10, 4, generator=drawn), told)]

    recipe = Recipe(epochs=3, optimiser="sgd", learning_rate=0.5)
    criterion = losses.thesis(2.0, 0.3) if kind == "taught" else None
    found = []
    for at_once in (None, 4):
        torch.manual_seed(0)
        model = Few(4, 3)
        epochs = loop.fit(
            model,
            One(),
            loop.unjudged,
            recipe,
            seed=0,
            loss=losses.of(recipe, criterion),
            accelerator=Accelerator(cpu=True),
            progress=Silent(),
            at_once=at_once,
        )
        found.append((model.weight.detach().clone(), [one.train_loss for one in epochs]))
    assert seen == [10] * 3 + [4, 3, 3] * 3
    torch.testing.assert_close(found[1][0], found[0][0])
    assert found[1][1] == pytest.approx(found[0][1])


def test_patience_ends_training() -> None:
    _, epochs = trained(Recipe(epochs=9, batch=8, patience=2), judged=[1.0, 2.0, 3.0, 0.5])
    assert len(epochs) == 3


def test_training_leaves_torch_s_own_draws_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(Recipe(epochs=1, batch=8, augment="shift"))
    assert torch.equal(torch.rand(3), expected)


def test_biases_and_norms_do_not_decay_and_the_body_learns_slower() -> None:
    network = networks.build(ARCHITECTURE, 3, Top(), 0)
    recipe = Recipe(learning_rate=0.1, body_rate=0.25, weight_decay=0.3)
    groups = loop.build_optimiser(network, recipe, [network.body]).param_groups
    assert {(group["params"][0].ndim > 1, group["lr"], group["weight_decay"]) for group in groups} == {
        (True, 0.025, 0.3),
        (False, 0.025, 0.0),
        (True, 0.1, 0.3),
        (False, 0.1, 0.0),
    }
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_relative_rates_are_shares_of_each_tensor_s_own_size_and_of_what_its_outputs_sum() -> None:
    network = networks.build(ARCHITECTURE, 3, Top(), 0)
    with torch.no_grad():
        first, last = network.body.layers.blocks[0][0].weight, network.head[-1].bias  # type: ignore[union-attr,index]
        first.fill_(0.5)
        last.fill_(0.0)
    recipe = Recipe(learning_rate=0.01, body_rate=0.5, relative=True)
    rates = {
        id(parameter): group["lr"]
        for group in loop.build_optimiser(network, recipe, [network.body]).param_groups
        for parameter in group["params"]
    }
    assert rates[id(first)] == pytest.approx(0.01 * 0.5 * 0.5 / 27**0.5)
    assert rates[id(last)] == pytest.approx(0.01 * 1e-4)
    assert len(rates) == len(list(network.parameters()))


def test_each_stage_learns_at_a_share_of_the_one_above() -> None:
    network = networks.build(find("convnet:depth=3:width=8@16"), 3, Top(), 0)
    blocks = list(network.body.layers.blocks)  # type: ignore[union-attr,arg-type]
    recipe = Recipe(learning_rate=1.0, body_rate=0.5, stage_rate=0.1)
    groups = loop.build_optimiser(network, recipe, blocks).param_groups
    assert sorted({group["lr"] for group in groups}) == pytest.approx([0.005, 0.05, 0.5, 1.0])


def test_training_that_is_stopped_judges_what_it_has(tmp_path: Path) -> None:
    asked, checkpoint = iter([False] * 9 + [True] * 99), tmp_path / "training.safetensors"
    _, epochs = trained(Recipe(epochs=5, batch=8), checkpoint, judged=[1.0] * 2, stopped=lambda: next(asked))
    # Six steps an epoch, and the question once before each: it ends in the second.
    assert [one.share for one in epochs] == [1, 2 / 6]
    assert loop.done(epochs) == 1 + 2 / 6
    assert epochs[-1].val_loss == 1.0
    # Who goes on later has that epoch from its beginning.
    with safe_open(checkpoint, "pt") as file:
        assert len(json.loads(file.metadata()["epochs"])) == 1


def test_training_that_is_stopped_before_its_first_step_leaves_nothing_to_keep() -> None:
    with pytest.raises(EndedError):
        trained(Recipe(epochs=5, batch=8), stopped=lambda: True)


def test_processes_share_an_epoch_without_overlap() -> None:
    shares = [[index for _, batch in Shuffled(50, 4, 7, rank, 3) for index in batch] for rank in range(3)]
    assert [len(share) for share in shares] == [16, 16, 16]
    assert len({index for share in shares for index in share}) == 48


def test_the_order_changes_with_the_epoch_and_not_with_anything_else() -> None:
    sampler = Shuffled(20, 5, 1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.epoch = 1
    assert [batch for _, batch in sampler] != [batch for _, batch in first]


def test_short_epochs_show_all_photos_before_any_of_them_again() -> None:
    sampler, seen = Shuffled(20, 5, 1, most=11), []
    assert len(sampler) == 2
    for sampler.epoch in range(4):
        seen += [index for _, batch in sampler for index in batch]
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]
    # One that reaches beyond the end of a round goes on in the next.
    longer = Shuffled(20, 5, 1, most=15)
    longer.epoch = 1
    assert [index for _, batch in longer for index in batch] == seen[15:30]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_every_policy_keeps_size_and_type(policy: str, strength: float) -> None:
    photo = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    changed = POLICIES[policy](ARCHITECTURE.resize, strength)(photo)
    assert (changed.shape, changed.dtype) == ((3, 16, 16), torch.uint8)


@pytest.mark.parametrize("policy", POLICIES)
def test_networks_of_different_sizes_see_the_same_part_of_a_photo(policy: str) -> None:
    across = np.linspace(0, 255, 96, dtype=np.uint8)
    photo = np.stack(np.broadcast_arrays(across[:, None], across[None], np.uint8(90)), axis=-1)

    def seen(size: int, key: str) -> npt.NDArray[np.float64]:
        ready = np.array(Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR))
        rule = ARCHITECTURE.resize.model_copy(update={"size": size})
        view = draw(POLICIES[policy](rule, 0.8), ready, key, 1)
        return np.asarray(Image.fromarray(view).resize((24, 24), Image.Resampling.BOX), np.float64)

    apart = [np.abs(seen(48, key) - seen(96, key)).mean() for key in (f"{n:015x}" for n in range(60))]
    assert np.mean(apart) < 4
    assert max(apart) < 12


def test_what_a_model_keeps_of_photos_is_counted_without_its_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert memory.kept(model, torch.zeros(5, 4)) == 4 * 5 * (4 + 8)
