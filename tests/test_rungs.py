"""The rungs above the head, one by one, on a small shop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from drawn import Told
from kramar.config import DEFAULT_BACKBONE, TrainConfig, cores
from kramar.data.pixels import median_side
from kramar.decisions.calibration import fit_temperature
from kramar.errors import ExportError
from kramar.exporting import onnx_file, storage
from kramar.jobs.gather import gather
from kramar.models import architectures, backbones, engines, features, maps, squares
from kramar.models.engines import Choice, Converted, Opened
from kramar.models.linear import Linear
from kramar.models.networks import last_layer
from kramar.models.squares import roomy
from kramar.models.store import FeatureStore
from kramar.records import ClassCard, ModelCard
from kramar.runtime.model import Model
from kramar.training import backbone_network, heads, losses, plan
from kramar.training.backbone_network import body_of
from kramar.training.budget import some
from kramar.training.climb import Climbed, Ground, Limits, Step
from kramar.training.device import device
from kramar.training.head import Part, fit_head, fit_taught
from kramar.training.losses import Taught
from kramar.training.material import Material
from kramar.training.recipe import Recipe
from kramar.training.rungs import quantised, student, whole
from kramar.training.rungs import tail as tail_rung
from kramar.training.rungs.distilled import DistilledRung
from kramar.training.rungs.head import HeadRung
from kramar.training.rungs.quantised import QuantisedRung, room
from kramar.training.rungs.student import StudentLearner
from kramar.training.rungs.tail import RECIPE, TailRung, go_back, passes, unsure
from kramar.training.rungs.views import ViewsRung
from kramar.training.rungs.whole import Growing, WholeRung, smaller
from kramar.training.tail import Tail, speed, taught
from kramar.training.teacher import Asking, Teacher
from kramar.training.views import Views
from kramar.version import __version__

BACKBONE = backbones.find(DEFAULT_BACKBONE)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What is measured is measured for moments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kramar.training.tail.PROBE_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def opened(converted: Converted) -> Opened:
    version = engines.importlib.metadata.version("onnxruntime")
    return Opened(BACKBONE, converted, Choice(engine="onnxruntime", version=version, rates={"onnxruntime": 60.0}))


@pytest.fixture(scope="module")
def ground(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    gathered = gather(shop, TrainConfig(), Told())
    material = Material.of(gathered.entries, sorted({entry.label for entry in gathered.entries}))

    def card(**given: Any) -> ModelCard:
        val = given.pop("val")
        return ModelCard(
            kramar=__version__,
            classes=[ClassCard(label=label, category=label) for label in material.classes],
            metrics={"val": val} if val else {},
            data_fingerprint="0",
            seed=0,
            split={},
            weights_source="",
            weights_licence="",
            **given,
        )

    return Ground(
        folder=tmp_path_factory.mktemp("rungs"),
        material=material,
        seed=0,
        progress=Told(),
        elapsed=lambda: 60.0,
        left=lambda: 600.0,
        stopped=lambda: False,
        card=card,
        cache_size=2e9,
        limits=Limits(),
    )


@pytest.fixture(scope="module")
def opener(opened: Opened) -> Callable[[], Opened]:
    return lambda: opened


@pytest.fixture(scope="module")
def head(ground: Ground, opened: Opened) -> Climbed:
    folder = features.store_folder(opened.backbone, opened.converted, opened.choice)
    store = FeatureStore(folder, BACKBONE.width)
    worker = features.Worker(opened.choice, opened.converted, BACKBONE)
    parts = {}
    for part, entries in ground.material.parts.items():
        worker.fill(store, entries, Told())
        truth = np.array(ground.material.truth(part), np.int64)
        parts[part] = Part(store.gather([e.hash for e in entries]), truth, [e.group for e in entries])
    rung = HeadRung(ground, opened.converted.path, BACKBONE.name, BACKBONE.resize, parts)
    return rung.climb(rung.plan(1.0, {}), {})


@pytest.fixture(scope="module")
def tail(ground: Ground, opener: Callable[[], Opened], head: Climbed) -> Climbed:
    rung = TailRung(ground, device(), opener, "")
    planned = rung.plan(300.0, {"head": head})
    assert planned.do
    step = planned.model_copy(update={"numbers": {**planned.numbers, "views": 2, "epochs": 16}})
    return rung.climb(step, {"head": head})


def logits_of(ground: Ground, one: Climbed) -> np.ndarray[Any, Any]:
    model = Model(ground.model_file(one.key))
    entries = ground.material.parts["val"]
    return np.stack([model.logits(model.pixels(entry.photo)[None])[0] for entry in entries])


def test_views_fit_a_head_that_knows_no_less_and_its_file_says_so(
    ground: Ground, opener: Callable[[], Opened], head: Climbed
) -> None:
    rung = ViewsRung(ground, opener)
    step = rung.plan(200.0, {"head": head})
    assert step.do
    assert step.numbers["views"] == 4
    done = rung.climb(step.model_copy(update={"numbers": {"views": 2}}), {"head": head})
    assert "2 views of each photo" in done.how
    assert done.head is not None
    np.testing.assert_allclose(logits_of(ground, done), ground.logits("views"), atol=1e-2)
    assert done.val is not None
    assert done.val.accuracy.value > 0.5
    short = rung.plan(1.0, {})
    assert not short.do
    assert "no time: it takes at least" in short.why


def test_a_head_learns_what_it_is_taught() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 12))
    truth = np.repeat(np.arange(3), 40)
    part = Part(
        (centres[truth] + rng.normal(size=(120, 12)) * 0.7).astype(np.float32), truth, [str(i) for i in range(120)]
    )
    _, how = fit_head(part, part, 3, 0, Told())
    hard = fit_taught(part, np.eye(3)[truth], how, 3)
    soft = fit_taught(part, np.full((120, 3), 1 / 3), how, 3)
    assert (hard(part.embeddings).argmax(axis=1) == truth).mean() > 0.9
    spread = soft(part.embeddings) - soft(part.embeddings).mean(axis=1, keepdims=True)
    assert float(np.abs(spread).max()) < 1e-2
    # scikit-learn's own solution of the same problem.
    from sklearn.linear_model import LogisticRegression

    from kramar.training.head import SHRINKAGE, _Fitter

    fitter = _Fitter(part, 3, SHRINKAGE)
    expected = LogisticRegression(C=how.regularisation, tol=1e-8, max_iter=2000).fit(fitter.white, truth)
    ours = torch.from_numpy(hard(part.embeddings)).softmax(1).numpy()
    np.testing.assert_allclose(ours, expected.predict_proba(fitter.white), atol=5e-3)


def test_the_tail_learns_and_its_file_gives_its_answers(ground: Ground, head: Climbed, tail: Climbed) -> None:
    assert tail.val is not None
    assert head.val is not None
    losses = [epoch.train_loss for epoch in tail.epochs]
    assert len(losses) == 16
    # Each epoch is one step, on photos mixed anew.
    assert np.mean(losses[-4:]) < np.mean(losses[:4]), losses
    assert tail.verification.label_differences == 0
    np.testing.assert_allclose(logits_of(ground, tail), ground.logits("tail"), atol=1e-2)


def test_plans_fit_into_their_time(ground: Ground, opener: Callable[[], Opened]) -> None:
    rung = TailRung(ground, device(), opener)
    for seconds in (30.0, 60.0, 200.0):
        step = rung.plan(seconds, {})
        if step.do:
            assert step.expected <= seconds
            assert step.numbers["views"] >= 1
            assert step.numbers["epochs"] >= 1
    assert not rung.plan(0.5, {}).do


def test_plans_know_of_photos_that_have_to_be_decoded(
    ground: Ground,
    opener: Callable[[], Opened],
    head: Climbed,
    tail: Climbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path))
    slow, small = replace(ground, decode=0.01), architectures.find("convnet:width=32@32")
    climbed = {"head": head, "tail": tail}
    plans: list[Callable[[], Step]] = [
        lambda: ViewsRung(slow, opener).plan(600.0, climbed),
        lambda: TailRung(slow, device(), opener).plan(600.0, climbed),
        lambda: WholeRung(slow, device(), BACKBONE.name, opener).plan(600.0, climbed),
        lambda: StudentLearner(slow, device(), small).plan(600.0, Asking(1000.0)),
        lambda: QuantisedRung(slow).plan(600.0, climbed),
    ]
    for planned in plans:
        step = planned()
        assert not step.do
        assert "no time" in step.why
    both = [*ground.material.parts["train"], *ground.material.parts["val"]]
    for rule in (BACKBONE.resize, small.resize):
        squares.keep(both, rule, Told())
        squares.keep(both, roomy(rule), Told())
    for planned in plans:
        assert planned().do


def test_more_photos_than_the_cache_keeps_are_decoded_for_each_look(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, slow = ground.material.parts["train"], replace(ground, decode=10.0)
    squares.keep(train, BACKBONE.resize, Told())
    assert slow.decoding(train, BACKBONE.resize) == 0
    assert slow.decoding(train, roomy(BACKBONE.resize), again=True) == 0
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path))
    assert slow.decoding(train, BACKBONE.resize) == len(train) / 10 / cores()
    monkeypatch.setattr(squares, "MOST_BYTES", 1000)
    assert slow.decoding(train, BACKBONE.resize) == len(train) / 10
    assert slow.decoding(train, BACKBONE.resize, again=True) == len(train) / 10


def test_a_full_cache_has_room_for_as_many_photos_as_it_says(ground: Ground, opener: Callable[[], Opened]) -> None:
    rung = TailRung(ground, device(), opener)
    views = rung._views(backbone_network.body_of(backbone_network.start(opener().backbone, ground.classes)))
    train, val = (len(ground.material.parts[part]) for part in ("train", "val"))
    # Of each class a share, rounded: together they may be more than were asked for.
    for rows in range(train - 7, train):
        full = replace(ground, cache_size=views.bytes * (rows + val))
        step = TailRung(full, device(), opener).plan(300.0, {})
        assert step.do, step.why
        assert len(some(ground.material.parts["train"], int(step.numbers["photos"]))) <= rows


def test_the_copy_is_made_of_a_network_that_can_be_so_small(
    ground: Ground, head: Climbed, tail: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    larger = "efficientnet_lite2"
    best = {"key": f"tail-{larger}", "backbone": larger, "val": tail.val}
    shutil.copyfile(ground.model_file("tail"), ground.model_file(f"tail-{larger}"))
    worse = tail.model_copy(update={"val": head.val})
    climbed = {"tail": worse, f"tail-{larger}": tail.model_copy(update=best)}
    rung = QuantisedRung(replace(ground, limits=Limits(size=1e5)))
    for shares, key in (
        ({BACKBONE.name: 0.55, larger: None}, "tail"),
        ({BACKBONE.name: 0.55, larger: 0.2}, "tail"),
        ({BACKBONE.name: 0.9, larger: 0.5}, f"tail-{larger}"),
        ({BACKBONE.name: 0.15, larger: 0.1}, "tail"),
    ):
        monkeypatch.setattr(quantised, "room", lambda _, name, found=shares: found[name])
        step = rung.plan(600.0, climbed)
        assert step.models == [key]
        assert step.numbers == {"share": shares[climbed[key].backbone]}
    monkeypatch.setattr(quantised, "room", lambda *_: None)
    assert "share" not in rung.plan(600.0, climbed).numbers


def test_of_many_photos_there_are_as_many_passes(
    ground: Ground, opener: Callable[[], Opened], tail: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = len(ground.material.parts["train"])
    monkeypatch.setattr(whole, "EPOCH_PHOTOS", train // 3)
    step = WholeRung(ground, device(), BACKBONE.name, opener).plan(1e7, {"tail": tail})
    assert step.numbers == {"epochs": whole.MOST_PASSES * train // (train // 3), "gentle": 0.0}


@pytest.mark.gpu
def test_on_a_gpu_rungs_leave_files_that_give_their_answers(
    ground: Ground, opener: Callable[[], Opened], head: Climbed, tmp_path: Path
) -> None:
    """Each compares its file on the CPU with what its network says, before it is kept."""
    there = replace(ground, folder=tmp_path)
    shutil.copyfile(ground.model_file("head"), there.model_file("head"))
    accelerator, climbed = device(), {"head": head}
    assert accelerator.device.type == "cuda"
    for rung in (TailRung(there, accelerator, opener), WholeRung(there, accelerator, BACKBONE.name, opener)):
        step = rung.plan(300.0, climbed)
        numbers = {**step.numbers, "epochs": 2.0}
        climbed[rung.key] = rung.climb(step.model_copy(update={"numbers": numbers}), climbed)
        assert climbed[rung.key].verification.label_differences == 0
    learner = StudentLearner(there, accelerator, architectures.find("convnet:depth=2:width=8@32"))
    step = learner.plan(300.0, Asking(1000.0)).model_copy(update={"numbers": {"views": 1.0, "epochs": 2.0}})
    teacher = Teacher([there.model_file("tail")], RECIPE.augment, RECIPE.strength)
    assert learner.learn(step, "distilled", "distilled", teacher, "tail").verification.label_differences == 0


def test_all_layers_start_from_the_tail_and_move(ground: Ground, opener: Callable[[], Opened], tail: Climbed) -> None:
    rung = WholeRung(ground, device(), BACKBONE.name, opener)
    step = rung.plan(500.0, {"tail": tail})
    assert step.do
    assert (step.start, step.models) == ("tail", [])
    assert step.expected <= 500
    done = rung.climb(step.model_copy(update={"numbers": {"epochs": 2}}), {"tail": tail})
    before, after = (
        {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(ground.model_file(key)).graph.initializer}
        for key in ("tail", "whole")
    )
    moved = [name for name in before if name.startswith("body.") and not np.array_equal(before[name], after[name])]
    assert any(name.startswith("body.stages.0.") for name in moved)
    assert done.verification.label_differences == 0
    assert not rung.plan(1.0, {"tail": tail}).do
    # Without a tail it goes on from the head, which may have been fitted at another size.
    other = tail.model_copy(update={"backbone": f"{BACKBONE.name}@64"})
    assert rung.plan(500.0, {"head": other}).start == "tail"
    assert not rung.plan(500.0, {}).do


def test_where_photos_are_seen_a_few_times_the_first_stages_stay(
    ground: Ground, opener: Callable[[], Opened], tail: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = WholeRung(ground, device(), BACKBONE.name, opener)
    assert not rung.plan(500.0, {"tail": tail}).numbers["gentle"]
    monkeypatch.setattr(whole, "FEW_PASSES", 1e9)
    # Few of each class are soon known by heart.
    assert not rung.plan(500.0, {"tail": tail}).numbers["gentle"]
    monkeypatch.setattr(whole, "MANY_A_CLASS", 1)
    step = rung.plan(500.0, {"tail": tail})
    assert step.numbers["gentle"]
    done = rung.climb(step.model_copy(update={"numbers": {"epochs": 2, "gentle": 1.0}}), {"tail": tail})
    assert done.how.startswith("all but the first 4 stages of tail, 2 passes over")
    before, after = (onnx_file.read_weights(ground.model_file(one), "body.") for one in ("tail", "whole"))
    still = {int(name.split(".")[1]) for name in before if np.array_equal(before[name], after[name])}
    assert still == {0, 1, 2, 3}
    # Who has a teacher hears what it says of mixtures, however few.
    taught = whole.WholeLearner(ground, device(), BACKBONE.name, opener).plan(500.0, {"tail": tail}, [tail])
    assert not taught.numbers["gentle"]


def test_passes_are_over_all_photos() -> None:
    assert passes(8, 500) == 8
    assert passes(8, 40_000) == 4


def test_photos_grow_from_epoch_to_epoch() -> None:
    assert smaller(224) == 160
    assert smaller(260) == 192

    class One:
        def __init__(self, size: int) -> None:
            self.size = size

        def __len__(self) -> int:
            return 5

        def epoch(self, number: int) -> Any:
            return iter([(torch.zeros(1, self.size), torch.zeros(1))] * 5)

    growing = Growing({160: One(160), 224: One(224)}, [160, 224])  # type: ignore[dict-item]
    assert len(growing) == 5
    assert [batch[0].shape[1] for batch in growing.epoch(0)] == [160] * 5
    assert [batch[0].shape[1] for batch in growing.epoch(1)] == [224] * 5


def test_a_teacher_is_asked_once_a_view(ground: Ground, tail: Climbed) -> None:
    train = ground.material.parts["train"]
    told = Told()
    teacher = Teacher([ground.model_file("tail")], "zoom", 0.8)
    first = teacher.logits(train, 1, told)
    assert first.shape == (len(train), 3)
    asked = [name for name, total, _ in told.stages if total]
    again = Teacher([ground.model_file("tail")], "zoom", 0.8).logits(train, 1, told)
    assert np.array_equal(first, again)
    assert [name for name, total, _ in told.stages if total] == asked
    # View 0 is the photo as the model file itself sees it.
    plain = teacher.logits(train[:2], 0, told)
    model = Model(ground.model_file("tail"))
    expected = np.stack([model.logits(model.pixels(entry.photo)[None])[0] for entry in train[:2]])
    np.testing.assert_allclose(plain, expected / model.card.temperature, atol=1e-3)


def test_several_teachers_average_their_probabilities(ground: Ground, tail: Climbed, head: Climbed) -> None:
    train = ground.material.parts["train"][:5]
    files = [ground.model_file(key) for key in ("tail", "head")]
    together = Teacher(files, "zoom", 0.8).logits(train, 0, Told())
    alone = [torch.from_numpy(Teacher([file], "zoom", 0.8).logits(train, 0, Told())).softmax(1) for file in files]
    np.testing.assert_allclose(
        torch.from_numpy(together).softmax(1).numpy(), ((alone[0] + alone[1]) / 2).numpy(), atol=1e-5
    )


def test_who_would_only_mislead_does_not_teach(
    ground: Ground, opener: Callable[[], Opened], head: Climbed, tail: Climbed
) -> None:
    rung = DistilledRung(ground, device(), BACKBONE.name, opener)
    truth = np.array(ground.material.truth("val"))
    right = np.eye(ground.classes, dtype=np.float32)[truth] * 3
    sure = {"a": right, "b": right + np.float32(0.1), "c": np.roll(right, 1, axis=1) * 3}
    climbed = {"head": head}
    for key, logits in sure.items():
        np.save(ground.folder / f"{key}.npy", logits)
        assert tail.val is not None
        better = tail.val.model_copy(update={"accuracy": tail.val.accuracy.model_copy(update={"value": 1.0})})
        climbed[key] = tail.model_copy(update={"key": key, "temperature": 1.0, "val": better})
    assert [one.key for one in rung._teachers(climbed, alike=False)] == ["a", "b"]
    assert rung._teachers(climbed, alike=True) == []
    climbed["b"] = climbed["b"].model_copy(update={"backbone": "efficientnet_lite2"})
    assert [one.key for one in rung._teachers(climbed, alike=True)] == ["a", "b"]


def test_a_network_is_taught_by_what_another_knows_too(
    ground: Ground, opener: Callable[[], Opened], head: Climbed, tail: Climbed
) -> None:
    rung = DistilledRung(ground, device(), BACKBONE.name, opener)
    nobody = rung.plan(300.0, {"head": head, "tail": tail})
    assert not nobody.do
    assert "no other network knows more" in nobody.why
    # Of the same network, at another size, and called another kind.
    other = Climbed.model_validate({**dict(tail), "key": "other", "backbone": f"{BACKBONE.name}@64"})
    shutil.copyfile(ground.model_file("tail"), ground.model_file("other"))
    np.save(ground.folder / "other.npy", ground.logits("tail"))
    climbed = {"head": head, "tail": tail, "other": other}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DistilledRung, "_teachers", lambda _, climbed, alike: [climbed["other"]])
        step = rung.plan(300.0, climbed)
    assert (step.do, step.start, step.models) == (True, "tail", ["other"])
    done = rung.climb(step.model_copy(update={"numbers": {"epochs": 2}}), climbed)
    assert (
        done.how == f"all layers of tail, 2 passes over {len(ground.material.parts['train'])} photos, taught by other"
    )
    assert done.verification.label_differences == 0
    assert len(done.epochs) == 2


def test_a_teacher_says_more_of_mixtures_than_labels_do() -> None:
    recipe = Recipe(mixup=1.0, label_smoothing=0.0)
    inputs, truth = torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    student = torch.nn.Linear(3, 3)

    def asked(mixed: torch.Tensor) -> torch.Tensor:
        return (3 * mixed).softmax(dim=1)

    torch.manual_seed(5)
    found = losses.matching(recipe, asked, 0.25)(student, inputs, truth)
    torch.manual_seed(5)
    mixed, other, share = losses.mix(inputs, 1.0, 0.0)
    log = student(mixed).log_softmax(dim=1)
    soft = -(asked(mixed) * log).sum(dim=1)
    hard = -(share * log[range(4), truth] + (1 - share) * log[range(4), truth[other]])
    torch.testing.assert_close(found, (0.75 * soft + 0.25 * hard).mean())


def test_a_teacher_sees_photos_at_its_own_size() -> None:
    photos = torch.full((2, 48, 48, 3), 200, dtype=torch.uint8)
    assert whole.at(photos, 48) is photos
    larger = whole.at(photos, 64)
    assert larger.shape == (2, 64, 64, 3)
    assert larger.unique().tolist() == [200.0]


def test_a_student_of_another_architecture_learns_all_its_layers(ground: Ground, tail: Climbed) -> None:
    learner = StudentLearner(ground, device(), architectures.find("convnet:depth=2:width=8@24"))
    step = learner.plan(300.0, Asking(50.0))
    assert step.do
    assert step.expected <= 300
    step = step.model_copy(update={"numbers": {"views": 2, "epochs": 4}})
    teacher = Teacher([ground.model_file("tail")], "zoom", 0.8)
    done = learner.learn(step, "small", "distilled", teacher, "tail")
    assert done.backbone == "convnet:depth=2:width=8@24"
    assert done.epochs[-1].train_loss < done.epochs[0].train_loss
    assert Model(ground.model_file("small")).card.resize.size == 24
    np.testing.assert_allclose(logits_of(ground, done), ground.logits("small"), atol=1e-2)
    assert not learner.plan(0.1, Asking(50.0)).do


def test_a_trained_body_gets_the_better_head(
    ground: Ground, opened: Opened, tail: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = backbone_network.reopen(BACKBONE, ground.classes, ground.model_file("tail"))
    embedded = heads.of_photos(network, BACKBONE.resize, RECIPE, ground.progress)
    train = ground.material.parts["train"]
    with torch.no_grad():
        last_layer(network).weight.zero_()
    # Too few validation photos to tell.
    assert not heads.refit(ground, network, embedded, train, 2)
    monkeypatch.setattr(heads, "MIN_VALIDATION", 1)
    assert heads.refit(ground, network, embedded, train, 2)
    val = ground.material.known("val")
    truth = np.array(ground.material.numbers(val))
    layer = last_layer(network)
    logits = embedded(val, 0) @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    assert (logits.argmax(axis=1) == truth).mean() > 0.5
    # What replaces a trained head is its mean with the new one, as unsure as it was; a contrary one replaces nothing.
    unsure = fit_temperature(logits, truth)
    own = layer.weight.detach().numpy().T.copy()
    bias = layer.bias.detach().numpy().copy()
    monkeypatch.setattr(heads, "fitted", lambda *_: Linear(-2 * own / unsure, -2 * bias / unsure))
    assert not heads.refit(ground, network, embedded, train, 2)
    np.testing.assert_array_equal(layer.weight.detach().numpy().T, own)
    spoilt = 0.1 * np.roll(own, 1, axis=1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(spoilt.T))
    unsure = fit_temperature(embedded(val, 0) @ spoilt + bias, truth)
    monkeypatch.setattr(heads, "fitted", lambda *_: Linear(own, bias))
    assert heads.refit(ground, network, embedded, train, 2)
    np.testing.assert_allclose(layer.weight.detach().numpy().T, (spoilt + unsure * own) / 2, rtol=1e-4)
    views = Views(BACKBONE, opened.converted, opened.choice, body_of(network).joined, (112, 14, 14), "zoom", 0.8)
    train = train[:6]
    views.fill(train, [0, 1], Told())
    untouched = backbone_network.start(BACKBONE, ground.classes)
    cached, drawn = heads.of_maps(untouched, views), heads.of_photos(untouched, BACKBONE.resize, RECIPE, Told())
    for view in (0, 1):
        np.testing.assert_allclose(cached(train, view), drawn(train, view), atol=0.02)
    assert np.abs(drawn(train, 0) - drawn(train, 1)).max() > 0.1
    assert [one([], 0).shape for one in (cached, drawn)] == [(0, BACKBONE.width)] * 2


def test_the_tail_fits_its_head_on_the_photos_that_it_has_maps_of(
    ground: Ground, opener: Callable[[], Opened], head: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MIN_VALIDATION", 1)
    rung = TailRung(replace(ground, folder=ground.folder / "part"), device(), opener, "")
    rung._ground.folder.mkdir()
    shutil.copyfile(ground.model_file("head"), rung._ground.model_file("head"))
    # Views of a policy of its own: none is in the cache.
    monkeypatch.setattr(tail_rung, "RECIPE", replace(tail_rung.RECIPE, strength=0.7))
    step = rung.plan(300.0, {"head": head})
    numbers = {**step.numbers, "photos": 20, "views": 2, "epochs": 2}
    done = rung.climb(step.model_copy(update={"numbers": numbers}), {"head": head})
    assert "of 20 photos" in done.how
    assert len(ground.material.parts["train"]) > 20


def test_without_validation_photos_channels_go_too(ground: Ground, tail: Climbed) -> None:
    parts = {**ground.material.parts, "val": []}
    folder = ground.folder / "blind"
    folder.mkdir()
    shutil.copyfile(ground.model_file("tail"), folder / "tail.onnx")
    blind = replace(ground, folder=folder, material=replace(ground.material, parts=parts), limits=Limits(size=1.2e6))
    seen = {"tail": tail.model_copy(update={"val": None})}
    rung = QuantisedRung(blind)
    done = rung.climb(rung.plan(600.0, seen), seen)
    assert (done.storage, done.val) == ("int4", None)
    assert blind.limits.fits(done)


def test_what_is_too_slow_is_not_copied(ground: Ground, head: Climbed, tail: Climbed) -> None:
    slow = tail.model_copy(update={"milliseconds": 10 * head.milliseconds, "val": head.val})
    climbed = {"tail": slow, "head": head.model_copy(update={"val": None})}
    assert QuantisedRung(ground).plan(600.0, climbed).models == ["head"]
    climbed["head"] = head
    quick = replace(ground, limits=Limits(latency=2 * head.milliseconds))
    better = slow.model_copy(update={"val": tail.val})
    assert QuantisedRung(quick).plan(600.0, {**climbed, "tail": better}).models == ["head"]
    # Where all are, the fastest may come to be fast enough.
    none = replace(ground, limits=Limits(latency=0.1 * head.milliseconds))
    assert QuantisedRung(none).plan(600.0, {**climbed, "tail": better}).models == ["head"]


def test_a_copy_that_cannot_be_made_is_an_export_error(
    ground: Ground, tail: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ExportError("it differs from its source")

    monkeypatch.setattr(backbone_network, "export", fails)
    rung = QuantisedRung(replace(ground, limits=Limits(size=1.2e6)))
    with pytest.raises(ExportError, match="it differs from its source"):
        rung.climb(rung.plan(600.0, {"tail": tail}), {"tail": tail})


def test_where_int8_is_too_large_channels_go_and_weights_become_four_bits(
    ground: Ground, head: Climbed, tail: Climbed
) -> None:
    limited = replace(ground, limits=Limits(size=1.2e6))
    rung, climbed = QuantisedRung(limited), {"head": head, "tail": tail}
    step = rung.plan(600.0, climbed)
    assert step.do
    assert 0 < step.numbers["share"] < 1
    assert step.expected > rung.seconds(tail.milliseconds, narrowed=False)
    # Too little time for it is no reason to leave nothing that is within the limits.
    assert rung.plan(-5.0, climbed) == step
    assert not QuantisedRung(ground).plan(5.0, climbed).do
    done = rung.climb(step, climbed)
    assert (done.storage, done.source, done.verification.label_differences) == ("int4", step.models[0], 0)
    assert limited.limits.fits(done)
    assert done.bytes > 0.9 * 1.2e6
    assert "four bits" in done.how
    np.testing.assert_allclose(logits_of(ground, done), ground.logits("quantised"), atol=1e-4)
    assert done.val is not None
    assert done.val.accuracy.value > 0.5
    # A student is needed only where no copy is small enough.
    assert room(limited, BACKBONE.name) == step.numbers["share"]
    assert room(replace(ground, limits=Limits(size=2e5)), BACKBONE.name) is None
    assert room(ground, BACKBONE.name) == 1.0


def test_the_first_student_that_fits_is_taken() -> None:
    assert student.able(Limits(size=1.5e6), 81).family == "squeezenet1_1"  # type: ignore[union-attr]
    assert student.able(Limits(size=1e5), 81) is None


def test_where_no_copy_is_fast_enough_a_student_that_is_learns(
    ground: Ground, opener: Callable[[], Opened], head: Climbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student, "STUDENTS", ("convnet:depth=6:width=64@96", "convnet:depth=2:width=8@24"))
    # What is timed is a file of the network.
    slow, quick = (student._milliseconds(architectures.find(name), 3) for name in student.STUDENTS)
    assert 0 < quick < slow
    between = replace(ground, limits=Limits(latency=(quick * slow) ** 0.5))
    times = dict(zip(student.STUDENTS, (slow, quick), strict=True))
    monkeypatch.setattr(student, "_milliseconds", lambda architecture, classes: times[architecture.name])
    far = head.model_copy(update={"milliseconds": 100 * slow})
    step = DistilledRung(between, device(), BACKBONE.name, opener).plan(300.0, {"head": far})
    assert (step.do, step.student, step.models) == (True, "convnet:depth=2:width=8@24", ["head"])
    none = replace(ground, limits=Limits(size=1e8, latency=quick / 2))
    step = DistilledRung(none, device(), BACKBONE.name, opener).plan(300.0, {"head": far})
    assert (step.do, step.why) == (
        False,
        f"no architecture is within --max-size 100MB --max-latency {quick / 2:g}ms",
    )
    # A copy that may be fast enough needs none.
    near = head.model_copy(update={"milliseconds": 1.4 * slow})
    step = DistilledRung(replace(ground, limits=Limits(latency=slow)), device(), BACKBONE.name, opener).plan(
        300.0, {"head": near}
    )
    assert step.why == "no other network knows more than the one that would learn"


def test_ranges_are_measured_on_photos_of_all_classes() -> None:
    for photos in (1, 100, 255, 383, 2640):
        places = storage.calibrating(photos)
        gaps = np.diff([*places, photos])
        assert places[0] == 0
        assert len(places) == min(128, photos)
        assert 1 <= gaps.min() <= gaps.max() <= gaps.min() + 1


def test_a_taught_target_is_the_teacher_s_word_on_the_view_that_is_shown() -> None:
    said = [np.full((4, 3), view, np.float32) + np.arange(4, dtype=np.float32)[:, None] for view in range(2)]
    target = taught([0, 1, 2, 0], said, torch.device("cpu"))([3, 1], [1, 0])
    assert isinstance(target, Taught)
    assert target.truth.tolist() == [0, 1]
    assert target.logits[:, 0].tolist() == [4.0, 1.0]


def test_measuring_speed_leaves_the_weights_alone(opened: Opened) -> None:
    network = backbone_network.start(opened.backbone, 3)
    body = backbone_network.body_of(network)
    learner = Tail(network, body.joined)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    inputs = torch.rand(4, *body.shapes[body.joined - 1])
    rate = speed(learner, inputs, torch.tensor([0, 1, 2, 0]), losses.of(whole.RECIPE.__class__()), seconds=0.1)
    assert rate > 0
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_maps_used_least_recently_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path))
    for age, name in enumerate(("old", "older")):
        with maps.room_for(name, 0, 0, 10**9):
            store = maps.store(name, 0, (2, 4, 4))
            store.append([f"{number:064x}" for number in range(100)], np.zeros((100, 4, 4, 2), np.float16))
        place = maps.folder() / name
        then = place.stat().st_mtime - 100 * (age + 1)
        os.utime(place, (then, then))
    each = maps.size(maps.folder() / "old")
    with maps.room_for("new", 1000, 1000, each + 1500):
        assert {path.name for path in maps.folder().iterdir()} == {"old", "new"}
    with maps.room_for("newer", 1000, 1000, 2000):
        assert "old" not in {path.name for path in maps.folder().iterdir()}


def test_a_head_starts_as_sure_as_its_loss_wants_it(opened: Opened) -> None:
    network = backbone_network.start(opened.backbone, 3)
    body = backbone_network.body_of(network)
    learner = Tail(network, body.joined)
    layer = last_layer(network)
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, *body.shapes[body.joined - 1], generator=generator)
    truth = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        embedded = body.beyond(maps, body.joined)[1]
        centred = embedded - embedded.mean(0)
        # Right about all of them, and far too sure.
        layer.weight.copy_(30 * torch.nn.functional.one_hot(truth, 3).T.float() @ torch.linalg.pinv(centred).T)
        layer.bias.copy_(-layer.weight @ embedded.mean(0))

    class Once:
        def epoch(self, number: int) -> Any:
            return iter([(maps, truth)])

    before = layer.weight.detach().clone()
    loss = losses.of(Recipe(label_smoothing=0.1))
    first = loss(learner.eval(), maps, truth).item()
    unsure(learner, Once(), loss, seed=0)  # type: ignore[arg-type]
    scale = float((layer.weight.detach() / before).nanmedian())
    assert scale == pytest.approx(0.25, rel=1e-3)
    assert loss(learner, maps, truth).item() < first


def test_a_centre_changes_where_learning_starts_and_not_what_is_computed(opened: Opened) -> None:
    network = backbone_network.start(opened.backbone, 3)
    body = backbone_network.body_of(network)
    layer = last_layer(network)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(0))
    maps = torch.rand(2, *body.shapes[body.joined - 1])
    with torch.inference_mode():
        expected = network.head(body.beyond(maps, body.joined)[1])
        learner = Tail(network, body.joined, torch.full((body.width,), 0.3))
        assert torch.allclose(learner(maps), expected, atol=1e-3)
        learner.settle()
        assert torch.allclose(network.head(body.beyond(maps, body.joined)[1]), expected, atol=1e-3)
        assert torch.allclose(learner(maps), expected, atol=1e-3)


def test_the_network_is_left_on_the_way_back(opened: Opened) -> None:
    network = backbone_network.start(opened.backbone, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layer = last_layer(network)
    with torch.no_grad():
        layer.bias.fill_(1.0)
    go_back(network, before, 0.7)
    assert layer.bias[0].item() == pytest.approx(0.7)


def test_maps_of_its_own_go_too_where_they_alone_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path))
    hashes = [f"{number:064x}" for number in range(100)]
    with maps.room_for("own", 10_000, 10_000, 10**9):
        maps.store("own", 0, (2, 4, 4)).append(hashes, np.zeros((100, 4, 4, 2), np.float16))
    with maps.room_for("own", 1000, 0, 10**9):
        assert len(maps.store("own", 0, (2, 4, 4))) == 100
    # Those of other photos that leave no room for new ones.
    with maps.room_for("own", 5000, 5000, maps.size(maps.folder() / "own") + 4999):
        assert maps.size(maps.folder() / "own") == 0


def test_maps_of_other_photos_leave_room_for_those_that_are_needed(
    ground: Ground, opener: Callable[[], Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRAMAR_CACHE", str(tmp_path))
    rung = TailRung(ground, device(), opener)
    views = rung._views(backbone_network.body_of(backbone_network.start(opener().backbone, ground.classes)))
    train = ground.material.parts["train"]
    limited = replace(ground, cache_size=views.bytes * 7 * len(train))
    rung = TailRung(limited, device(), opener)
    empty = rung.plan(300.0, {})
    assert empty.numbers["views"] > 4
    channels, height, width = views.shape
    store = maps.store(views.name, 0, views.shape)
    others = [f"{number:064x}" for number in range(6 * len(train))]
    store.append(others, np.zeros((len(others), height, width, channels), np.float16))
    with maps.room_for(views.name, 0, 0, 10**12):
        # Another run needs them.
        assert rung.plan(300.0, {}).numbers.get("views", 0) <= 1
    assert rung.plan(300.0, {}).numbers["views"] == empty.numbers["views"]
    assert not len(maps.store(views.name, 0, views.shape))
    # Of those that are there already, there may be as many as before.
    views.fill(train, [0, 1], Told())
    again = rung.plan(300.0, {})
    assert again.numbers["views"] >= empty.numbers["views"] - 1
    assert len(maps.store(views.name, 1, views.shape)) == len(train)


def test_steps_are_written_as_they_were_decided() -> None:
    step = Step(do=True, expected=3.5, numbers={"views": 2, "cut": 6}, models=["tail"])
    assert Step.model_validate_json(step.model_dump_json()) == step


def test_other_networks_are_climbed_where_photos_and_limits_allow_it(
    ground: Ground, opened: Opened, head: Climbed
) -> None:
    side = median_side([entry.photo for entry in ground.material.parts["train"]])

    def keys(config: TrainConfig, some: Opened = opened, **limits: float) -> list[str]:
        changed = replace(ground, limits=Limits(**limits))
        return [planned.rung.key for planned in plan.rungs(changed, config, some, head)]

    def finer(some: Opened, budget: float = 600.0, **limits: float) -> str:
        return plan._finer(replace(ground, limits=Limits(**limits)), TrainConfig(budget=budget), some, head, side)

    def at(size: int) -> Opened:
        backbone = replace(BACKBONE, resize=BACKBONE.resize.model_copy(update={"size": size}))
        return replace(opened, backbone=backbone)

    rest = ["views", "tail", "tail-efficientnet_lite2", "whole", "distilled", "quantised"]

    def worthwhile(**limits: float) -> float:
        """With less time than this left, no other network learns."""
        rungs = plan.rungs(replace(ground, limits=Limits(**limits)), TrainConfig(), opened, head)
        (found,) = [planned.least for planned in rungs if planned.rung.key == "distilled"]
        return found

    assert worthwhile() == worthwhile(latency=head.milliseconds) == plan.LARGER_SECONDS
    # Where nothing else is small or fast enough, that is what the run is for.
    assert worthwhile(size=2e5) == worthwhile(latency=head.milliseconds / 10) == 0.0
    assert keys(TrainConfig(), at(side + 32)) == rest
    assert [one.rung.key for one in plan.rungs(ground, TrainConfig(rungs=("head", "tail")), at(48), head)] == rest[1:3]

    def share(config: TrainConfig) -> float:
        """Of the time that is kept for a network which others teach."""
        (found,) = [one.share for one in plan.rungs(ground, config, opened, head) if one.rung.key == "distilled"]
        return found

    assert share(TrainConfig()) == 2.0
    assert share(TrainConfig(rungs=("head", "whole", "distilled"))) == 0.0
    least = {
        rungs: plan.rungs(ground, TrainConfig(rungs=rungs), at(48), head)[-1].least
        for rungs in (("head", "tail", "whole"), ("head", "whole"))
    }
    assert list(least.values()) == [plan.WHOLE_SECONDS, 0.0]
    assert finer(at(48)) == "efficientnet_lite0@64"
    assert finer(at(side + 32)) == ""
    assert finer(at(48), latency=head.milliseconds * 1.1) == ""
    assert finer(at(48), budget=0.01) == ""

    def quicker(some: Opened, share: float, asked: str = DEFAULT_BACKBONE) -> str:
        limited = replace(ground, limits=Limits(latency=share * head.milliseconds))
        return plan._quicker(limited, TrainConfig(backbone=asked), some, head)

    # A share of 0.3 is the same at all sizes; of the rest, 192 pixels take 0.73, and 96 take 0.18 of what 224 do.
    assert [quicker(at(224), share) for share in (1.0, 0.82, 0.8, 0.43, 0.42)] == [
        "",
        "efficientnet_lite0@192",
        "efficientnet_lite0@160",
        "efficientnet_lite0@96",
        "",
    ]
    assert quicker(at(224), 0.8, "efficientnet_lite0@224") == ""
    assert plan._quicker(ground, TrainConfig(), at(224), head) == ""
    # A size that was asked for is the user's word.
    asked = at(48)
    assert finer(replace(asked, backbone=replace(asked.backbone, name="efficientnet_lite0@48"))) == ""


def test_a_file_that_openvino_cannot_run_costs_its_figure_and_not_the_run(
    ground: Ground, head: Climbed, tmp_path: Path
) -> None:
    model = Model(ground.model_file(head.key))
    assert len(ground.in_openvino([model, model])) == 2
    broken = Model(ground.model_file(head.key))
    broken.path = tmp_path / "broken.onnx"
    broken.path.write_bytes(b"no graph")
    told = Told()
    assert replace(ground, progress=told).in_openvino([model, broken]) == []
    assert any("OpenVINO cannot run it" in line and str(broken.path) in line for line in told.said)
