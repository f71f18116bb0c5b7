"""What an arm is shown of the teacher's chains, with every chain accounted for."""

import random
import typing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.errors import DataError
from understudy.core.values import Chain, Outcome, Problem
from understudy.selection import select as selection
from understudy.selection.choose import CHOICES, NEAR, compare_characters
from understudy.selection.select import Selection, count_selected, limit_by_openness


def select(chains, outcomes, options, *, seed, unfit=None, learned=None):
    """All chains that are kept, and the counts. ``chains`` may come in any order."""
    judged = [(c, outcomes[c.id]) for c in sorted(chains, key=lambda c: c.problem)]
    why = (lambda c: unfit.get(c.id, "")) if unfit else (lambda c: "")
    parts = list(selection.select(judged, options, seed=seed, unfit=why, learned=learned))
    return [c for part in parts for c in part.kept], count_selected(parts)


def chain(problem, path, text="t"):
    return Chain(problem, path, f"{text} {path}", "r", "5", "marker", "teacher")


OUTCOMES = st.sampled_from([Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSED, Outcome.TRUNCATED, Outcome.NO_GOLD])
CORPUS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), OUTCOMES), unique_by=lambda t: t[:2], max_size=20)


@given(CORPUS, st.sampled_from(["correct", "all", "wrong"]), st.none() | st.integers(1, 3), st.sampled_from(["first", "random"]))
def test_kept_and_dropped_add_up_and_limits_hold(corpus, keep, per_problem, choose):
    chains = [chain(p, path) for p, path, _ in corpus]
    outcomes = {c.id: outcome for c, (_, _, outcome) in zip(chains, corpus, strict=True)}
    options = Selection(keep, per_problem=per_problem, choose=choose if per_problem else "first")
    selected, counts = select(chains, outcomes, options, seed=0)
    assert len(selected) + sum(counts.dropped.values()) == len(chains)
    if keep != "all":
        assert all(outcomes[c.id].value == keep for c in selected)
    assert not any(outcomes[c.id] in (Outcome.UNPARSED, Outcome.TRUNCATED) for c in selected)
    for name in "abc":
        kept = [c.path for c in selected if c.problem == name]
        assert per_problem is None or len(kept) <= per_problem
        if per_problem and choose == "first":
            free, _ = select(chains, outcomes, Selection(keep), seed=0)
            assert sorted(kept) == sorted(c.path for c in free if c.problem == name)[:per_problem]


def test_a_random_choice_depends_on_the_problem_and_not_on_the_others():
    chains = [chain(p, i) for p in "abc" for i in range(8)]
    outcomes = {c.id: Outcome.CORRECT for c in chains}
    options = Selection(per_problem=2, choose="random")
    whole, _ = select(chains, outcomes, options, seed=1)
    part, _ = select(chains[8:], outcomes, options, seed=1)
    assert [c for c in whole if c.problem != "a"] == list(part)


LONG = "Ann has three boxes with four pears in each of them, and she gives five of the pears away. So 3 * 4 = 12 and 12 - 5 = 7."
COPIES = [
    LONG,
    LONG,
    LONG.upper().replace(",", " ;\n"),
    LONG.replace("gives", "hands"),
    "She has 3 * 4 = 12 pears. Then 12 - 5 = 7 are left.",
    "Five go: 12 - 5 = 7, since 3 * 4 = 12.",
    "No sum is written here.",
    "None here, either.",
]


@pytest.mark.parametrize(
    ("dedup", "paths"),
    [(False, range(8)), (True, [0, 2, 3, 4, 5, 6, 7]), ("near", [0, 4, 5, 6, 7]), ("equations", [0, 5, 6, 7])],
)
def test_copies_are_dropped_on_request(dedup, paths):
    chains = [Chain("p", i, text, text, "7", "marker", "t") for i, text in enumerate(COPIES)]
    chains.append(replace(chains[0], problem="q"))
    outcomes = {c.id: Outcome.CORRECT for c in chains}
    kept, counts = select(chains, outcomes, Selection(dedup=dedup), seed=0)
    assert [(c.problem, c.path) for c in kept] == [*(("p", path) for path in paths), ("q", 0)]
    assert counts.dropped == ({"duplicate": 8 - len(paths)} if dedup else {})


@pytest.mark.parametrize(
    ("answer", "finish", "outcome"),
    [
        ("5", "stop", "correct"),
        ("6", "stop", "wrong"),
        (None, "stop", "unparsed"),
        ("5", "length", "truncated"),
        ("5", "refused", "refused"),
    ],
)
def test_the_answer_check(answer, finish, outcome):
    verdict = judge(Problem("p", "?", "number", "5"), Chain("p", 0, "t", "r", answer, "marker", "t", finish=finish), same_answer)
    assert verdict.outcome.value == outcome
    assert judge(Problem("p", "?", "number"), Chain("p", 0, "t", "r", "5", "marker", "t"), same_answer).outcome is Outcome.NO_GOLD


def test_chains_that_the_format_cannot_write_are_dropped_by_reason_before_some_are_chosen():
    chains = [chain("a", path) for path in range(4)]
    outcomes = {c.id: Outcome.WRONG if i == 0 else Outcome.CORRECT for i, c in enumerate(chains)}
    unfit = {chains[0].id: "no equation", chains[1].id: "no equation"}
    selected, counts = select(chains, outcomes, Selection(per_problem=1), seed=0, unfit=unfit)
    assert selected == [chains[2]]
    assert counts.dropped == {"wrong": 1, "no equation": 1, "more than 1 per problem": 1}


def test_chains_of_problems_that_are_not_learned_from_are_left_out_whatever_they_are_and_counted():
    chains = [chain(p, path) for p in "abc" for path in range(2)]
    outcomes = {c.id: Outcome.WRONG if c.path else Outcome.CORRECT for c in chains}
    selected, counts = select(chains, outcomes, Selection(), seed=0, learned={"a", "c"})
    assert [c.problem for c in selected] == ["a", "c"]
    assert counts.dropped == {"wrong": 2, "not in the fraction": 2}
    assert (counts.chains, counts.kept, counts.problems, counts.covered) == (6, 2, 2, 2)


def corpus(*outcomes):
    """Chains of problem p with these outcomes, on paths 0, 1, ..., given in another order."""
    pairs = [(chain("p", path), outcome) for path, outcome in enumerate(outcomes)][::-1]
    return [c for c, _ in pairs], {c.id: outcome for c, outcome in pairs}


@pytest.mark.parametrize(
    ("name", "options", "paths"),
    [
        ("one_correct_path", Selection("correct", per_problem=1), [1]),
        ("all_correct_paths", Selection("correct"), [1, 3]),
        ("wrong_ones", Selection("wrong"), [0, 2]),
        ("POOL_THRESHOLD 0", Selection("all"), [0, 1, 2, 3]),
    ],
)
def test_the_strategies_of_scotds_code(name, options, paths):
    chains, outcomes = corpus(Outcome.WRONG, Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.UNPARSED)
    assert sorted(c.path for c in select(chains, outcomes, options, seed=0)[0]) == paths, name


@given(st.lists(st.sampled_from([-0.1, -0.5, -2.0]), min_size=1, max_size=8), st.integers(1, 8))
def test_the_likeliest_chains_are_those_of_the_highest_mean_log_probability_and_of_equals_the_first(logprobs, k):
    chains = [replace(chain("p", path), logprob=logprob) for path, logprob in enumerate(logprobs)]
    outcomes = {c.id: Outcome.CORRECT for c in chains}
    kept, _ = select(chains, outcomes, Selection(per_problem=k, choose="likeliest"), seed=0)
    best = sorted(range(len(logprobs)), key=lambda path: (-logprobs[path], path))[:k]
    assert [c.path for c in kept] == sorted(best)


def test_a_chain_without_log_probability_cannot_be_among_the_likeliest_but_one_that_is_dropped_anyway_may_be_so():
    chains, outcomes = corpus(Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT)
    chains = [c if c.path == 1 else replace(c, logprob=-1.0) for c in chains]
    options = Selection(per_problem=1, choose="likeliest")
    assert [c.path for c in select(chains, outcomes, options, seed=0)[0]] == [0]
    with pytest.raises(DataError, match=r"""choose = "likeliest": the chain of problem 'p', path 1, by 'teacher' has no"""):
        select(chains, outcomes, replace(options, keep="all"), seed=0)


def texts_of(*texts):
    chains = [Chain("p", path, text, text, "7", "marker", "t", logprob=-1.0) for path, text in enumerate(texts)]
    return chains, {c.id: Outcome.CORRECT for c in chains}


def paths_of(options, *texts, seed=0):
    chains, outcomes = texts_of(*texts)
    return [c.path for c in select(chains, outcomes, options, seed=seed)[0]]


SUMS = ["4 + 3 = 7", "3 + 4 = 7.", "So 4 + 3 = 7.", "7", "9 - 2 = 7"]


@pytest.mark.parametrize(
    ("choose", "k", "texts", "paths"),
    [
        ("farthest", 1, ["a a a a", "a a a b", "b b b b"], [0]),
        ("farthest", 2, ["a a a a", "a a a b", "b b b b"], [0, 2]),
        ("farthest", 2, ["a a a a", "b b b b", "c c c c"], [0, 1]),  # equally far: the earlier one
        ("farthest", 3, ["a a a a", "a a b b", "b b b b", "c c c c"], [0, 2, 3]),
        ("farthest", 9, ["a a", "a a"], [0, 1]),
        ("equations", 2, SUMS, [0, 1]),
        ("equations", 4, SUMS, [0, 1, 3, 4]),
        ("equations", 5, SUMS, [0, 1, 2, 3, 4]),
        ("shortest", 2, ["three words here", "one", "two of", "one"], [1, 3]),
        ("quantile", 1, ["three words here", "one", "two of"], [2]),
        ("quantile", 3, ["aaaa", "a", "aaa", "aaaaa", "aa"], [0, 2, 4]),
    ],
)
def test_chains_are_chosen_by_their_text(choose, k, texts, paths):
    assert paths_of(Selection(per_problem=k, choose=choose), *texts) == paths


def test_a_quantile_of_length_goes_from_the_shortest_to_the_longest_chains():
    texts = ["aaaa", "a", "aaa", "aaaaa", "aa"]
    by_quantile = {q: paths_of(Selection(per_problem=2, choose="quantile", quantile=q), *texts) for q in (0.0, 0.25, 0.75, 1.0)}
    assert by_quantile == {0.0: [1, 4], 0.25: [1, 4], 0.75: [0, 2], 1.0: [0, 3]}


def test_a_mixture_gives_each_teacher_its_share_of_the_chains_and_what_one_lacks_to_the_others():
    def write(problem, teachers):
        return [replace(chain(problem, path), teacher=teacher) for path, teacher in enumerate(teachers)]

    options = Selection(per_problem=2, choose="mixed", shares={"big": 3, "small": 1})
    many = [c for n in range(400) for c in write(f"p{n:03}", ["big", "big", "small", "small", "other"])]
    kept, counts = select(many, {c.id: Outcome.CORRECT for c in many}, options, seed=0)
    taken = [c.teacher for c in kept]
    assert (len(kept), counts.dropped) == (800, {"more than 2 per problem": 800, "of a teacher without a share": 400})
    assert 570 < taken.count("big") < 630
    assert taken.count("small") == 800 - taken.count("big")
    assert len({c.path for c in kept}) == 4, "drawn, not the first of each"
    few = write("p", ["big", "small", "small", "other"])
    taken = [{c.teacher for c in select(few, {c.id: Outcome.CORRECT for c in few}, options, seed=seed)[0]} for seed in range(20)]
    assert {"big", "small"} in taken
    assert not any("other" in teachers for teachers in taken)
    with pytest.raises(ValueError, match='shares: go with choose = "mixed"'):
        Selection(per_problem=2, choose="mixed")
    with pytest.raises(ValueError, match='shares: go with choose = "mixed"'):
        Selection(shares={"big": 1})
    with pytest.raises(ValueError, match=r'quantile = 0\.9: goes with choose = "quantile"'):
        Selection(per_problem=1, quantile=0.9)


def test_near_copies_of_whatever_problem_have_the_same_numbers_and_nearly_the_same_words_and_the_first_is_kept():
    first, second = (Chain(p, 0, text, text, "7", "marker", "t") for p, text in (("a", "So 3 + 4 = 7."), ("b", "so 3 + 4 = 7")))
    third = Chain("c", 0, "So 4 + 3 = 7.", "r", "7", "marker", "t")
    outcomes = dict.fromkeys((first.id, second.id, third.id), Outcome.CORRECT)
    kept, counts = select([first, second, third], outcomes, Selection(dedup="across"), seed=0)
    assert (kept, counts.dropped) == ([first, third], {"duplicate": 1})
    wrong_first = outcomes | {first.id: Outcome.WRONG}
    assert select([first, second, third], wrong_first, Selection(dedup="across"), seed=0)[0] == [second, third], (
        "what is dropped is no copy"
    )


def test_near_copies_of_whatever_problem_are_those_that_comparing_every_pair_finds():
    """Random texts, and copies in which a word or a number is another one; every one is compared with every one before it."""
    rng, words = random.Random(0), [f"{a}{b}ing" for a in "bcdfghklmnprst" for b in ("and", "ell", "ick", "ost", "urn")]
    texts: list[str] = []
    for _ in range(300):
        text = rng.choices([*words, "3", "12", "+"], k=rng.randint(3, 60))
        texts.append(" ".join(text))
        text[rng.randrange(len(text))] = rng.choice([*words, "7"])
        texts.append(" ".join(text).title())
    numbers = [[word for word in text.split() if not word.isalpha()] for text in texts]
    kept: list[int] = []
    for i, text in enumerate(texts):
        if not any(numbers[j] == numbers[i] and compare_characters((texts[j], text))[0, 1] >= NEAR for j in kept):
            kept.append(i)
    chains = [Chain(str(i), 0, text, text, "7", "marker", "t") for i, text in enumerate(texts)]
    found, _ = select(chains, dict.fromkeys((c.id for c in chains), Outcome.CORRECT), Selection(dedup="across"), seed=0)
    found_ids = {int(chain.problem) for chain in found}
    assert 350 < len(kept) < 550, "there are copies, and others"
    assert found_ids >= set(kept) and len(found_ids) - len(kept) <= 0.05 * (600 - len(kept)), "a pair at the limit may be missed"


def test_diverse_chains_are_one_at_random_of_each_cluster():
    pears = [
        "She picks four pears and then three more.",
        "She picks three pears, and then four more.",
        "Then she picks pears: four.",
    ]
    sums, letters = ["4 + 3 = 7, 7 + 0 = 7", "4 + 3 = 7; 7 + 0 = 7!"], ["Zwölf Boxkämpfer jagen Viktor quer"]
    options = Selection(per_problem=3, choose="diverse")
    drawn = [paths_of(options, *pears, *sums, *letters, seed=seed) for seed in range(30)]
    assert {tuple(paths) for paths in drawn} == {(p, s, 5) for p in (0, 1, 2) for s in (3, 4)}
    assert drawn == [paths_of(options, *pears, *sums, *letters, seed=seed) for seed in range(30)]
    assert paths_of(replace(options, per_problem=6), *pears, *sums, *letters) == [0, 1, 2, 3, 4, 5]


def edit_distance(one, other):
    """By the table of all prefixes."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, met in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != met))
    return row[-1]


@given(st.lists(st.lists(st.sampled_from(["ann", "buys", "3"]), max_size=9), min_size=2, max_size=6))
def test_the_farthest_chain_is_the_one_whose_words_must_be_changed_most(texts):
    [_, second] = paths_of(Selection(per_problem=2, choose="farthest"), *map(" ".join, texts))
    distances = [edit_distance(texts[0], text) for text in texts]
    assert second == 1 + distances[1:].index(max(distances[1:]))


def test_texts_are_as_alike_as_the_cosine_of_their_runs_of_three_characters():
    alike = compare_characters(["Abc, d!", "abc  d", "bcd", "a b", "1 + 2", "1 - 2", ""])
    assert alike[0, 1] == 1
    assert alike[0, 2] == alike[0, 3] == alike[1, 6] == 0
    assert 0 < alike[4, 5] < 1
    assert compare_characters(["abcd", "abce"])[0, 1] == pytest.approx(2 / 4)  # " ab" and "abc" of four


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_clusters_are_those_of_average_linkage(k):
    from scipy.cluster.hierarchy import fcluster, linkage

    for seed in range(20):
        rng = random.Random(seed)
        texts = ["".join(rng.choices("abcd ", k=rng.randrange(20, 60))) for _ in range(9)]
        tree = linkage([1 - alike for alike in compare_characters(texts).values()], "average")
        clusters = fcluster(tree, k, "maxclust")
        chains, _ = texts_of(*texts)
        chosen = CHOICES["diverse"](chains, k, rng)
        assert sorted(clusters[chain.path] for chain in chosen) == list(range(1, k + 1))


def test_more_chains_are_kept_where_they_have_more_different_pairs_of_words():
    """SCoTD's quintiles: 1, 3, 5, 7, 9 chains where 5 are kept on average."""
    words = " ".join(f"w{i}" for i in range(40))
    texts = {f"p{n:02}": [" ".join(words.split()[: 2 + n + path % 2]) for path in range(12)] for n in range(10)}
    chains = [Chain(name, path, text, text, "7", "marker", "t") for name, own in texts.items() for path, text in enumerate(own)]
    limits = limit_by_openness(chains, 5)
    assert list(limits.values()) == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9]
    assert list(limit_by_openness(chains, 2).values()) == [1, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    options = Selection(per_problem=5, choose="open-ended")
    parts = list(selection.select([(c, Outcome.CORRECT) for c in chains], options, seed=0, limits=limits))
    assert [len(part.kept) for part in parts] == list(limits.values())
    assert len({tuple(c.path for c in part.kept) for part in parts[-2:]}) == 2, "they are drawn, problem by problem"


def test_no_chains_are_read_ahead_but_those_of_one_problem_and_the_next_one():
    read = []

    def judged():
        for name in "abc":
            for path in range(4):
                read.append(name)
                yield chain(name, path), Outcome.CORRECT

    parts = selection.select(judged(), Selection(), seed=0)
    assert (next(parts).problem, len(read)) == ("a", 5)
    assert (next(parts).problem, len(read)) == ("b", 9)


def test_every_choice_is_a_function_of_the_seed_and_the_problem():
    assert set(CHOICES) == set(typing.get_args(typing.get_type_hints(Selection)["choose"]))
    chains, outcomes = texts_of(*(f"{'so ' * (path % 4)}{path} + 1 = {path + 1}" for path in range(12)))
    others = [replace(c, problem="other") for c in chains]
    for choose in CHOICES:
        options = Selection(per_problem=4, choose=choose, shares={"t": 1.0} if choose == "mixed" else {})
        alone, _ = select(chains[::-1], outcomes, options, seed=3)
        beside, _ = select([*others, *chains], outcomes | {c.id: Outcome.CORRECT for c in others}, options, seed=3)
        assert [c.path for c in alone] == [c.path for c in beside if c.problem == "p"], choose
        assert len(alone) == 4


def test_choosing_needs_a_number():
    for choose in ("random", "likeliest", "open-ended"):
        with pytest.raises(ValueError, match=f'choose = "{choose}": needs per_problem'):
            Selection(choose=choose)


def test_the_first_samples_alone_are_what_a_teacher_would_have_written_who_was_asked_for_fewer():
    chains = [chain("p", i) for i in range(4)]
    outcomes = {c.id: Outcome.CORRECT if c.path in (1, 3) else Outcome.WRONG for c in chains}
    of_two, counts = select(chains, outcomes, Selection(samples=2), seed=0)
    assert ([c.path for c in of_two], counts.dropped) == ([1], {"not among the first 2 samples": 2, "wrong": 1})
    one_sampled, _ = select(chains, outcomes, Selection("all", samples=1), seed=0)
    first_right, _ = select(chains, outcomes, Selection("correct", per_problem=1), seed=0)
    assert ([c.path for c in one_sampled], [c.path for c in first_right]) == ([0], [1])
