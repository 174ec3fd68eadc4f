"""Categories above the classes: which there are, and how far down one can be sure."""

from __future__ import annotations

import numpy as np

from kramar.data.tree import Tree

PATHS = ["Fruit/Apple/Gala", "Fruit/Apple/Fuji", "Fruit/Lemon", "Milk/Oat/Plain", "Milk/Oat/Cocoa", "Milk/Soy/Plain"]


def test_categories_of_one_class_or_of_all_say_nothing() -> None:
    tree = Tree(PATHS)
    assert tree.categories == ["Fruit", "Fruit/Apple", "Milk", "Milk/Oat"]
    assert tree.depth.tolist() == [1, 2, 1, 2]
    assert tree.members[0].tolist() == [True, True, True, False, False, False]
    assert Tree(["All/a", "All/b"]).categories == []
    assert Tree(["a", "b"]).categories == []
    # Several classes may share a whole path.
    assert Tree(["Fruit", "Fruit", "Milk"]).categories == ["Fruit"]


def test_it_backs_off_as_far_as_it_must() -> None:
    tree = Tree(PATHS)
    probabilities = np.array(
        [
            [0.5, 0.45, 0.05, 0.0, 0.0, 0.0],
            [0.3, 0.3, 0.35, 0.05, 0.0, 0.0],
            [0.2, 0.2, 0.1, 0.2, 0.2, 0.1],
        ],
        np.float32,
    )
    sums = tree.sums(probabilities)
    np.testing.assert_allclose(sums[0], [1.0, 0.95, 0.0, 0.0], atol=1e-6)
    backed = tree.backed(sums, 0.9)
    assert [tree.categories[place] if place >= 0 else "" for place in backed] == ["Fruit/Apple", "Fruit", ""]
    assert tree.holds(backed, np.array([1, 5, 0])).tolist() == [True, False, False]
    assert tree.holds(backed, np.array([-1, 2, 2])).tolist() == [False, True, False]
    assert Tree(["a", "b"]).backed(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]
