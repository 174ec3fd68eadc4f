"""The losses, against values worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from kramar.config import SCALINGS
from kramar.errors import InputError
from kramar.training import losses
from kramar.training.losses import Taught
from kramar.training.recipe import Recipe

# Two photos of three classes: the student's logits z, the teacher's logits t, the classes.
Z = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0]])
T = torch.tensor([[1.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
Y = torch.tensor([0, 2])
TAUGHT = Taught(Y, T)


def softmax(values: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def by_hand(temperature: float, weight: float, teacher_temperature: float, factor: float) -> list[float]:
    found = []
    for z, t, y in zip(Z.tolist(), T.tolist(), Y.tolist(), strict=True):
        p, a, hard = softmax(t, teacher_temperature), softmax(z, temperature), softmax(z)
        soft = -sum(p[j] * math.log(a[j]) for j in range(3))
        found.append(factor * soft - weight * math.log(hard[y]))
    return found


@pytest.mark.parametrize(("temperature", "weight"), [(1, 0), (2, 0.3), (5, 0.9)])
def test_the_thesis_s_loss_softens_the_student_alone_and_has_no_factor(temperature: float, weight: float) -> None:
    found = losses.thesis(temperature, weight)(Z, TAUGHT)
    assert found.tolist() == pytest.approx(by_hand(temperature, weight, 1.0, 1.0), rel=1e-5)


@pytest.mark.parametrize(("temperature", "weight"), [(1, 0), (2, 0.3), (5, 0.9)])
def test_hinton_s_loss_softens_both_and_has_t_squared(temperature: float, weight: float) -> None:
    found = losses.hinton(temperature, weight)(Z, TAUGHT)
    assert found.tolist() == pytest.approx(by_hand(temperature, weight, temperature, temperature**2), rel=1e-5)


def test_one_number_of_the_thesis_s_loss_worked_out_on_paper() -> None:
    # p = (1/2, 1/2), z = (ln 9, 0), T = 2: a(2) = (3/4, 1/4), a(1) = (9/10, 1/10).
    out = torch.tensor([[math.log(9), 0.0]])
    told = Taught(torch.tensor([0]), torch.tensor([[0.0, 0.0]]))
    expected = -0.5 * math.log(0.75) - 0.5 * math.log(0.25) - 0.3 * math.log(0.9)
    assert losses.thesis(2, 0.3)(out, told).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_student_s_second_classifier_is_taught_as_well(scaling: str) -> None:
    criterion = losses.scaling(scaling)(2, 0.3)
    found = criterion((Z, 2 * Z), TAUGHT)
    assert torch.allclose(found, criterion(Z, TAUGHT) + losses.AUXILIARY_SHARE * criterion(2 * Z, TAUGHT))


def test_at_temperature_one_both_are_the_same() -> None:
    assert torch.allclose(losses.thesis(1, 0.4)(Z, TAUGHT), losses.hinton(1, 0.4)(Z, TAUGHT))


def test_t_squared_keeps_the_soft_gradient_s_size() -> None:
    """Hinton's section 2.1: for large T the soft gradient is that of matching centred logits, over the classes."""

    def gradient(temperature: float) -> Tensor:
        out = Z.clone().requires_grad_()
        losses.hinton(temperature, 0)(out, TAUGHT).sum().backward()
        assert out.grad is not None
        return out.grad

    centred = (Z - Z.mean(1, keepdim=True)) - (T - T.mean(1, keepdim=True))
    assert torch.allclose(gradient(500.0), centred / 3, atol=2e-3)


def test_the_thesis_s_minimum_is_where_the_softened_student_says_what_the_teacher_says() -> None:
    """softmax(z / T) = p, so the logits are T times the teacher's: that is what the missing factor and T mean."""
    out = (3.0 * T).requires_grad_()
    losses.thesis(3.0, 0)(out, TAUGHT).sum().backward()
    assert out.grad is not None
    assert float(out.grad.abs().max()) < 1e-6


def test_dist_asks_for_the_teacher_s_order_not_its_numbers() -> None:
    dist = losses.dist(1.0, 0.0)
    assert float(dist(T, TAUGHT).abs().max()) < 1e-5
    assert float(dist(Z, TAUGHT).min()) > 0
    # By hand: Pearson's correlation of two rows of probabilities.
    a, b = (torch.tensor(softmax(row)) for row in (Z[0].tolist(), T[0].tolist()))
    a, b = a - a.mean(), b - b.mean()
    between = 1 - float((a @ b) / (a.norm() * b.norm()))
    ours, theirs = Z.softmax(1), T.softmax(1)
    columns = [torch.corrcoef(torch.stack([ours[:, j], theirs[:, j]]))[0, 1] for j in range(3)]
    within = 1 - float(torch.stack(columns).mean())
    assert dist(Z, TAUGHT)[0].item() == pytest.approx(between + within, rel=1e-4)


def test_cross_entropy_is_torch_s_own() -> None:
    expected = nn.functional.cross_entropy(Z, Y, label_smoothing=0.1, reduction="none")
    assert torch.equal(losses.cross_entropy(0.1)(Z, Y), expected)


@pytest.mark.parametrize("name", SCALINGS)
def test_every_scaling_is_found_by_its_name_and_takes_a_step(name: str) -> None:
    model = nn.Linear(4, 3)
    loss = losses.of(Recipe(), losses.scaling(name)(2.0, 0.3))
    loss(model, torch.randn(2, 4), TAUGHT).backward()
    assert model.weight.grad is not None
    assert bool(torch.isfinite(model.weight.grad).all())
    assert float(model.weight.grad.abs().max()) > 0


def test_an_unknown_scaling_is_an_input_error() -> None:
    with pytest.raises(InputError, match="--scaling: expected thesis, hinton, dist, found 'kd'"):
        losses.scaling("kd")


def test_mixup_is_the_criterion_of_the_mixed_target() -> None:
    torch.manual_seed(0)
    inputs, truth = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(1)
    found = losses.of(Recipe(mixup=0.4, label_smoothing=0.0))(nn.Identity(), inputs, truth)
    torch.manual_seed(1)
    mixed, other, share = losses.mix(inputs, 0.4, 0.0)
    target = share[:, None] * nn.functional.one_hot(truth, 3) + (1 - share[:, None]) * nn.functional.one_hot(
        truth[other], 3
    )
    assert found.item() == pytest.approx(nn.functional.cross_entropy(mixed, target).item(), rel=1e-5)
    assert bool((share >= 0.5).all())
    assert torch.allclose(mixed, share[:, None] * inputs + (1 - share[:, None]) * inputs[other])


def test_cutmix_keeps_the_share_of_pixels_that_it_says() -> None:
    torch.manual_seed(3)
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 16, 16, 3).clone()
    mixed, other, share = losses.mix(images, 0.0, 1.0)
    for place in range(4):
        if other[place] == place:
            continue
        own = float((mixed[place] == place).float().mean())
        assert own == pytest.approx(float(share[place]), abs=1e-6)
        assert set(mixed[place].unique().tolist()) <= {place, int(other[place])}
    assert mixed.dtype == torch.uint8


def test_mixed_teaching_mixes_the_teacher_s_word_too() -> None:
    torch.manual_seed(1)
    found = losses.of(Recipe(mixup=0.4), losses.hinton(1.0, 0.0))(nn.Identity(), Z, TAUGHT)
    torch.manual_seed(1)
    mixed, other, share = losses.mix(Z, 0.4, 0.0)
    p = share[:, None] * T.softmax(1) + (1 - share[:, None]) * T[other].softmax(1)
    assert found.item() == pytest.approx(-(p * mixed.log_softmax(1)).sum(1).mean().item(), rel=1e-5)
