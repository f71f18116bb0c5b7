"""A fixed number of chains: which question gets the next one is a rule over what its own chains gave."""

import heapq
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from understudy.core.errors import StudyError
from understudy.core.values import digest
from understudy.sampling.allocation import Allocation, Draw, _compute_level, _count_halvings, plan_rounds
from understudy.studies.schema import build

LONG = 24
ANSWERS = st.sampled_from([None, "a", "b", "c"])
REPLIES = st.lists(st.lists(st.builds(Draw, ANSWERS, st.booleans()), min_size=LONG, max_size=LONG), min_size=1, max_size=8).map(
    lambda lists: {f"p{i}": replies for i, replies in enumerate(lists)}
)
OPTIONS = st.builds(
    lambda first, more, right: Allocation(first, min(LONG, first + more), right),
    st.integers(1, 5),
    st.integers(0, LONG),
    st.integers(0, 3),
)
TOTALS = st.integers(0, 8 * LONG)


def played(replies, total, options):
    """How many chains each question got, and every round."""
    counts, seen = Counter(dict.fromkeys(replies, 0)), []
    asking = plan_rounds(list(replies), total, options)
    asked = next(asking, None)
    while asked is not None:
        seen.append(asked)
        for name, paths in asked.items():
            assert paths.start == counts[name], "the next paths, without a gap"
            assert len(paths) > 0
            counts[name] = paths.stop
        try:
            asked = asking.send({name: [replies[name][i] for i in paths] for name, paths in asked.items()})
        except StopIteration:
            break
    return counts, seen


def one_block_at_a_time(replies, total, options):
    """The order of blocks as the module says it is, without rounds."""
    counts = Counter(dict.fromkeys(replies, 0))
    levels = dict.fromkeys(replies, 1)
    waiting = [(-1, 0, digest(["allocation", name]), name) for name in replies]
    heapq.heapify(waiting)
    while waiting and counts.total() < total:
        *_, name = heapq.heappop(waiting)
        counts[name] = min(counts[name] + options.first, options.most, counts[name] + total - counts.total())
        levels[name] = min(levels[name], _compute_level(replies[name][: counts[name]], options.right))
        if counts[name] < options.most:
            heapq.heappush(waiting, (-levels[name], counts[name], digest(["allocation", name]), name))
    return counts


@given(REPLIES, TOTALS, OPTIONS)
def test_all_is_spent_and_no_more_unless_every_question_has_the_most(replies, total, options):
    counts, _ = played(replies, total, options)
    assert counts.total() == min(total, options.most * len(replies))
    assert max(counts.values()) <= options.most


@given(REPLIES, TOTALS, OPTIONS)
def test_rounds_allocate_as_one_block_at_a_time_does(replies, total, options):
    assert played(replies, total, options)[0] == one_block_at_a_time(replies, total, options)


@given(REPLIES, TOTALS, OPTIONS, st.randoms())
def test_the_order_of_the_questions_changes_nothing(replies, total, options, random):
    names = list(replies)
    random.shuffle(names)
    assert played({name: replies[name] for name in names}, total, options)[0] == played(replies, total, options)[0]


@given(REPLIES, TOTALS, TOTALS, OPTIONS)
def test_a_larger_total_asks_for_the_same_chains_and_more(replies, one, other, options):
    less, more = (played(replies, total, options)[0] for total in sorted((one, other)))
    assert all(less[name] <= more[name] for name in replies)


@given(REPLIES, st.integers(1, LONG), OPTIONS)
def test_one_more_question_asks_for_its_own_chains_or_for_as_many_as_it_adds(replies, samples, options):
    *others, last = replies
    before = played({name: replies[name] for name in others}, samples * len(others), options)[0]
    after = played(replies, samples * len(replies), options)[0]
    bought = sum(max(0, after[name] - before[name]) for name in replies)
    assert bought <= max(after[last], samples)
    higher = {after[name] > before[name] for name in others if after[name] != before[name]}
    assert len(higher) < 2, "the others get more or less, not both"


@given(REPLIES, OPTIONS)
def test_everyone_gets_the_first_chains_before_anyone_gets_more(replies, options):
    _, seen = played(replies, LONG * len(replies), options)
    assert seen[0] == {name: range(options.first) for name in replies}


def alike(answer, right=False):
    return [Draw(answer, right)] * LONG


def test_questions_that_agree_stop_and_the_others_get_their_chains():
    replies = {"agrees": alike("4"), "does not": [Draw(a) for a in "4545" * 6], "agrees too": alike("7")}
    assert played(replies, 3 * 8, Allocation(first=4))[0] == {"agrees": 4, "does not": 16, "agrees too": 4}


def test_a_question_that_is_never_answered_is_not_asked_for_ever():
    replies = {"refused": alike(None), "does not agree": [Draw(a) for a in "4545" * 6]}
    assert played(replies, 24, Allocation(first=4))[0] == {"refused": 4, "does not agree": 20}


def test_with_right_chains_wanted_those_who_have_them_wait():
    replies = {"never": alike("5"), "once in eight": alike("5")[:7] + alike("4", True), "always": alike("4", True)}
    assert played(replies, 24, Allocation(first=4, right=1))[0] == {"never": 12, "once in eight": 8, "always": 4}
    assert played(replies, 44, Allocation(first=4, right=1, most=20))[0] == {"never": 20, "once in eight": 12, "always": 12}


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_doubt_is_that_of_adaptive_consistency(one, other):
    leading, second = max(one, other), min(one, other)
    doubt = beta.cdf(0.5, leading + 1, second + 1)
    level = _count_halvings(leading, second)
    assert Fraction(2) ** level <= doubt * (1 + 1e-9)
    assert doubt * (1 - 1e-9) < Fraction(2) ** (level + 1)


def test_four_alike_are_the_fewest_whose_doubt_is_below_its_threshold():
    assert [beta.cdf(0.5, n + 1, 1) < 0.05 for n in (3, 4)] == [False, True]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"first": 0}, "allocation.first = 0: input should be greater than or equal to 1"),
        ({"first": 5, "most": 4}, "allocation: most = 4: must be at least first = 5"),
        ({"right": -1}, "allocation.right = -1: input should be greater than or equal to 0"),
    ],
)
def test_impossible_options_are_refused(wrong, says):
    with pytest.raises(StudyError, match=says):
        build(Allocation, wrong, "allocation")


def test_real_chains_replayed_find_more_questions_with_a_right_chain_in_the_same_total(real_data):
    """Two chains a question for QuaRel: what docs/allocation.md says of `right = 1`, in three of its random orders."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "allocation.py"
    command = [sys.executable, str(script), "--data", str(real_data), "--set", "QuaRel", "--seeds", "3"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (uniform,) = re.findall(r"^\| 2 \| uniform \| ([\d.]+)", page, re.M)
    (more,) = re.findall(r"^\| 2 \| right = 1, first = 1 \| \*\*\+([\d.]+) ±", page, re.M)
    (all_of_them,) = re.findall(r"All of them: questions with a right chain, % ([\d.]+)", page)
    assert float(uniform) + float(more) == pytest.approx(float(all_of_them), abs=0.11)
