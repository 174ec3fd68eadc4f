import itertools
import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from kramar.errors import InputError
from kramar.evaluation import paired
from kramar.evaluation.paired import (
    Comparison,
    compare_all,
    difference,
    holm,
    mcnemar,
    permutation,
    photos_needed,
)
from kramar.records import Estimate

Bools = npt.NDArray[np.bool_]


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[Bools, Bools]:
    """The two rows of a paired 2x2 table, photo by photo."""
    counts = [both, only_a, only_b, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


# Complete response before and after consolidation therapy (Cavo et al. 2012), the worked example of Fagerland,
# Lydersen & Laake (2014) and of the R package contingencytables.
CAVO = answers(59, 6, 16, 80)


@st.composite
def two_models(draw: st.DrawFn) -> tuple[Bools, Bools, list[str] | None]:
    """One to three seeds each on one to forty photos, in groups or not."""
    n = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    share = draw(st.sampled_from([0.05, 0.5, 1.0]))
    a, b = (random.random((draw(st.integers(1, 3)), n)) < share for _ in range(2))
    groups = [str(g) for g in random.integers(0, n, n)] if draw(st.booleans()) else None
    return a, b, groups


# McNemar


def test_mcnemar_by_hand() -> None:
    # 1 against 7: 2 (1 + 8) / 2^8.
    assert mcnemar(*answers(1, 1, 7, 12)) == pytest.approx(18 / 256, rel=1e-14)
    # 0 against 5: 2 / 2^5.
    assert mcnemar(*answers(10, 5, 0, 3)) == pytest.approx(2 / 32, rel=1e-14)
    assert mcnemar(*answers(3, 4, 4, 3)) == 1.0
    assert mcnemar(*answers(3, 4, 5, 3)) == 1.0
    assert mcnemar(*answers(5, 0, 0, 5)) == 1.0
    assert mcnemar(*answers(0, 1, 0, 0)) == 1.0


def test_mcnemar_as_published() -> None:
    assert mcnemar(*CAVO) == pytest.approx(0.052479, abs=5e-7)


@given(st.integers(0, 120), st.integers(0, 120), st.integers(0, 5))
def test_mcnemar_is_the_binomial_test(only_a: int, only_b: int, both: int) -> None:
    a, b = answers(both + 1, only_a, only_b, 1)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, rel=1e-10)
    assert mcnemar(a, b) == mcnemar(b, a)


@pytest.mark.parametrize("only_a", [500_000, 499_999, 499_000, 495_000, 482_000])
def test_mcnemar_of_a_million(only_a: int) -> None:
    expected = min(1.0, 2 * float(binom.cdf(only_a, 1_000_000, 0.5)))
    assert mcnemar(*answers(0, only_a, 1_000_000 - only_a, 0)) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_counts_whole_numbers_exactly() -> None:
    for differ, fewer in [(2_000, 700), (2_001, 990), (5_000, 2_400)]:
        whole = 2 * sum(math.comb(differ, i) for i in range(fewer + 1))
        expected = math.exp(math.log(whole) - differ * math.log(2))
        assert mcnemar(*answers(1, fewer, differ - fewer, 0)) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_can_be_too_small_for_a_number() -> None:
    assert mcnemar(*answers(0, 1_000_000, 0, 0)) == 0.0


def test_mcnemar_keeps_its_level() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(1000):
        a, b = random.random((2, 200)) < 0.8
        hits += mcnemar(a, b) <= 0.05
    # Binomial(1000, 0.05) is above 67 once in a hundred; an exact test is below its level.
    assert 10 <= hits <= 67


# Permutation


def naive_permutation(a: Bools, b: Bools, groups: Sequence[str]) -> float:
    """Every way of swapping the two models on whole groups, one after another, in whole numbers."""
    gaps = len(b) * a.sum(axis=0) - len(a) * b.sum(axis=0)
    keys = sorted(set(groups))
    sums = [sum(int(gap) for gap, group in zip(gaps, groups, strict=True) if group == key) for key in keys]
    totals = [
        sum(s * g for s, g in zip(signs, sums, strict=True)) for signs in itertools.product([1, -1], repeat=len(sums))
    ]
    return sum(abs(total) >= abs(sum(sums)) for total in totals) / len(totals)


def test_permutation_by_hand() -> None:
    # Differences of 1, 1/2 and -1/2: totals of 2, 1, 1, 0 and their negatives; six of eight reach 1.
    a = np.array([[True, True, False], [True, False, False]])
    b = np.array([[False, False, False], [False, False, True]])
    assert permutation(a, b, None, seed=0) == 6 / 8
    # The first two photos swap together: 1.5 - 0.5 and 1.5 + 0.5 and their negatives all reach 1.
    assert permutation(a, b, ["x", "x", "y"], seed=0) == 1.0
    assert permutation(a, a, None, seed=0) == 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
def test_permutation_enumerates(number: int, keys: int, seeds_a: int, seeds_b: int) -> None:
    random = np.random.default_rng(number)
    n = 12
    a, b = random.random((seeds_a, n)) < 0.7, random.random((seeds_b, n)) < 0.5
    groups = [f"group {g}" for g in random.integers(0, keys, n)]
    assert permutation(a, b, groups, seed=number) == naive_permutation(a, b, groups)


@given(st.integers(0, 13), st.integers(0, 13))
def test_permutation_of_one_seed_is_mcnemar(only_a: int, only_b: int) -> None:
    only_b = min(only_b, 13 - only_a)
    a, b = answers(2, only_a, only_b, 2)
    assert permutation(a, b, None, seed=0) == pytest.approx(mcnemar(a, b), rel=1e-12)


def test_permutation_draws_what_it_cannot_enumerate() -> None:
    exact = mcnemar(*CAVO)
    drawn = permutation(*CAVO, groups=None, seed=1, resamples=100_000)
    # Five standard deviations of the share of 100,000 draws.
    assert drawn == pytest.approx(exact, abs=5 * math.sqrt(exact / 100_000))
    assert drawn != permutation(*CAVO, groups=None, seed=2, resamples=100_000)
    assert drawn == permutation(*CAVO, groups=None, seed=1, resamples=100_000)


def test_permutation_is_never_zero() -> None:
    assert permutation(*answers(0, 500, 0, 0), groups=None, seed=0, resamples=999) == 1 / 1000


def test_permutation_of_shares_ties_despite_rounding() -> None:
    a = np.array([[0.1, 0.2, 0.0], [0.2, 0.1, 0.0]])
    b = np.array([[0.0, 0.0, 0.3], [0.0, 0.0, 0.3]])
    # 0.15, 0.15 and -0.3 in any order of signs: the total of zero is reached by all.
    assert permutation(a, b, None, seed=0) == 1.0


@settings(deadline=None, max_examples=60)
@given(two_models(), st.integers(0, 5))
def test_swapping_the_models_swaps_the_signs(models: tuple[Bools, Bools, list[str] | None], seed: int) -> None:
    a, b, groups = models
    p = permutation(a, b, groups, seed, resamples=200)
    assert p == permutation(b, a, groups, seed, resamples=200)
    assert 0 < p <= 1
    ab, ba = difference(a, b, groups, seed), difference(b, a, groups, seed)
    assert (ab.value, ab.low, ab.high) == pytest.approx((-ba.value, -ba.high, -ba.low), abs=1e-12)
    assert ab.n == a.shape[1]
    assert ab.value == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    assert -1 <= ab.low <= ab.value <= ab.high <= 1
    assert ab.low < ab.high


def alike(random: np.random.Generator, groups: int, size: int, seeds: int) -> tuple[Bools, Bools, list[str]]:
    """Two equally accurate models whose answers on a group hang together."""
    hard = np.repeat(random.beta(2, 0.5, (2, groups)), size, axis=1)
    a, b = (random.random((seeds, groups * size)) < hard[model] for model in range(2))
    return a, b, [str(g) for g in np.repeat(np.arange(groups), size)]


def test_permutation_keeps_its_level_where_groups_are_kept() -> None:
    random = np.random.default_rng(7)
    kept = broken = 0
    for number in range(600):
        a, b, groups = alike(random, groups=30, size=6, seeds=2)
        kept += permutation(a, b, groups, number, resamples=400) <= 0.05
        broken += permutation(a, b, None, number, resamples=400) <= 0.05
    # Binomial(600, 0.05): 15 to 46 with 99.7%.
    assert 15 <= kept <= 46
    assert broken > 90


# The difference and its interval


def test_tango_as_published() -> None:
    found = difference(*CAVO, groups=None, seed=0)
    assert found.value == pytest.approx(-10 / 161)
    assert (found.low, found.high) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert found.n == 161


def test_tango_solves_its_equation() -> None:
    """The score statistic at each limit is 1.96, its nuisance share found by a search over the likelihood."""
    only_a, only_b, n = 9, 4, 60
    found = difference(*answers(40, only_a, only_b, 7), groups=None, seed=0)
    shares = np.linspace(0, 1, 2_000_001)[1:-1]
    for d in (found.low, found.high):
        q = shares[(shares + d > 0) & (2 * shares + d < 1)]
        likelihood = only_a * np.log(q + d) + only_b * np.log(q) + (n - only_a - only_b) * np.log(1 - 2 * q - d)
        best = q[likelihood.argmax()]
        assert abs(only_a - only_b - n * d) / math.sqrt(n * (2 * best + d * (1 - d))) == pytest.approx(
            1.959964, abs=1e-3
        )


@pytest.mark.parametrize("n", [1, 10, 2000])
def test_interval_where_one_seed_agrees(n: int) -> None:
    right = np.arange(n) % 3 > 0
    found = difference(right, right, [str(i) for i in range(n)], seed=0)
    bound = 1.959964**2 / (n + 1.959964**2)
    assert (found.value, found.low, found.high) == pytest.approx((0, -bound, bound), abs=1e-6)


def test_interval_at_the_ends() -> None:
    found = difference(*answers(0, 12, 0, 0), groups=None, seed=0)
    assert found.high == found.value == 1
    assert 0.5 < found.low < 0.9


def test_interval_where_several_seeds_agree() -> None:
    right = np.random.default_rng(0).random((1, 300)) < 0.8
    several = np.repeat(right, 3, axis=0)
    found = difference(several, several, None, seed=0)
    assert -found.low == pytest.approx(found.high, abs=1e-12)
    # Between two and four photos: the rule of three.
    assert 2 / 300 < found.high < 4 / 300
    grouped = difference(several, several, [str(i // 5) for i in range(300)], seed=0)
    assert 2 / 60 < grouped.high < 4 / 60


def test_bootstrap_comes_near_tango_where_both_apply() -> None:
    a, b = answers(700, 90, 60, 150)
    tango = difference(a, b, None, seed=0)
    twice = difference(np.stack([a, a]), np.stack([b, b]), None, seed=0)
    assert (twice.value, twice.low, twice.high) == pytest.approx((tango.value, tango.low, tango.high), abs=0.002)


def test_interval_knows_groups() -> None:
    a, b = answers(150, 60, 30, 60)
    fives = [str(i // 5) for i in range(300)]
    alone, grouped = difference(a, b, None, 0), difference(a, b, fives, 0)
    # Photos of a group answer alike here, so five of them are worth one.
    ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.1)


@pytest.mark.parametrize(("n", "only_a", "only_b"), [(25, 0.15, 0.05), (80, 0.02, 0.02), (300, 0.1, 0.06)])
def test_interval_of_one_seed_covers(n: int, only_a: float, only_b: float) -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        u = random.random(n)
        found = difference((u > only_b), (u < only_b) | (u > only_a + only_b), None, seed=0)
        covered += found.low <= only_a - only_b <= found.high
    # Three standard deviations below 95%.
    assert covered >= 0.917 * 400


@pytest.mark.parametrize(("groups", "size", "seeds"), [(20, 3, 1), (60, 4, 3), (150, 1, 3)])
def test_interval_by_group_covers(monkeypatch: pytest.MonkeyPatch, groups: int, size: int, seeds: int) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 1000)
    random = np.random.default_rng(4)
    keys = [str(g) for g in np.repeat(np.arange(groups), size)] if size > 1 else None
    covered = 0
    for number in range(300):
        # Accuracies of 6/7 and 3/4 over groups, each photo's chance shared by its group.
        a, b = (
            random.random((seeds, groups * size)) < np.repeat(random.beta(3, beta, groups), size) for beta in (0.5, 1)
        )
        found = difference(a, b, keys, number)
        covered += found.low <= 6 / 7 - 3 / 4 <= found.high
    assert covered >= 0.912 * 300


def test_draws_are_the_seeds_alone() -> None:
    a, b, groups = alike(np.random.default_rng(0), groups=40, size=3, seeds=2)
    assert difference(a, b, groups, 1) == difference(a, b, groups, 1)
    assert difference(a, b, groups, 1) != difference(a, b, groups, 2)


# Holm


def naive_holm(p: Sequence[float]) -> list[float]:
    """The largest of the multiplied p-values up to its own rank; ties in any order."""
    ranked = sorted(p)
    return [min(1.0, max((len(p) - i) * ranked[i] for i in range(ranked.index(value) + 1))) for value in p]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.02, 0.5])), max_size=12))
def test_holm_is_the_naive_one(p: list[float]) -> None:
    adjusted = holm(p)
    assert adjusted == naive_holm(p)
    assert all(0 <= raw <= more <= 1 for raw, more in zip(p, adjusted, strict=True))
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


# Families


def test_compare_all_takes_each_pair_once_in_order() -> None:
    random = np.random.default_rng(0)
    base = random.random(400) < 0.7
    right = {
        "plain": base[None],
        "good": (base | (random.random(400) < 0.5))[None],
        "seeds": np.stack([base ^ (random.random(400) < 0.05) for _ in range(3)]),
    }
    found = compare_all(right, None, seed=0)
    assert [(c.first, c.second) for c in found] == [("plain", "good"), ("plain", "seeds"), ("good", "seeds")]
    assert found[0].p == mcnemar(base, right["good"][0])
    assert found[1].p == permutation(right["plain"], right["seeds"], None, 0)
    assert found[0].difference == difference(right["plain"], right["good"], None, 0)
    assert [c.adjusted for c in found] == holm([c.p for c in found])
    assert (found[0].verdict, found[2].verdict) == ("worse", "better")


def test_compare_all_keeps_groups_together() -> None:
    a, b = answers(10, 14, 2, 4)
    right = {"a": a[None], "b": b[None]}
    distinct = compare_all(right, [str(i) for i in range(30)], seed=0)
    assert distinct == compare_all(right, None, seed=0)
    assert distinct == compare_all({"a": a, "b": b}, None, seed=0)
    assert distinct[0].p == mcnemar(a, b)
    pairs = [str(i // 2) for i in range(30)]
    assert compare_all(right, pairs, seed=0)[0].p == permutation(a, b, pairs, seed=0)
    assert compare_all({"a": a}, None, seed=0) == []


def test_a_family_of_equals_seldom_makes_a_claim() -> None:
    random = np.random.default_rng(11)
    claims = 0
    for _ in range(300):
        right = {str(model): random.random((1, 150)) < 0.75 for model in range(4)}
        claims += any(c.verdict != "no difference shown" for c in compare_all(right, None, seed=0))
    # Binomial(300, 0.05) is above 26 once in three hundred.
    assert claims <= 26


@pytest.mark.parametrize(
    ("value", "adjusted", "verdict"),
    [
        (0.1, 0.05, "better"),
        (-0.1, 0.01, "worse"),
        (0.1, 0.0501, "no difference shown"),
        (0.0, 1.0, "no difference shown"),
    ],
)
def test_verdict(value: float, adjusted: float, verdict: str) -> None:
    estimate = Estimate(value=value, low=value - 0.2, high=value + 0.2, n=10)
    assert Comparison("a", "b", estimate, p=0.001, adjusted=adjusted).verdict == verdict


# Wrong uses, and size


@pytest.mark.parametrize(
    ("a", "b", "groups", "message"),
    [
        (np.ones(3, bool), np.ones(4, bool), None, "same photos, found 3 and 4"),
        (np.ones((1, 0), bool), np.ones((1, 0), bool), None, "at least one"),
        (np.ones((1, 2, 2), bool), np.ones((1, 2, 2), bool), None, r"found \(1, 2, 2\)"),
        (np.array([0.5, math.nan]), np.array([0.5, 0.5]), None, "shares in"),
        (np.ones(3, bool), np.ones(3, bool), ["a", "b"], "each of 3 photos, found 2"),
    ],
)
def test_wrong_uses_are_told(a: Bools, b: Bools, groups: list[str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        difference(a, b, groups, seed=0)
    with pytest.raises(InputError, match=message):
        permutation(a, b, groups, seed=0)


def test_mcnemar_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(InputError, match="one run a model"):
        mcnemar(np.ones((2, 3), bool), np.ones((2, 3), bool))
    with pytest.raises(InputError, match="resamples"):
        permutation(np.ones(3, bool), np.ones(3, bool), None, seed=0, resamples=0)


def test_many_photos_are_no_burden() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((3, 100_000)) < 0.80, random.random((2, 100_000)) < 0.79
    groups = [str(i // 3) for i in range(100_000)]
    start = time.process_time()
    found = compare_all({"a": a, "b": b}, groups, seed=0)
    assert found[0].verdict == "better"
    # 0.2 s measured.
    assert time.process_time() - start < 5


def test_photos_needed_would_show_the_difference_four_times_in_five() -> None:
    # 60 of 400 photos the one alone has right, 40 the other.
    a, b = np.zeros(400, bool), np.zeros(400, bool)
    a[:60], b[60:100] = True, True
    needed = photos_needed(a, b)
    assert needed == photos_needed(b, a)
    assert needed is not None
    generator = np.random.default_rng(0)
    shown = 0
    for _ in range(300):
        drawn = generator.integers(0, 400, needed)
        shown += mcnemar(a[drawn], b[drawn]) <= 0.05
    assert 0.7 < shown / 300 < 0.9
    assert photos_needed(a, a) is None
