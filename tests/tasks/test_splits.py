"""Splits: sizes add up, groups are whole, strata in proportion, fractions nested, whatever the order of the rows."""

import json
import random
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.errors import DataError
from understudy.core.values import Problem
from understudy.tasks.splits import count_splits, make_key, split, split_by_manifest, take_fraction


def made(groups):
    """A problem for each of ``groups``, its meta field ``group``."""
    return [Problem(f"q{i}", f"Q {i}?", "number", meta={"group": group}) for i, group in enumerate(groups)]


def where(problems):
    return {p.id: p.split for p in problems}


def by_group(problem):
    return problem.meta["group"]


GROUPS = st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=60)
SHARES = st.sampled_from(
    [{"dev": 0.1, "test": 0.2}, {"train": 0.8, "dev": 0.1, "test": 0.1}, {"dev": 1, "test": 0.5}, {"train": 0.5, "test": 1}]
)


@given(GROUPS, SHARES, st.integers(0, 9), st.sampled_from([{}, {"stratify": by_group}, {"group": by_group}]), st.randoms())
@settings(max_examples=200)
def test_a_split_is_a_function_of_the_seed_and_not_of_the_order_of_the_rows(groups, sizes, seed, how, rng):
    problems = made(groups)
    mixed = rng.sample(problems, len(problems))
    assert split(problems, sizes, seed=seed, **how) == split(mixed, sizes, seed=seed, **how)


@given(GROUPS, SHARES, st.integers(0, 9), st.sampled_from([{}, {"stratify": by_group}]))
@settings(max_examples=200)
def test_sizes_add_up_and_nobody_is_in_two_splits(groups, sizes, seed, how):
    drawn = split(made(groups), sizes, seed=seed, **how)
    assert len(where(drawn)) == len(drawn)
    assert Counter(p.split for p in drawn) == Counter(count_splits(sizes, len(groups)))
    if "train" not in sizes:
        assert len(drawn) == len(groups), "what no size names is train"


@given(st.integers(0, 1000), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_shares_of_everything_use_everything_and_are_rounded_to_the_next(n, weights):
    sizes = {name: weight / sum(weights) for name, weight in zip(["train", "dev", "test", "more"], weights, strict=False)}
    counts = count_splits({name: share if share < 1 else n for name, share in sizes.items()}, n)
    assert sum(counts.values()) == n
    assert all(abs(counts[name] - share * n) < 1 for name, share in sizes.items())


@given(GROUPS, SHARES, st.integers(0, 9))
@settings(max_examples=200)
def test_each_value_is_in_each_split_in_proportion(groups, sizes, seed):
    drawn = split(made(groups), sizes, seed=seed, stratify=by_group)
    counts, values = count_splits(sizes, len(groups)), Counter(groups)
    there = Counter((p.split, p.meta["group"]) for p in drawn)
    for name, n in counts.items():
        for value, of in values.items():
            assert abs(there[name, value] - of * n / len(groups)) < 2


@given(GROUPS, SHARES, st.integers(0, 9))
@settings(max_examples=200)
def test_a_group_is_never_torn_and_sizes_are_met_to_within_the_largest_group(groups, sizes, seed):
    drawn = split(made(groups), sizes, seed=seed, group=by_group)
    sides = defaultdict(set)
    for problem in made(groups):
        sides[by_group(problem)].add(where(drawn).get(problem.id, "left out"))
    assert all(len(names) == 1 for names in sides.values())
    largest, there = max(Counter(groups).values()), Counter(p.split for p in drawn)
    assert all(abs(there[name] - n) < largest * len(sides) for name, n in count_splits(sizes, len(groups)).items())
    assert all(there[name] - n < largest for name, n in count_splits(sizes, len(groups)).items())


def test_single_problems_fill_exactly_what_groups_leave():
    problems = made(["big"] * 30 + [str(i) for i in range(70)])
    for seed in range(100):
        drawn = split(problems, {"dev": 10, "test": 40}, seed=seed, group=by_group)
        assert Counter(p.split for p in drawn) == {"train": 50, "dev": 10, "test": 40}


def test_a_group_is_held_out_as_often_as_its_share_says():
    problems = made([str(i // 5) for i in range(200)])
    held = [
        any(p.split == "test" for p in split(problems, {"test": 40}, seed=s, group=by_group) if by_group(p) == "0")
        for s in range(300)
    ]
    assert 0.12 < sum(held) / len(held) < 0.28


@given(st.integers(1, 80), st.lists(st.floats(0.01, 1), min_size=2, max_size=4), st.integers(0, 5))
def test_a_fraction_of_train_is_inside_every_larger_one(n, fractions, seed):
    problems = [Problem(f"q{i}", "?", "number", split="train" if i % 4 else "test") for i in range(n + 1)]
    parts = [take_fraction(problems, fraction, seed=seed) for fraction in sorted(fractions)]
    for smaller, larger in pairwise(parts):
        assert set(where(smaller)) <= set(where(larger))
    for fraction, some in zip(sorted(fractions), parts, strict=True):
        train = sum(p.split == "train" for p in problems)
        assert [p for p in some if p.split == "test"] == [p for p in problems if p.split == "test"]
        assert sum(p.split == "train" for p in some) == min(train, max(1, round(fraction * train)))


@given(st.randoms())
def test_a_fraction_does_not_depend_on_the_order_of_the_rows(rng):
    problems = [Problem(f"q{i}", "?", "number", split="train") for i in range(40)]
    mixed = rng.sample(problems, len(problems))
    assert where(take_fraction(problems, 0.3, seed=1)) == where(take_fraction(mixed, 0.3, seed=1))


def test_near_duplicates_are_one_group():
    texts = ["Ann has 3 pears.", "ann has 12 pears!", "Ann  has 7 pears", "Bob has 3 pears."]
    problems = [Problem(str(i), text, "number") for i, text in enumerate(texts)]
    key = make_key(problems, "near-duplicates", "group")
    assert len({key(p) for p in problems[:3]}) == 1
    assert key(problems[3]) != key(problems[0])


def test_keys_are_our_fields_or_those_of_the_file_and_others_are_named():
    problems = [Problem("a", "?", "number", "5", meta={"level": {"n": 2}}), Problem("b", "?", "number")]
    assert [make_key(problems, "answer", "stratify")(p) for p in problems] == ["5", None]
    assert [make_key(problems, "level", "group")(p) for p in problems] == ['{"n": 2}', None]
    with pytest.raises(DataError, match=r"group = 'levl': .*did you mean 'level'"):
        make_key(problems, "levl", "group")


def test_too_many_are_asked_for():
    with pytest.raises(DataError, match=r"12 problems, .*10"):
        split(made("a" * 10), {"train": 0.9, "test": 3}, seed=0)


def test_a_problem_without_a_group_is_one_of_its_own():
    problems = made([None] * 40)
    drawn = split(problems, {"test": 7}, seed=0, group=lambda p: p.meta["group"])
    assert Counter(p.split for p in drawn) == {"train": 33, "test": 7}


@given(GROUPS, SHARES, st.integers(0, 9), st.integers(0, 99))
@settings(max_examples=60)
def test_a_manifest_of_ids_gives_the_same_splits_again(tmp_path_factory, groups, sizes, seed, mix):
    path = tmp_path_factory.mktemp("m") / "splits.json"
    problems = made(groups)
    drawn = split(problems, sizes, seed=seed)
    path.write_text(json.dumps({name: [p.id for p in drawn if p.split == name] for name in count_splits(sizes, len(problems))}))
    random.Random(mix).shuffle(problems)
    assert where(split_by_manifest(problems, path)) == where(drawn)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"train": ["q0", "q7", "x"]}', r"2 of its ids .*'q7', 'x'; did you mean 'q1'"),
        ('{"train": ["q0"], "test": ["q0"]}', "1 id given more than once, first 'q0'"),
        ('["q0"]', "JSON object"),
        ('{"train": "q0"}', "JSON object"),
        ("{", "not JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(tmp_path, text, says):
    path = tmp_path / "splits.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=says) as error:
        split_by_manifest(made("ab"), path)
    assert str(path) in str(error.value)
