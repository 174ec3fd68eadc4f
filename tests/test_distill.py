"""``kramar.distill``: what it leaves, how it resumes, what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import kramar
from kramar import Distillation, InputError
from kramar.jobs import distill
from kramar.models import architectures
from kramar.records import Epoch, Estimate
from kramar.runtime.model import Model
from kramar.study import distillation
from kramar.study.distillation_records import COLUMNS, LessonRecord
from kramar.training import losses
from pages import whole_page
from products import put_folder
from shell import contents

STUDENT = "convnet:depth=2:width=8@24"
OPTIONS = {
    "student": STUDENT,
    "temperature": "1,2",
    "weight": "0,0.3",
    "seeds": 2,
    "epochs": 2,
    "teacher_epochs": 2,
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_folder(tmp_path_factory.mktemp("data") / "small", 16)


@pytest.fixture(scope="module")
def taught(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Distillation:
    return kramar.distill(
        small, tmp_path_factory.mktemp("runs") / "taught", teacher="convnet:depth=2:width=16", **OPTIONS
    )  # type: ignore[arg-type]


def test_it_leaves_a_table_a_model_and_a_report(taught: Distillation) -> None:
    files = set(contents(taught.path))
    assert {
        "distillation.csv",
        "run.json",
        "report.html",
        "model.onnx",
        "manifest.parquet",
        "teacher/model.onnx",
    } <= files
    with (taught.path / "distillation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    # The teacher; then for each of two seeds, the student alone and four cells.
    assert len(rows) == 1 + 2 * (1 + 4)
    assert (rows[0]["student"], rows[0]["teacher"]) == ("", "convnet:depth=2:width=16")
    alone = [row for row in rows if row["scaling"] == "none"]
    assert [row["seed"] for row in alone] == ["0", "1"]
    assert all(row["teacher"] == row["temperature"] == row["weight"] == "" for row in alone)
    cells = {(row["temperature"], row["weight"]) for row in rows if row["scaling"] == "thesis"}
    assert cells == {(t, w) for t in ("1.0", "2.0") for w in ("0.0", "0.3")}
    for row in rows:
        assert float(row["low"]) <= float(row["accuracy"]) <= float(row["high"])
    assert {row["start"] for row in rows[1:]} == {"scratch"}


def test_the_kept_student_is_a_verified_model_file(taught: Distillation) -> None:
    record = taught.record
    assert record.student.verification.label_differences == 0
    assert record.student.bytes == (taught.path / "model.onnx").stat().st_size
    assert taught.model.card.backbone == STUDENT
    assert taught.model.card.resize.size == 24
    losses = {}
    for lesson in record.lessons:
        losses.setdefault(lesson.cell, []).append(lesson.val_loss)
    best = min(losses, key=lambda cell: np.mean(losses[cell]))
    kept = (record.student.temperature, record.student.weight) if record.student.temperature is not None else None
    assert kept == best
    assert record.student.against_teacher is not None
    assert record.student.against_teacher.n == record.data.split["test"]


def test_cells_are_compared_in_pairs_over_seeds(taught: Distillation) -> None:
    assert len(taught.record.cells) == 4
    for cell in taught.record.cells:
        assert cell.seeds == 2
        assert cell.gain.low <= cell.gain.value <= cell.gain.high
        assert cell.gain.value == pytest.approx(cell.accuracy - (taught.record.alone or 0.0))
        assert cell.p <= cell.adjusted <= 1


def test_the_report_tells_of_teacher_student_and_region(taught: Distillation) -> None:
    page = taught.report.read_text(encoding="utf-8")
    whole_page(page)
    for word in ("the teacher", "without a teacher", "Where a teacher helps", "λ"):
        assert word in page
    assert page.count('<td class="') >= 4


def test_the_same_command_again_changes_nothing(taught: Distillation, small: Path) -> None:
    before = contents(taught.path)
    again = kramar.distill(small, taught.path, teacher="convnet:depth=2:width=16", **OPTIONS)  # type: ignore[arg-type]
    assert again.was_finished
    assert contents(taught.path) == before


def test_a_killed_sweep_repeats_no_lesson(taught: Distillation, small: Path, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    done: list[str] = []
    learn = distillation.run

    def dying(lesson: distillation.Lesson, *rest: object) -> LessonRecord:
        if len(done) == 3:
            raise KilledError
        done.append(lesson.key)
        return learn(lesson, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "run", dying)
        with pytest.raises(KilledError):
            kramar.distill(small, tmp_path / "run", teacher=taught.path, **OPTIONS)  # type: ignore[arg-type]
    first = {path.name: (path / "lesson.json").read_bytes() for path in (tmp_path / "run" / "lessons").iterdir()}
    assert len(first) == 3
    finished = kramar.distill(small, tmp_path / "run", teacher=taught.path, **OPTIONS)  # type: ignore[arg-type]
    for name, written in first.items():
        assert (tmp_path / "run" / "lessons" / name / "lesson.json").read_bytes() == written
    assert len(finished.record.lessons) == 10
    # A run folder as a teacher is its model file.
    assert finished.record.teacher.file.endswith("taught/model.onnx")
    assert Model(finished.record.teacher.file).card.backbone == STUDENT


@pytest.mark.parametrize("scaling", ["hinton", "dist"])
def test_other_losses_and_a_start_from_weights_are_taught_as_they_are_told(
    scaling: str, taught: Distillation, small: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "student": "efficientnet_lite0:blocks=2@32", "temperature": "4", "weight": "0.3", "seeds": 1}
    done = kramar.distill(small, tmp_path / "run", teacher=taught.path, start="weights", scaling=scaling, **options)  # type: ignore[arg-type]
    assert [(one.scaling, one.start, len(one.epochs)) for one in done.record.lessons] == [
        ("none", "weights", 2),
        (scaling, "weights", 2),
    ]
    assert done.record.scaling == scaling
    # From the same start, on the same views, another loss leads elsewhere.
    alone, told = ([epoch.train_loss for epoch in one.epochs] for one in done.record.lessons)
    assert alone != told


def test_a_lesson_that_comes_to_nothing_is_named_and_the_others_are_compared(
    taught: Distillation, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaling = losses.scaling("thesis")

    def wild(temperature: float, weight: float) -> losses.Criterion:
        told = scaling(temperature, weight)
        factor = float("nan") if temperature == 2 and weight == 0 else 1.0
        return lambda logits, target: factor * told(logits, target)

    monkeypatch.setitem(losses._BY_NAME, "thesis", wild)
    done = kramar.distill(small, tmp_path / "run", teacher=taught.path, **OPTIONS)  # type: ignore[arg-type]
    assert done.record.left_out_lessons == [
        f"T = 2, lambda = 0, seed {seed}: after 1 of 2 epochs its loss is no number any more" for seed in (0, 1)
    ]
    assert len(done.record.lessons) == 8
    assert {(cell.temperature, cell.weight) for cell in done.record.cells} == {(1, 0), (1, 0.3), (2, 0.3)}
    page = done.report.read_text(encoding="utf-8")
    assert "Left out: T = 2, lambda = 0, seed 0" in page
    # Its cell gives no reason that is not so.
    assert "<td><small>left out</small></td>" in page


def test_cells_are_compared_by_the_seeds_that_both_have() -> None:
    rng = np.random.default_rng(0)
    alone = [rng.random(50) < share for share in (0.9, 0.5)]
    lessons = [lesson("none", 1, 0, 1.0), lesson("none", 1, 1, 1.0), lesson("thesis", 2, 1, 0.1)]
    (cell,) = distillation.cells(lessons, [*alone, alone[1]], [str(i) for i in range(50)], 0)
    assert cell.seeds == 1
    assert cell.gain.value == 0
    # What was lucky once is not the best for that.
    assert distillation.best(lessons) in (0, 1)
    assert not distillation.cells(lessons[::2], [alone[0], alone[1]], [str(i) for i in range(50)], 0)


def test_who_starts_from_scratch_for_want_of_weights_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAMAR_WEIGHTS", str(tmp_path))

    def said(name: str, start: str | None = None) -> str:
        return distill._unweighted(distill._setting(architectures.find(name), start, None, 0, "--epochs"))

    assert "there are no ImageNet weights of it on this machine" in said("squeezenet1_1@32")
    assert "kramar weights fetch squeezenet1_1" in said("squeezenet1_1@32")
    assert said("convnet") == ""
    # Weights that a package brings; a teacher starts as its student does.
    assert said("efficientnet_lite0@32") == ""
    assert "as the student is" in said("efficientnet_lite0@32", "scratch")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": "2,hot"}, "--temperature: expected numbers above 0, separated by commas; found 'hot'"),
        ({"temperature": "0"}, "--temperature: expected numbers above 0"),
        ({"weight": "-0.1"}, "--weight: expected numbers from 0"),
        ({"weight": "nan"}, "--weight: expected numbers from 0"),
        ({"scaling": "kd"}, "--scaling: expected thesis, hinton, dist, found 'kd'"),
        ({"student": "squeezenet"}, "--student: no architecture called 'squeezenet'"),
        ({"teacher": "no-such"}, "--teacher: no architecture called 'no-such'"),
        ({"start": "weights"}, "convnet:depth=2:width=8@24: there are no ImageNet weights"),
        ({"start": "halfway"}, "--start: expected weights or scratch, found 'halfway'"),
        ({"seeds": 0}, "--seeds: expected a whole number from 1"),
        ({"budget": "1s"}, "--budget: .* a lesson takes about"),
        ({"cache_size": "1kB"}, "--cache-size: expected room for one view of all photos"),
    ],
)
def test_wrong_uses_are_one_line_and_leave_nothing(
    options: dict[str, object], said: str, small: Path, taught: Distillation, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        kramar.distill(small, tmp_path / "run", **{**OPTIONS, "teacher": taught.path, **options})  # type: ignore[arg-type]
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_teacher_that_the_budget_has_no_time_for_is_not_trained(small: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "budget": "2s", "teacher_epochs": 10_000}
    with pytest.raises(InputError, match=r"the teacher takes \d+ (s|min)"):
        kramar.distill(small, tmp_path / "run", teacher="convnet:depth=2:width=16", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_refused(trained: kramar.Run, tmp_path: Path) -> None:
    other = put_folder(tmp_path / "other", 8, kinds=("Plate", "Box"))
    with pytest.raises(InputError, match=r"expected the 2 classes of the data; it has more"):
        kramar.distill(other, tmp_path / "run", teacher=trained.path, **OPTIONS)  # type: ignore[arg-type]


def test_a_folder_that_is_no_run_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"--teacher: .*empty has no model\.onnx"):
        kramar.distill(small, tmp_path / "run", teacher=tmp_path / "empty", **OPTIONS)  # type: ignore[arg-type]


def lesson(scaling: str, temperature: float, seed: int, val_loss: float | None) -> LessonRecord:
    return LessonRecord(
        student="s", start="scratch", scaling=scaling, temperature=temperature, weight=0.3, seed=seed, metrics={},
        val_loss=val_loss, epochs=[Epoch(number=0, train_loss=1.0, val_loss=None, val_accuracy=None, seconds=1.0)],
        seconds=1.0,
    )  # fmt: skip


def test_cells_use_the_paired_test_over_photos_and_seeds() -> None:
    rng = np.random.default_rng(0)
    photos = 400
    alone = [rng.random(photos) < 0.6 for _ in range(2)]
    helped = [one | (rng.random(photos) < 0.3) for one in alone]
    same = [one.copy() for one in alone]
    lessons = [lesson("none", 1, seed, 1.0) for seed in (0, 1)]
    lessons += [lesson("thesis", 2, seed, 0.8) for seed in (0, 1)] + [lesson("thesis", 5, seed, 0.9) for seed in (0, 1)]
    cells = distillation.cells(lessons, [*alone, *helped, *same], [str(i) for i in range(photos)], 0)
    assert [(cell.temperature, cell.helps, cell.harms) for cell in cells] == [(2, True, False), (5, False, False)]
    assert cells[0].gain.value == pytest.approx(np.mean(helped) - np.mean(alone))
    assert cells[1].gain == Estimate(value=0.0, low=cells[1].gain.low, high=cells[1].gain.high, n=photos)
    assert distillation.best(lessons) in (2, 3)
    assert distillation.best([one.model_copy(update={"val_loss": None}) for one in lessons]) == 2
