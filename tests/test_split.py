import hashlib
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kramar.data.listing import PhotoFile
from kramar.data.manifest import Entry, retied, tied, ties
from kramar.data.split import (
    ASIDE_FROM,
    PARTS,
    SMALL_CLASS,
    aside,
    assign,
    elsewhere,
    part_of,
    photos_by_class,
    position,
    warnings,
)


def entry(key: object, label: str = "Apple", product: str = "", split: str = "", image: str = "") -> Entry:
    photo_hash = hashlib.sha256(str(key).encode()).hexdigest()
    image = image or f"{label}/{key}.jpg"
    return Entry(image, PhotoFile(Path(image)), photo_hash, label, label, product, split)


def entries(count: int, label: str = "Apple", **fields: str) -> list[Entry]:
    return [entry(f"{label}{number}", label, **fields) for number in range(count)]


def parts(found: list[Entry]) -> dict[str, str]:
    return {one.hash: one.split for one in found}


def said_of(split: list[Entry], *, own_split: bool = False) -> str:
    return "\n".join(warnings(split, own_split=own_split))


def test_position_is_the_leading_64_bits_of_blake2b() -> None:
    digest = hashlib.blake2b(b"7\0abc", digest_size=8).hexdigest()
    assert position("abc", 7) == int(digest, 16) / 16**16
    assert 0 <= position("abc", 7) < 1


def test_positions_are_uniform() -> None:
    counts = Counter(int(10 * position(str(key), 0)) for key in range(10_000))
    # Chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand.
    assert sum((counts[bin_] - 1000) ** 2 / 1000 for bin_ in range(10)) < 27.9


@pytest.mark.parametrize("seed", [0, 1, 2026])
def test_shares_are_70_15_15_in_expectation(seed: int) -> None:
    n = 20_000
    counts = Counter(part_of(str(key), seed) for key in range(n))
    for part, share in zip(PARTS, (0.70, 0.15, 0.15), strict=True):
        assert abs(counts[part] - share * n) < 4 * math.sqrt(n * share * (1 - share)), part


def test_a_class_gets_15_percent_of_its_photos_give_or_take_a_binomial() -> None:
    tested = [Counter(part_of(f"{label}{number}", 0) for number in range(100))["test"] for label in range(200)]
    mean = sum(tested) / 200
    deviation = math.sqrt(sum((count - mean) ** 2 for count in tested) / 199)
    assert mean == pytest.approx(15, abs=1)
    assert deviation == pytest.approx(math.sqrt(100 * 0.15 * 0.85), rel=0.2)


def test_seeds_split_differently() -> None:
    photos = entries(200)
    first, again, second = (parts(assign(photos, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != second


def test_order_and_names_change_nothing() -> None:
    photos = [*entries(60), *entries(60, "Pear")]
    shuffled = random.Random(0).sample(photos, len(photos))
    renamed = [replace(one, image=f"other/{number}.png") for number, one in enumerate(shuffled)]
    assert parts(assign(renamed, 3)) == parts(assign(photos, 3))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from("abcde"), st.sampled_from(["", "p", "q", "r"])), max_size=40
    ),
    st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from("abcde"), st.sampled_from(["", "p", "q", "r"])), max_size=40
    ),
    st.integers(0, 5),
)
def test_photos_keep_their_part_when_others_are_added(
    first: list[tuple[int, str, str]], added: list[tuple[int, str, str]], seed: int
) -> None:
    before = [entry(*one) for one in first]
    after = assign([*[entry(*one) for one in added], *before], seed)
    assert after[len(added) :] == assign(before, seed)
    of_group: dict[str, set[str]] = {}
    for one in after:
        of_group.setdefault(one.group, set()).add(one.split)
    assert all(len(found) == 1 for found in of_group.values())


def test_products_are_never_cut() -> None:
    photos = [entry(number, product=f"sku{number % 40}") for number in range(400)]
    by_product: dict[str, set[str]] = {}
    for one in assign(photos, 0):
        by_product.setdefault(one.product, set()).add(one.split)
    assert all(len(found) == 1 for found in by_product.values())
    assert set.union(*by_product.values()) == set(PARTS)


def test_copies_of_a_file_are_on_one_side() -> None:
    photos = [entry(number % 50, image=f"{number}.jpg") for number in range(100)]
    assert all(len({one.split for one in assign(photos, 0) if one.hash == photo.hash}) == 1 for photo in photos)


def test_a_product_and_a_photo_of_the_same_name_are_different_groups() -> None:
    photo = entry("x")
    assert entry("y", product=photo.hash).group != photo.group


def test_the_datas_own_split_is_kept() -> None:
    photos = [*entries(30, split="train"), *entries(10, "Pear", split="val"), *entries(10, "Fig", split="test")]
    assert assign(photos, 0) == photos


@pytest.mark.parametrize("product", [False, True])
def test_validation_is_carved_from_training_where_the_data_has_none(product: bool) -> None:
    n = 4000
    photos = [
        entry(number, product=f"sku{number // 2}" if product else "", split="test" if number % 4 == 0 else "train")
        for number in range(n)
    ]
    found = assign(photos, 0)
    assert [one.hash for one in found if one.split == "test"] == [one.hash for one in photos if one.split == "test"]
    trained = sum(one.split == "train" for one in photos)
    share = 0.15 / 0.85
    carved = sum(one.split == "val" for one in found)
    assert abs(carved - share * trained) < 4 * math.sqrt(2 * trained * share * (1 - share))
    grouped: dict[str, set[str]] = {}
    for one in found:
        if one.split != "test":
            grouped.setdefault(one.group, set()).add(one.split)
    assert all(len(sides) == 1 for sides in grouped.values())


def test_a_carved_photo_keeps_its_part_when_others_are_added() -> None:
    photos = [*entries(100, split="train"), *entries(20, "Pear", split="test")]
    more = [*entries(100, "Fig", split="train"), *photos]
    assert parts(assign(photos, 0)).items() <= parts(assign(more, 0)).items()


def test_an_empty_set_stays_empty() -> None:
    assert assign([], 0) == []
    assert photos_by_class([]) == {}
    assert warnings([], own_split=False) == []


def test_photos_are_counted_by_class_and_part() -> None:
    photos = [*entries(3, "Pear", split="train"), *entries(2, "Apple", split="test"), entry("x", "Pear", split="val")]
    counts = photos_by_class(photos)
    assert list(counts) == ["Apple", "Pear"]
    assert counts == {"Apple": {"train": 0, "val": 0, "test": 2}, "Pear": {"train": 3, "val": 1, "test": 0}}


def test_a_good_split_is_not_warned_of() -> None:
    photos = [*entries(20, split="train"), *entries(5, "Pear", split="train")]
    tested = [replace(one, split="test") for one in photos[::4]]
    assert said_of([*photos, *tested], own_split=True) == ""


def test_classes_without_a_training_photo_are_named() -> None:
    photos = [*entries(20, split="train"), *entries(1, "Apple", split="test"), *entries(3, "Pear", split="test")]
    said = said_of(photos, own_split=True)
    assert "1 class ('Pear') without a training photo" in said
    assert "Apple" not in said


def test_small_classes_are_named_unless_the_data_brought_the_split() -> None:
    large = [*entries(SMALL_CLASS, split="train"), *entries(1, split="test")]
    small = [*entries(SMALL_CLASS - 2, "Pear", split="train"), *entries(1, "Pear", split="test")]
    assert "1 class ('Pear') too small to split well (under 20 photos)" in said_of([*large, *small])
    assert "Apple" not in said_of([*large, *small])
    assert said_of([*large, *small], own_split=True) == ""


def test_classes_without_a_test_photo_are_named() -> None:
    photos = [*entries(30, split="train"), *entries(30, "Pear", split="train"), *entries(2, split="test")]
    assert "1 class ('Pear') without a test photo" in said_of(photos)
    assert said_of([one for one in photos if one.split == "train"], own_split=True) == ""


def test_eight_classes_are_named_and_the_rest_counted() -> None:
    photos = [*entries(1, split="train"), *(entry(n, f"Class{n:02}", split="test") for n in range(11))]
    said = said_of(photos, own_split=True)
    assert "11 classes ('Class00', 'Class01'," in said
    assert "'Class07' and 3 more)" in said
    assert "Class08" not in said


def twins_of(photos: list[Entry], together: list[list[str]], seed: int = 0) -> list[Entry]:
    return assign(tied(photos, together), seed)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), min_size=2, max_size=40),
    st.lists(st.lists(st.integers(0, 39), min_size=2, max_size=6), max_size=12),
    st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_groups_are_never_cut_however_products_and_twins_overlap(
    photos: list[tuple[int, int]], ties: list[list[int]], seed: int
) -> None:
    listed = [
        entry(key, product=f"p{product}" if product else "", image=f"{number}.jpg")
        for number, (key, product) in enumerate(photos)
    ]
    together = [[f"{place % len(listed)}.jpg" for place in tie] for tie in ties]
    found = {one.image: one for one in twins_of(listed, together, seed)}
    for images in together:
        assert len({found[image].split for image in images}) == 1
        assert len({found[image].group for image in images}) == 1
    for one in listed:
        for other in listed:
            if one.hash == other.hash or (one.product and one.product == other.product):
                assert found[one.image].split == found[other.image].split
    # Groups hold no more than what is tied, in however many steps.
    most = sum(len(tie) - 1 for tie in ties) + len(listed) - len({one.hash for one in listed})
    assert len({one.group for one in found.values()}) >= len({one.own_group for one in listed}) - most


def test_a_product_keeps_its_part_whatever_is_tied_to_it() -> None:
    photos = [entry("a", product="mug"), entry("b", product="mug"), entry("c")]
    found = twins_of(photos, [["Apple/b.jpg", "Apple/c.jpg"]])
    assert {one.group for one in found} == {"product:mug"}
    assert parts(found)[photos[0].hash] == parts(assign(photos, 0))[photos[0].hash]
    assert [one.tied for one in found] == ["", "", "product:mug"]


def test_ties_can_be_told_by_hashes_alone() -> None:
    photos = entries(20)
    together = [[photos[place].image, photos[place + 1].image] for place in range(0, 10, 2)]
    known = ties(photos, [*together, [photos[19].image]])
    assert known == sorted(sorted([photos[place].hash[:12], photos[place + 1].hash[:12]]) for place in range(0, 10, 2))
    renamed = [replace(photo, image=f"new/{number}.jpg") for number, photo in enumerate(photos)]
    assert [one.group for one in retied(renamed, known)] == [one.group for one in tied(photos, together)]
    # Of a group that is not all there, the others keep their own names.
    assert retied(renamed[:1], known) == renamed[:1]


def test_twins_stay_together_in_a_validation_part_that_is_drawn() -> None:
    photos = [*entries(40, split="train"), *entries(10, "Pear", split="test")]
    together = [[photos[place].image, photos[place + 1].image] for place in range(0, 40, 2)]
    split = twins_of(photos, together)
    assert {one.split for one in split[40:]} == {"test"}
    assert {one.split for one in split[:40]} == {"train", "val"}
    assert all(split[place].split == split[place + 1].split for place in range(0, 40, 2))


def test_half_of_many_validation_photos_are_kept_aside_whole_groups_at_a_time() -> None:
    few, many = entries(ASIDE_FROM - 1), entries(ASIDE_FROM)
    assert not any(aside(few, 0, ()))
    kept = aside(many, 0, ())
    assert abs(sum(kept) - ASIDE_FROM / 2) < 4 * math.sqrt(ASIDE_FROM / 4)
    assert kept != aside(many, 1, ())
    # Whatever else is there, and whatever part of the split the group's own position has chosen.
    assert aside(list(reversed(many)), 0, ()) == list(reversed(kept))
    val = [one for one in assign(entries(9 * ASIDE_FROM), 0) if one.split == "val"]
    assert abs(sum(aside(val, 0, ())) - len(val) / 2) < 4 * math.sqrt(len(val) / 4)
    grouped = [entry(number, product=f"p{number // 3}") for number in range(ASIDE_FROM)]
    found = dict(zip([one.group for one in grouped], aside(grouped, 0, ()), strict=True))
    assert all(found[one.group] is away for one, away in zip(grouped, aside(grouped, 0, ()), strict=True))
    # A product that is learnt from too shows nothing.
    learnt = [replace(grouped[0], split="train"), *(replace(one, split="val") for one in grouped[3:])]
    cut = elsewhere(learnt, "val")
    assert cut == {grouped[0].group}
    shown = [one.group for one, away in zip(grouped, aside(grouped, 0, cut), strict=True) if away]
    assert grouped[0].group not in shown
    assert set(shown) == {group for group, away in found.items() if away} - cut
