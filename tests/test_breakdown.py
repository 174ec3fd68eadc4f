import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from kramar.evaluation.breakdown import by_class, confusions, mistakes
from kramar.evaluation.metrics import Scored, wilson

CLASSES = ["apple", "fig", "pear"]
PHOTOS = {label: {"train": 5, "val": 1, "test": 2} for label in CLASSES}


def scored(*answers: tuple[str, str, float]) -> Scored:
    """Truth, prediction and its probability, photo by photo."""
    probabilities = np.zeros((len(answers), 3))
    for photo, (_, predicted, probability) in enumerate(answers):
        probabilities[photo] = (1 - probability) / 2
        probabilities[photo, CLASSES.index(predicted)] = probability
    truth = [answer[0] for answer in answers]
    return Scored.of(probabilities, truth, CLASSES, [str(photo) for photo in range(len(answers))])


SHOP = scored(
    ("apple", "apple", 0.9),
    ("apple", "apple", 0.8),
    ("apple", "pear", 0.7),
    ("pear", "pear", 0.9),
    ("pear", "apple", 0.6),
    ("pear", "apple", 0.95),
    ("dragon", "apple", 0.99),
)


def test_class_scores_are_scikit_learns() -> None:
    photos = PHOTOS | {"dragon": {"train": 0, "val": 0, "test": 1}}
    found = by_class(SHOP, photos, {"apple": "Fruit/Apple"})
    predicted = [CLASSES[i] for i in SHOP.predicted]
    precision, recall, f1, support = precision_recall_fscore_support(
        SHOP.labels, predicted, labels=list(photos), zero_division=0
    )
    assert [one.label for one in found] == list(photos)
    for one, p, r, f, n in zip(found, precision, recall, f1, support, strict=True):
        assert (one.recall.value if one.recall else 0.0) == pytest.approx(r)
        assert (one.recall.n if one.recall else 0) == n
        assert (one.precision.value if one.precision else 0.0) == pytest.approx(p)
        assert (one.f1 or 0.0) == pytest.approx(f)
    assert found[0].recall == wilson(2, 3)
    assert found[0].precision == wilson(2, 5)
    assert [one.category for one in found] == ["Fruit/Apple", "fig", "pear", "dragon"]
    assert found[0].photos == {"train": 5, "val": 1, "test": 2}


def test_a_class_without_a_photo_has_no_recall() -> None:
    fig = by_class(SHOP, PHOTOS, {})[1]
    assert (fig.recall, fig.precision, fig.f1) == (None, None, None)


def test_a_class_that_is_never_called_has_no_precision() -> None:
    dragon = by_class(SHOP, {"dragon": {"test": 1}}, {})[0]
    assert dragon.recall == wilson(0, 1)
    assert (dragon.precision, dragon.f1) == (None, 0.0)


def test_without_scores_there_are_classes_all_the_same() -> None:
    found = by_class(None, PHOTOS, {})
    assert [one.label for one in found] == CLASSES
    assert all(one.recall is None and one.precision is None and one.f1 is None for one in found)


def test_confusions_are_the_wrong_pairs_most_frequent_first() -> None:
    found = [(one.truth, one.predicted, one.count, one.of) for one in confusions(SHOP)]
    assert found == [("pear", "apple", 2, 3), ("apple", "pear", 1, 3), ("dragon", "apple", 1, 1)]
    assert len(confusions(SHOP, most=2)) == 2


def test_mistakes_are_the_surest_first() -> None:
    images = [f"{photo}.jpg" for photo in range(7)]
    found = [(one.image, one.truth, one.predicted, round(one.probability, 6)) for one in mistakes(SHOP, images)]
    assert found == [
        ("6.jpg", "dragon", "apple", 0.99),
        ("5.jpg", "pear", "apple", 0.95),
        ("2.jpg", "apple", "pear", 0.7),
        ("4.jpg", "pear", "apple", 0.6),
    ]
    assert [one.image for one in mistakes(SHOP, images, most=1)] == ["6.jpg"]


def test_a_model_that_is_always_right_makes_no_mistakes() -> None:
    right = scored(("apple", "apple", 0.9), ("fig", "fig", 0.5))
    assert (confusions(right), mistakes(right, ["1", "2"])) == ([], [])
