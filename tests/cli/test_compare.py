"""Which arm is the best, what the data support, and what makes a comparison unfair, on copies of a tiny run."""

import json
import os
import shutil
from collections import defaultdict
from dataclasses import replace
from itertools import combinations

import pytest
from command import SETS, understudy

from understudy.core.answers import VERSION
from understudy.core.errors import UserError
from understudy.core.values import Outcome, Solution
from understudy.corpus.store import read_rows, write_rows
from understudy.pipeline.cache import read_manifest, write_manifest
from understudy.reports.data import ALL_VERSIONS, FirstWrong
from understudy.reports.tables import tabulate_runs
from understudy.reports.words import join_names
from understudy.runs.answers import list_answers
from understudy.runs.attribution import find_first_wrong_steps
from understudy.runs.compare import _compare, compare_runs
from understudy.runs.fairness import (
    Conditions,
    describe_cut_off,
    describe_differences,
    find_conditions,
    name_differences,
    note_unfair,
)
from understudy.runs.looks import Look, count_looks_before, describe_looks, read_looks, record_look
from understudy.runs.report import open_run
from understudy.runs.run import Run, find_clusters, score
from understudy.runs.summaries import group_by_students, make_rows, measure_arms, measure_consistency
from understudy.training.record import read_seen

LIKE = {
    "training_steps": 300.0,
    "training_problems": 700.0,
    "learned_tokens": 9000.0,
    "parameters": 1e6,
    "decoding": "greedy",
    "settings": {
        **{"checkpoints": "chosen on dev", "scotd.max_tokens": "256"},
        **{"training.learning_rate": "0.003", "training.precision": "bfloat16"},
    },
}
ONE = Conditions(**LIKE, cut_off=0.05, students=frozenset("s"))


@pytest.fixture
def copy(tiny, tmp_path):
    """The run of the demo in a directory of its own, where `understudy demo` goes on with it."""
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    return tmp_path / "runs" / "demo"


def test_a_runs_arms_are_ranked_with_their_costs_and_two_sentences_say_what_that_is_worth(copy):
    ran = understudy("compare", "runs/demo", cwd=copy.parent.parent)
    assert ran.code == 0, ran.err
    assert "Arms on test" in ran.out
    found = json.loads(understudy("compare", "runs/demo", "--json", cwd=copy.parent.parent).out)
    accuracies = [arm["accuracy"] for arm in found["arms"]]
    assert len(accuracies) == 5
    assert accuracies == sorted(accuracies, reverse=True)
    assert {pair["arm"] for pair in found["pairs"]} == {found["arms"][0]["arm"]}
    assert found["learned"]["answer-only"] < found["learned"]["N chains, all"]
    # Eight steps teach nothing.
    assert "support no conclusion" in found["supported"] or "do not show" in found["supported"]


def test_arms_of_two_runs_are_named_by_them_and_equal_ones_are_not_told_apart(copy):
    shutil.copytree(copy, copy.parent / "again", symlinks=True)
    found = compare_runs([Run(copy), Run(copy.parent / "again")], only=["answer-only"])
    assert {arm.arm for arm in found.arms} == {"demo: answer-only", "again: answer-only"}
    (pair,) = found.pairs
    assert (pair.difference, pair.p_holm, pair.unlike) == (0.0, 1.0, ("cut off",))
    assert pair.low < 0 < pair.high
    every = compare_runs([Run(copy), Run(copy.parent / "again")])
    assert len(every.arms) == 10
    shutil.copytree(copy, copy.parent.parent / "more" / "demo", symlinks=True)
    namesakes = compare_runs([Run(copy), Run(copy.parent.parent / "more" / "demo")])
    assert len({arm.arm for arm in namesakes.arms}) == 10, "runs of one name are told by their paths"
    with pytest.raises(UserError, match="a run is named twice"):
        compare_runs([Run(copy), Run(copy / ".." / "demo")])
    labelled = compare_runs([Run(copy), Run(copy.parent / "again")], only=["demo: answer-only", "again: N chains, all"])
    assert {arm.arm for arm in labelled.arms} == {"demo: answer-only", "again: N chains, all"}


def test_runs_of_other_questions_checks_or_decoding_are_refused_unless_told_and_then_it_is_said(copy):
    shutil.copytree(copy, copy.parent / "other", symlinks=True)
    first, other = Run(copy), Run(copy.parent / "other")
    name = next(iter(first.problems_of("test")))
    other.__dict__["problems"] = [replace(p, question=p.question + "!") if p.id == name else p for p in first.problems]
    with pytest.raises(UserError, match=r"40 questions in .* and 40 in .*; 39 of them are the same.*--anyway"):
        compare_runs([first, other])
    found = compare_runs([first, other], anyway=True)
    assert found.pairs[0].n == 39
    assert any("39 of them are the same" in note for note in found.notes)
    for name in ("more", "third"):
        shutil.copytree(copy, copy.parent / name, symlinks=True)
    more = ["--set", "arms.4.decode.votes=2", "--out", "runs/more"]
    assert understudy("demo", *SETS, *more, cwd=copy.parent.parent).code == 0
    refused = understudy("compare", "runs/demo", "runs/more", cwd=copy.parent.parent)
    assert (refused.code, "vote of 3" in refused.err, "vote of 2" in refused.err) == (2, True, True)
    for arm in ("answer-only", "N chains, all"):  # of methods that both have
        for stage in Run(copy.parent / "third").answers(arm, "test").values():
            manifest = read_manifest(stage)
            asked = {**manifest.inputs["method"], "max_tokens": 7}
            write_manifest(stage, replace(manifest, inputs={**manifest.inputs, "method": asked}))
    with pytest.raises(
        UserError, match=r"answers are limited by answer_only.max_tokens to 32 in .*demo and 7 in .*third; answers are"
    ):
        compare_runs([first, Run(copy.parent / "third")])
    compare_runs([first, Run(copy.parent / "third")], only=["demo: answer-only", "third: 1 chain, correct"])
    for run, arms in (("more", {"N chains, all": 7}), ("third", {"N chains, all": 24, "1 chain, correct": 7})):
        for arm, limit in arms.items():
            for stage in Run(copy.parent / run).answers(arm, "test").values():
                manifest = read_manifest(stage)
                asked = {**manifest.inputs["method"], "max_tokens": limit}
                write_manifest(stage, replace(manifest, inputs={**manifest.inputs, "method": asked}))
    swapped = ["N chains, all", "1 chain, correct"]
    with pytest.raises(UserError, match=r"answers of .* are limited by scotd.max_tokens to .* --arm picks arms"):
        compare_runs([Run(copy.parent / "more"), Run(copy.parent / "third")], only=swapped)
    vote = next(name for name in first.arms if first.arms[name].decode.votes > 1)
    with pytest.raises(UserError, match="vote of 3"):  # where the first run shows no arm, the others are compared
        three = [Run(copy.parent / "third"), first, Run(copy.parent / "more")]
        compare_runs(three, only=[f"demo: {vote}", f"more: {vote}"])
    alike = compare_runs([first, Run(copy.parent / "more")], only=["answer-only"])
    assert not [note for note in alike.notes if "decoded" in note], "the arm that votes is not shown"
    for stage in Run(copy.parent / "more").answers("answer-only", "test").values():
        manifest = read_manifest(stage)
        write_manifest(stage, replace(manifest, summary={**manifest.summary, "extractor": "answers-1"}))
    assert open_run(copy.parent / "more").versions["answers"] == f"answers-1, {VERSION}", "a report does not read answers anew"
    with pytest.raises(UserError, match=f"answers are read by version {VERSION} in .* and answers-1, {VERSION} in"):
        compare_runs([first, Run(copy.parent / "more")])
    with pytest.raises(UserError, match="not all runs answered the split 'tset'"):
        compare_runs([first], "tset")
    with pytest.raises(UserError, match=r"a comparison needs two arms, and there is only answer-only \(the arms: answer-only"):
        compare_runs([first], only=["answer-only"])
    with pytest.raises(UserError, match=r"--arm: there is no arm 'answer-olny'; did you mean 'answer-only'"):
        compare_runs([first], only=["answer-only", "N chains, all", "answer-olny"])


def test_runs_of_other_seeds_are_not_compared_unless_told(copy):
    again = copy.parent / "again"
    shutil.copytree(copy, again, symlinks=True)
    first, other = Run(copy), Run(again)
    moved = [replace(place, seed=place.seed + 7) if place.what in ("student", "answers") else place for place in other.plan.places]
    other.plan = replace(other.plan, places=tuple(moved))
    with pytest.raises(UserError, match=r"students have different seeds: 0 in .*demo; 7 in .*again\. --anyway"):
        compare_runs([first, other])
    found = compare_runs([first, other], anyway=True)
    assert any(note.startswith("Students have different seeds: 0 in ") for note in found.notes)


def test_runs_without_a_common_question_are_refused_whatever_is_told(copy):
    shutil.copytree(copy, copy.parent / "again", symlinks=True)
    first, other = Run(copy), Run(copy.parent / "again")
    other.__dict__["problems"] = [replace(p, question=p.question + "!") for p in first.problems]
    for anyway in (False, True):
        with pytest.raises(UserError, match=r"no question in common$"):
            compare_runs([first, other], anyway=anyway)


def test_arms_that_share_a_student_are_one_group_in_whatever_run(copy):
    shutil.copytree(copy, copy.parent / "again", symlinks=True)
    first, again = Run(copy), Run(copy.parent / "again")
    names = ["answer-only", "N chains, all", "N chains, all + vote"]
    arms = [(run, name) for run in (first, again) for name in names]
    one, many, vote, *others = group_by_students(arms)
    assert (one != many, many == vote, others) == (True, True, [one, many, vote])


def test_what_is_taught_without_gold_and_chosen_by_gold_is_said(copy):
    run = Run(copy)
    assert any(student.chosen for student in run.student_summaries("N chains, all"))
    (note,) = [note for note in note_unfair(run, run.arms) if "No gold answer judged" in note]
    assert note.endswith(': "N chains, all" and "N chains, all + vote".'), "and not that of the gold answers"
    for check in ("majority", "judged"):
        some = replace(run.arms["N chains, correct"].select, check=check)
        run.arms = {**run.arms, "N chains, correct": replace(run.arms["N chains, correct"], select=some)}
        (note,) = [note for note in note_unfair(run, run.arms) if "No gold answer judged" in note]
        assert "N chains, correct" in note
    shown = compare_runs([Run(copy)], only=["answer-only", "N chains, correct"]).notes
    assert not [note for note in shown if "No gold answer judged" in note], "of arms that are not shown nothing is said"


def test_arms_that_are_picked_do_not_weaken_the_correction(copy):
    every = {(pair.arm, pair.other): pair.p_holm for pair in compare_runs([Run(copy)]).pairs}
    (pair,) = compare_runs([Run(copy)], only=list(next(iter(every)))).pairs
    assert pair.p_holm == every[pair.arm, pair.other]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, ()),
        ({"training_steps": 301.0}, ("training steps",)),
        ({"learned_tokens": 9400.0, "parameters": 1.04e6}, ()),
        ({"learned_tokens": 9500.0}, ("learned tokens",)),
        ({"training_problems": 60.0}, ("training problems",)),
        ({"parameters": 2e6, "settings": LIKE["settings"] | {"checkpoints": "the last ones"}}, ("parameters", "checkpoints")),
        (
            {"settings": LIKE["settings"] | {"training.precision": "float32"}, "decoding": "vote of 8 at T=0.7"},
            ("decoding", "training.precision"),
        ),
        ({"cut_off": 0.051}, ("cut off",)),
        ({"settings": LIKE["settings"] | {"training.learning_rate": "0.01"}}, ("training.learning_rate",)),
        ({"settings": LIKE["settings"] | {"scotd.max_tokens": "64"}}, ("scotd.max_tokens",)),
        ({"settings": LIKE["settings"] | {"socratic.max_tokens": "96"}}, ()),  # a limit of another method
        ({"training_steps": 0.0, "learned_tokens": 0.0, "parameters": 0.0, "settings": {}}, ()),  # it was not trained
        (
            {"training_steps": 0.0, "learned_tokens": 0.0, "settings": {"scotd.max_tokens": "64", "checkpoints": ""}},
            ("scotd.max_tokens",),
        ),
    ],
)
def test_what_two_arms_differ_in_beside_their_method(changed, named):
    other = Conditions(**{**LIKE, "cut_off": 0.0, **changed}, students=frozenset("t"))
    assert tuple(name_differences(ONE, other)) == tuple(name_differences(other, ONE)) == named
    both = {"a": ONE, "b": other}
    said = " ".join([*describe_differences(both), *describe_cut_off(both, "test")])
    assert all(name in said.casefold() for name in named)
    assert bool(said) == bool(named)


def test_what_is_not_alike_stands_beside_every_pair_and_in_the_notes(copy):
    data = open_run(copy)
    (pair,) = [c for c in data.comparisons if (c.arm, c.other, c.split) == ("N chains, correct", "answer-only", "test")]
    assert "learned tokens" in pair.unlike
    assert any(note.startswith("Arms differ in learned tokens: ") for note in data.notes)
    assert "differ in</th>" in (copy / "report.html").read_text()


def test_pairs_and_seeds_that_were_named_after_results_existed_are_marked(copy):
    assert [look.pairs for look in read_looks(copy)] == [()]
    late = ["--set", 'evaluation.compare=[["answer-only", "N chains, all"]]', "--set", "evaluation.splits=['test']"]
    for _ in range(2):
        assert understudy("demo", *SETS, *late, cwd=copy.parent.parent).code == 0
    data = open_run(copy)
    assert [look.times for look in read_looks(copy)] == [1, 2]
    assert [c.says.endswith("(named after 1 look)") for c in data.comparisons] == [True]
    assert any(note.startswith("Named after the results had been shown") for note in data.notes)
    assert understudy("demo", *SETS, *late[2:], "--seeds", "2", cwd=copy.parent.parent).code == 0
    assert any("The study's seeds changed after" in note and "1 before" in note for note in open_run(copy).notes)
    run = Run(copy)
    seeds = list(score(run, "N chains, all", "test"))
    each = [read_seen(roles["student"]).tokens for roles in run.students("N chains, all").values()]
    assert [find_conditions(run, some).learned_tokens for some in (seeds, seeds[:1])] == [sum(each) / 2, each[0]]


@pytest.mark.parametrize(
    ("verb", "options", "shows"),
    [
        ("report", [], True),
        ("results", ["--json"], True),
        ("results", ["--answers", "answers.csv"], True),
        ("compare", ["--json"], True),
        ("status", [], False),
        ("results", ["--rationales", "nobody"], False),
    ],
)
def test_every_verb_that_shows_results_counts_as_a_look(copy, tmp_path, verb, options, shows):
    before = sum(look.times for look in read_looks(copy))
    understudy(verb, str(copy), *options, cwd=tmp_path)
    assert sum(look.times for look in read_looks(copy)) == before + shows


def test_a_run_that_may_not_be_written_to_is_shown_and_no_look_is_noted(copy, monkeypatch):
    before = read_looks(copy)
    monkeypatch.setattr(os, "access", lambda *_: False)
    record_look(copy)
    assert read_looks(copy) == before


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ('[["answer-only", "answer-only"]]', "compares an arm with itself"),
        ('[["answer-only", "N chains, all"], ["N chains, all", "answer-only"]]', "is named twice"),
    ],
)
def test_a_pair_that_is_no_pair_is_refused(copy, pairs, why):
    ran = understudy("demo", *SETS, "--set", f"evaluation.compare={pairs}", "--dry-run", cwd=copy.parent.parent)
    assert (ran.code, why in ran.err) == (2, True)


def test_a_pair_is_the_same_turned_round_and_every_pair_is_no_pair_fewer(copy):
    study = replace(Run(copy).study, evaluation=replace(Run(copy).study.evaluation, compare=(("b", "a"),)))
    looks = [Look(1, (("a", "b"),), 3), Look(1, (), 1)]
    assert (list(describe_looks(looks, study)), count_looks_before(looks, study)) == ([], {})
    every = replace(study, evaluation=replace(study.evaluation, compare=()))
    assert list(describe_looks(looks, every)) == []
    other = replace(study, evaluation=replace(study.evaluation, compare=(("a", "c"),)))
    assert count_looks_before(looks, other) == {frozenset("ac"): 4}
    assert [said.partition(":")[0] for said in describe_looks(looks, other)][1] == "Named before and no longer compared"


def test_arms_and_a_seed_that_were_changed_after_results_existed_are_told_with_the_number_of_looks(copy):
    study = Run(copy).study
    names = [arm.name for arm in study.arms]
    assert [(look.arms, look.seed) for look in read_looks(copy)] == [(tuple(names), study.seed)]
    assert list(describe_looks(read_looks(copy), study)) == []
    looks = [Look(study.seeds, (), 2, arms=("gone", *names[1:]), seed=study.seed + 1)]
    gone, added, seed = describe_looks(looks, study)
    assert gone == "Removed after the results had been shown 2 times, so that p is corrected for fewer pairs: gone."
    assert added == f"Added after the results had been shown 2 times: {names[0]}."
    assert seed == f"The study's seed changed after the results had been shown 2 times: {study.seed + 1} before."
    assert list(describe_looks([Look(study.seeds, ())], study)) == [], "a file that does not say it"
    same = Look(study.seeds, (), arms=tuple(names), seed=study.seed)
    between = replace(same, seeds=study.seeds + 1, arms=(*names, "tried"), seed=study.seed + 5)
    tried, seeds, seed = describe_looks([same, between, same], study)
    assert tried.endswith("fewer pairs: tried.")
    assert seeds.endswith(f": {study.seeds + 1} before.") and seed.endswith(f": {study.seed + 5} before.")
    clustered = replace(same, times=3, first_split="dev", cluster_field="topic", judging_check="other")
    said = [text.partition(" changed after the results had been shown ") for text in describe_looks([clustered, same, same], study)]
    assert [what for what, _, _ in said] == ["The study's first split", "The study's cluster field", "The study's judging check"]
    assert {how for _, _, how in said} == {"3 times: dev before.", "3 times: topic before.", "3 times: other before."}, (
        "not 5 times"
    )
    some = replace(study, evaluation=replace(study.evaluation, compare=((names[0], names[1]),)))
    looks = [replace(same, pairs=((names[0], other),)) for other in names[1:3]]
    gone = join_names((names[0], names[2]), " and ")
    assert list(describe_looks(looks, some)) == [f"Named before and no longer compared: {gone}."]


def test_each_reply_of_a_vote_that_was_cut_off_counts(copy):
    run = Run(copy)
    (one,) = score(run, "N chains, all + vote", "test")
    cut = {
        name: [replace(s, finish="length" if s.path == 0 else "stop") for s in solutions]
        for name, solutions in one.solutions.items()
    }
    votes = run.arms["N chains, all + vote"].decode.votes
    assert find_conditions(run, [replace(one, solutions=cut)]).cut_off == pytest.approx(1 / votes)


def test_the_first_sentence_is_about_all_arms_and_not_about_the_best_alone(copy):
    run = Run(copy)
    (one,) = score(run, "answer-only", "test")
    names = list(one.outcomes)
    right = {"answer-only": names[:20], "1 chain, correct": names[:10], "N chains, all": names[19:]}  # 20, 10 and 21 of 40
    scored = {
        arm: (run, [replace(one, arm=arm, outcomes={n: Outcome.CORRECT if n in some else Outcome.WRONG for n in names})])
        for arm, some in right.items()
    }
    found = _compare(scored, list(scored), "test", (), ())
    assert [(pair.arm, pair.other, pair.p_holm < 0.05) for pair in found.pairs] == [
        ("N chains, all", "answer-only", False),
        ("N chains, all", "1 chain, correct", False),
    ]
    assert 'answer-only answered more questions correctly than "1 chain, correct"' in found.supported
    narrow = [[column.head for column in table.columns if not column.wide] for table in tabulate_runs(found)]
    assert narrow == [
        ["arm", "accuracy", "95 % interval", "stops", "tokens", ""],
        ["N chains, all minus", "difference", "95 % interval", "p (Holm)", "what can be said"],
    ]


def test_of_several_seeds_and_of_an_arm_that_trains_nobody_it_is_said_that_one_is_better(copy):
    run = Run(copy)
    (one,) = score(run, "answer-only", "test")
    names = list(one.outcomes)

    def seeds(arm, right, n):
        judged = {name: Outcome.CORRECT if name in right else Outcome.WRONG for name in names}
        return run, [replace(one, arm=arm, seed=seed, outcomes=judged) for seed in range(n)]

    arms = {"N chains, all": seeds("N chains, all", names, 3), "answer-only": seeds("answer-only", names[:20], 3)}
    found = _compare({**arms, "1 chain, correct": seeds("1 chain, correct", names[:2], 1)}, list(run.arms), "test", (), ())
    assert {pair.other: pair.says for pair in found.pairs} == {"answer-only": "better", "1 chain, correct": "better"}
    assert '"N chains, all" is better than answer-only and "1 chain, correct"' in found.supported
    fixed = {arm: seeds(arm, right, 1) for arm, right in (("N chains, all", names), ("answer-only", names[:20]))}
    assert (
        'on 40 questions with one seed: "N chains, all" answered more questions correctly than answer-only'
        in _compare(fixed, list(fixed), "test", (), ()).supported
    )


def test_copies_of_a_question_with_one_answer_count_once(copy):
    run = Run(copy)
    names = list(run.problems_of("test"))
    first = run.problems_of("test")[names[0]]
    written = first.question.upper().replace("?", " ?!").replace(" ", "  ")
    doubled = {  # two copies, a question with two answers, which is told, and one with another number in it
        names[1]: (first.question, first.answer),
        names[2]: (written, first.answer),
        names[3]: (first.question, "another"),
        names[4]: (f"{first.question} 3.5", first.answer),
        names[5]: (f"{first.question} 35", first.answer),
    }
    run = Run(copy)
    run.__dict__["problems"] = [
        replace(p, question=doubled[p.id][0], context=first.context, answer=doubled[p.id][1]) if p.id in doubled else p
        for p in run.problems
    ]
    assert list(run.problems_of("test")) == [names[0], *names[3:]]
    assert (run.count_copies("test"), run.count_copies("test-longer")) == (2, 0)
    notes = compare_runs([run]).notes
    assert "Not counted: 2 problems of test, as copies of another problem with the same answer." in notes, "compare says it, too"
    assert "Beware: test asks 1 question again, with another gold answer." in notes


def test_two_ways_of_answering_of_one_student_are_not_two_students(copy):
    run = Run(copy)
    (one,) = score(run, "answer-only", "test")
    names = list(one.outcomes)

    def say(arm):
        judged = {a: Outcome.CORRECT if a == arm else Outcome.WRONG for a in ("N chains, all", arm)}
        arms = {a: (run, [replace(one, arm=a, outcomes=dict.fromkeys(names, outcome))]) for a, outcome in judged.items()}
        (pair,) = _compare(arms, list(arms), "test", (), ()).pairs
        return pair.says

    assert say("N chains, all + vote") == "these answers differ"
    assert say("answer-only") == "these two students differ"


def test_a_right_answer_with_a_calculation_that_does_not_hold_is_counted(copy):
    run = Run(copy)
    (one,) = score(run, "answer-only", "test")
    said = {"1 + 1 = 3.": True, "1 + 1 = 2.": True, "Well.": True, "2 + 2 = 4. 1 + 1 = 4.": False, "2 + 1 = 3.": False}
    solutions, outcomes = {}, {}
    for name, (text, right) in zip(one.solutions, said.items(), strict=False):
        gold = run.problems_of("test")[name].answer
        solutions[name] = [Solution(name, 0, text, gold if right else "0.125", "marker")]
        outcomes[name] = Outcome.CORRECT if right else Outcome.WRONG
    scored = defaultdict(list, {("answer-only", "test"): [replace(one, solutions=solutions, outcomes=outcomes)]})
    (teacher, arm) = find_first_wrong_steps(run, scored)
    assert arm == FirstWrong("answer-only", "test", 2, ((2, 1),), holds=1, without=0, worked=2, unsound=1, steps=5, hold=3)
    right = sum(said.outcome is Outcome.CORRECT for _, said in run.judged_chains())
    assert (teacher.arm, 0 < teacher.worked <= right, 0 <= teacher.unsound <= teacher.worked) == ("", True, True)


def test_an_ask_that_failed_is_a_row_that_no_accuracy_counts(copy):
    run = Run(copy)
    ((seed, stage),) = run.answers("answer-only", "test").items()
    name, other = list(run.problems_of("test"))[:2]
    left = [solution for solution in read_rows(stage / "solutions.parquet", Solution) if solution.problem != name]
    write_rows(stage / "solutions.parquet", Solution, left)
    asks = [{"problem": id_, "path": 0, "error": "out of memory"} for id_ in (name, "no such problem")]
    (stage / "errors.json").write_text(json.dumps(asks))
    rows = {row["problem"]: row for row in list_answers(run) if (row["arm"], row["split"]) == ("answer-only", "test")}
    failed, replied = rows[name], rows[other]
    assert {key: failed[key] for key in ("seed", "verdict", "outcome", "error", "answer", "calls")} == {
        "seed": seed,
        "verdict": "error",
        "outcome": "error",
        "error": "out of memory",
        "answer": None,
        "calls": 0,
    }
    assert (replied["error"], replied["calls"], replied["verdict"]) == ("", 1, replied["outcome"])
    assert len(rows) == 40, "and none for a problem that the run does not know"


def test_a_contrast_set_counts_an_original_as_right_where_all_its_versions_are(copy):
    run = Run(copy)
    run.study = replace(run.study, evaluation=replace(run.study.evaluation, contrast="pair"))
    places = {p.id: i // 2 for split in ("test", "test-longer") for i, p in enumerate(run.problems_of(split).values()) if i < 30}
    run = Run(copy)
    run.study = replace(run.study, evaluation=replace(run.study.evaluation, contrast="pair"))
    run.__dict__["problems"] = [replace(p, meta={"pair": places[p.id]} if p.id in places else {}) for p in run.problems]
    scored = {(arm, split): list(score(run, arm, split)) for split in run.study.evaluation.splits for arm in run.arms}
    rows, pairs = measure_consistency(run, scored, measure_arms({arm: (run, scored[arm, "test"]) for arm in run.arms}))
    assert [row.arm for row in rows] == list(run.arms)
    for row in rows:
        right = [one for split in ("test", "test-longer") for one in scored[row.arm, split][0].outcomes.items()]
        by_pair = {pair: [outcome == "correct" for name, outcome in right if places.get(name) == pair] for pair in range(15)}
        assert row.n == 15
        assert row.consistent == sum(map(all, by_pair.values())) / 15
        assert row.low <= row.consistent <= row.high
        assert set(row.accuracies) == {"test", "test-longer"}
    consistent = {row.arm: row.consistent for row in rows}
    assert {(pair.split, pair.n) for pair in pairs} == {(ALL_VERSIONS, 15)}
    assert {(pair.other, pair.arm) for pair in pairs} == set(combinations(run.arms, 2))
    for pair in pairs:
        assert pair.difference == pytest.approx(consistent[pair.arm] - consistent[pair.other])
        assert pair.low <= pair.difference <= pair.high
        assert pair.p <= pair.p_holm
    names = list(run.problems_of("test"))
    assert find_clusters(run, "test", names)[:3] == ["0", "0", "1"]
    measured = measure_arms({arm: (run, scored[arm, "test"]) for arm in run.arms})
    for arm in run.arms:
        row = next(make_rows(run, *scored[arm, "test"]))
        assert (row.low, row.high) == (measured[arm].summary.low, measured[arm].summary.high), "by the clusters, too"
    run = Run(copy)
    run.study = replace(run.study, evaluation=replace(run.study.evaluation, contrast="pair"))
    blank = {names[0]: None, names[1]: ""}
    run.__dict__["problems"] = [replace(p, meta={"pair": blank.get(p.id, 7)}) for p in run.problems]
    clusters = find_clusters(run, "test", names)
    assert (len(set(clusters[:2])), set(clusters[2:])) == (2, {"7"}), "where the field is blank a question is its own"


def test_consistency_is_measured_by_the_chance_of_all_versions_and_not_by_that_of_one(copy):
    run = Run(copy)
    evaluation = replace(run.study.evaluation, contrast="pair", splits=("test",), compare=(("answer-only", "N chains, all"),))
    run.study = replace(run.study, evaluation=evaluation)
    run.__dict__["problems"] = [
        replace(p, kind="yes_no", answer="yes" if i % 2 else "no", choices=(), meta={"pair": str(i // 2)})
        for i, p in enumerate(p for p in run.problems if p.split == "test")
    ]
    (one,) = score(run, "answer-only", "test")
    names = list(run.problems_of("test"))
    assert len(names) == 40

    def answered(arm, right):
        outcomes = {name: Outcome.CORRECT if i in right else Outcome.WRONG for i, name in enumerate(names)}
        return [replace(one, arm=arm, outcomes=outcomes)]

    # Both have half of the questions right, the one whole pairs, the other a half of every pair.
    halves = {
        "N chains, all": answered("N chains, all", set(range(20))),
        "answer-only": answered("answer-only", set(range(0, 40, 2))),
    }
    arms = measure_arms({arm: (run, seeds) for arm, seeds in halves.items()})
    assert all(arm.summary.says for arm in arms.values()), "both at chance"
    rows, (pair,) = measure_consistency(run, {(arm, "test"): seeds for arm, seeds in halves.items()}, arms)
    assert {row.arm: row.consistent for row in rows} == {"N chains, all": 0.5, "answer-only": 0.0}
    assert [row.chance for row in rows] == [0.25, 0.25]
    assert {row.arm: bool(row.says) for row in rows} == {"N chains, all": False, "answer-only": True}
    assert pair.says == "these two students differ", "ten of twenty are more than a quarter"


def test_counts_accuracy_and_seeds_of_a_row_are_of_the_same_questions_where_seeds_have_other_errors(copy):
    run = Run(copy)
    (one,) = score(run, "answer-only", "test")
    names = list(one.outcomes)
    whole = replace(one, outcomes={name: Outcome.CORRECT if i < 5 else Outcome.WRONG for i, name in enumerate(names)})
    part = dict.fromkeys(names[:10], Outcome.CORRECT)
    broken = replace(one, outcomes=part, solutions={name: one.solutions[name] for name in part})
    row = measure_arms({"a": (run, [whole, broken])})["a"].summary
    assert (row.accuracy, row.spread, row.n, row.correct, row.wrong) == (0.75, (0.5, 1.0), 20, 15, 5)


def test_answers_that_are_cut_off_are_told_of_every_split_and_every_split_is_compared_on_the_screen(copy):
    run = Run(copy)
    (one,) = score(run, "answer-only", "test-longer")
    cut = {name: [replace(s, finish="length") for s in solutions] for name, solutions in one.solutions.items()}
    conditions = {"answer-only": find_conditions(run, [replace(one, solutions=cut)])}
    (said,) = describe_cut_off(conditions, "test-longer")
    assert "on test-longer was cut off at the token limit: 100.0 % (answer-only)" in said
    shown = understudy("results", str(copy), cwd=copy.parent)
    assert "Compared on test" in shown.out and "Compared on test-longer" in shown.out
    notes = [note for note in open_run(copy).notes if note.startswith("More than one answer in twenty")]
    splits = {"test", "test-longer"}
    assert {split for split in splits if any(f" on {split} was cut off" in note for note in notes)} == splits


def test_answers_after_altered_rationales_are_a_table_of_the_report(copy):
    only = ["--set", "evaluation.faithfulness=true", "--set", "evaluation.splits=['test']"]
    ran = understudy("demo", *SETS, *only, cwd=copy.parent.parent)
    assert ran.code == 0, ran.err
    places = [place for place in Run(copy).plan.places if place.what == "probe"]
    assert {(place.arm, place.name) for place in places} == {
        (arm, how)
        for arm in ("1 chain, correct", "N chains, correct", "N chains, all")  # one student votes, one writes no rationale
        for how in ("empty", "half", "corrupted", "other")
    }
    rows = open_run(copy).faithfulness
    assert all(0 <= row.low <= row.same <= row.high <= 1 and row.n <= 40 for row in rows)
    answers = list(list_answers(Run(copy)))
    for row in rows:
        right = [a["outcome"] == "correct" for a in answers if (a["arm"], a["changed"]) == (row.arm, f"probe {row.how}")]
        assert sum(right) / len(right) == pytest.approx(row.after)
