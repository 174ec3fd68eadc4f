"""Labels and classes: what is probably wrong, what is confused, and names and sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from drawn import Held
from kramar.auditing import labels
from kramar.auditing.names import name_issues, size_issues
from kramar.data.manifest import Entry

CLASSES = ["Apple", "Pear", "Plum"]


def entry(name: str, label: str) -> Entry:
    return Entry(name, Held(b""), name, label, label, "", "")


def shop(photos: int, flipped: Sequence[int]) -> tuple[list[Entry], np.ndarray, np.ndarray]:
    """Photos, sure and right scores of them, and labels of which some are ``flipped``."""
    generator = np.random.default_rng(0)
    right = np.arange(photos) % 3
    scores = generator.uniform(0, 0.15, (photos, 3))
    scores[np.arange(photos), right] += 1
    truth = right.copy()
    truth[list(flipped)] = (truth[list(flipped)] + 1) % 3
    entries = [entry(f"{number}.jpg", CLASSES[label]) for number, label in enumerate(truth.tolist())]
    return entries, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), truth


def test_flipped_labels_come_first_with_the_label_that_they_had() -> None:
    entries, scores, truth = shop(300, [4, 100, 201])
    assert set(np.argsort(labels.quality(scores, truth))[:3].tolist()) == {4, 100, 201}
    issues = labels.label_issues(entries, CLASSES, scores, truth)
    # As many as confident learning counts, which may be one fewer.
    assert {"4.jpg", "100.jpg"} <= {issue.photo for issue in issues} <= {"4.jpg", "100.jpg", "201.jpg"}
    first = next(issue for issue in issues if issue.photo == "4.jpg")
    assert (first.kind, first.suggestion) == ("label", "Pear")
    assert first.detail.startswith("labelled 'Plum' (")
    assert first.score is not None
    assert 0.5 < first.score <= 1
    strength = [issue.score or 0.0 for issue in issues]
    assert strength == sorted(strength, reverse=True)


def test_right_labels_are_left_alone() -> None:
    entries, scores, truth = shop(300, [])
    assert labels.label_issues(entries, CLASSES, scores, truth) == []
    assert labels.confused_issues(CLASSES, scores, truth) == []


def test_two_classes_are_confused_where_each_is_taken_for_the_other() -> None:
    truth = np.repeat([0, 1, 2], 20)
    scores = np.full((60, 3), 0.1)
    guess = truth.copy()
    # Five apples are taken for pears, and four pears for apples; plums for apples, but no apple for a plum.
    guess[:5], guess[20:24], guess[40:50] = 1, 0, 0
    scores[np.arange(60), guess] = 0.8
    (found,) = labels.confused_issues(CLASSES, scores, truth)
    assert (found.kind, found.group, found.photo) == ("confused", "Apple | Pear", "")
    assert found.score == pytest.approx(0.2)
    assert found.detail == "5 of 20 photos of 'Apple' are taken for 'Pear', 4 of 20 the other way"


def named(**counts: int) -> list[Entry]:
    return [entry(f"{label}{number}", label) for label, count in counts.items() for number in range(count)]


def test_names_that_look_alike_are_told_and_models_are_not() -> None:
    entries = named(**{"Red Apple": 3, "red_apple": 2, "Pomegranate": 1, "Pomegranite": 1, "Size-41": 1, "Size-42": 1})
    assert [(issue.group, issue.score) for issue in name_issues(entries)] == [
        ("Red Apple | red_apple", 1.0),
        ("Pomegranate | Pomegranite", pytest.approx(10 / 11)),
    ]
    assert name_issues(entries)[0].detail == (
        "'Red Apple' (3 photos) and 'red_apple' (2) differ only by case, spaces or dashes"
    )
    assert name_issues(named(Tea=1, Pea=1, Lime=1, Lima=1)) == []


def test_small_classes_and_those_far_behind() -> None:
    found = size_issues(named(Few=19, Enough=20, Behind=30, Many=400, More=400, Most=400))
    assert [(issue.kind, issue.group, issue.score) for issue in found] == [
        ("small", "Few", 19),
        ("imbalance", "Enough", 20),
    ]
    assert size_issues([]) == []
    assert name_issues([]) == []
    assert found[1].detail == "'Enough': 20 photos; half of the classes have 215 or more"
