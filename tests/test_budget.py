import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import Held
from kramar.data.manifest import Entry
from kramar.errors import InputError
from kramar.training.budget import FEATURES_SHARE, affordable, thinned


def shop(counts: dict[tuple[str, str], int]) -> list[Entry]:
    """So many photos of each label and part, mixed."""
    made = [
        Entry(f"{label}/{split}{n}.jpg", Held(b""), digest(f"{label}{split}{n}"), label, label, "", split)
        for (label, split), count in counts.items()
        for n in range(count)
    ]
    return sorted(made, key=lambda entry: digest(entry.image))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SHOP = shop({("apple", "train"): 700, ("apple", "val"): 150, ("pear", "train"): 100, ("pear", "test"): 50})


def test_a_long_budget_takes_all_photos() -> None:
    assert affordable(SHOP, 1000, 50.0, 1280, 600) == 1000


def test_a_short_budget_takes_the_share_that_it_has_time_for() -> None:
    # 5 s of overhead; all: 150 photos verified at 10 a second, the features, and next to nothing for the fit.
    whole = 15 + 1000 / 10 / FEATURES_SHARE
    assert affordable(SHOP, 1000, 10.0, 8, 75) == pytest.approx((75 - 5) / whole * 1000, abs=2)


def test_cached_photos_cost_their_verification_only() -> None:
    assert affordable(SHOP, 0, 10.0, 8, 21) == 1000
    assert affordable(SHOP, 400, 10.0, 8, 35) == pytest.approx(30 / (15 + 40 / FEATURES_SHARE) * 1000, abs=2)


def test_the_default_budget_takes_many_of_a_hundred_thousand_photos() -> None:
    labels = {(f"class {number}", part): count for number in range(69) for part, count in (("train", 150), ("val", 33))}
    some = shop(labels)
    assert 0.3 * len(some) < affordable(some, len(some), 20.0, 1792, 600) < len(some)


def test_wide_embeddings_and_many_classes_leave_less_time() -> None:
    narrow, wide = (affordable(SHOP, 1000, 20.0, width, 60) for width in (8, 50_000))
    assert wide < narrow


@pytest.mark.parametrize("seconds_left", [-30.0, 0.0, 5.0])
def test_too_short_a_budget_says_how_long_all_would_take(seconds_left: float) -> None:
    with pytest.raises(
        InputError, match=r"--budget: .* of 1,000 photos fit at 10 photos/s; all of them take"
    ) as raised:
        affordable(SHOP, 1000, 10.0, 8, seconds_left)
    said = float(str(raised.value).rpartition("about ")[2].rstrip("s"))
    assert affordable(SHOP, 1000, 10.0, 8, said + 1) == 1000


def test_a_few_photos_are_always_enough_for_themselves() -> None:
    two = shop({("apple", "train"): 1, ("pear", "train"): 1})
    assert affordable(two, 2, 10.0, 8, 20) == 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(1, 500), st.floats(0, 2000), st.floats(0, 500))
def test_more_time_never_affords_fewer_photos(todo: int, rate: float, seconds: float, more: float) -> None:
    def afforded(time: float) -> int:
        try:
            return affordable(SHOP, todo, rate, 1280, time)
        except InputError:
            return 0

    assert 0 <= afforded(seconds) <= afforded(seconds + more) <= 1000


def test_thinning_takes_the_same_share_of_each_class_and_part() -> None:
    chosen = thinned(SHOP, 200)
    assert Counter((entry.label, entry.split) for entry in chosen) == {
        ("apple", "train"): 140,
        ("apple", "val"): 30,
        ("pear", "train"): 20,
        ("pear", "test"): 10,
    }


def test_thinning_keeps_the_order_and_is_a_fixed_draw() -> None:
    chosen = thinned(SHOP, 137)
    places = [SHOP.index(entry) for entry in chosen]
    assert places == sorted(places)
    assert {entry.hash for entry in thinned(SHOP[::-1], 137)} == {entry.hash for entry in chosen}


def test_fewer_photos_are_some_of_more() -> None:
    few, more = ({entry.hash for entry in thinned(SHOP, allowed)} for allowed in (100, 500))
    assert few < more


def test_no_class_is_thinned_away() -> None:
    entries = shop({("apple", "train"): 1000, ("pear", "train"): 2, ("fig", "test"): 1})
    counts = Counter((entry.label, entry.split) for entry in thinned(entries, 100))
    assert counts == {("apple", "train"): 100, ("pear", "train"): 1, ("fig", "test"): 1}


def test_thinning_to_all_is_all() -> None:
    assert thinned(SHOP, 1000) == SHOP
