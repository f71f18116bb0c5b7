"""People choose between two arms' answers, blind; what they chose is kept, summed up and reported."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from browser import open_browser
from command import SETS, understudy
from loopback import Server, completion
from pages import get, serving

from understudy.cli.arguments import make_parser
from understudy.cli.view import judge as judge_verb
from understudy.core.errors import DataError, UserError
from understudy.core.prompt_format import write_question
from understudy.core.protocols import silent
from understudy.core.values import Chain, Outcome, Problem, Verdict
from understudy.corpus.store import read_rows, write_rows
from understudy.evaluation.statistics import krippendorff
from understudy.pipeline.stages.selection import read_chosen
from understudy.runs import judgements
from understudy.runs.judge_engine import BETTER, VERDICT, read_word
from understudy.runs.judge_engine import judge_chains as ask_about_chains
from understudy.runs.judgements import (
    FILE,
    Judgement,
    Pair,
    make_pairs,
    read_judgements,
    summarise_judgements,
    summarise_pair,
    write_judgements,
)
from understudy.runs.report import open_run
from understudy.runs.run import Run, score
from understudy.serving.judge import Judging
from understudy.studies.load import load_teacher
from understudy.studies.relabels import FILE as RELABELS
from understudy.studies.relabels import read_relabels

PICTURES = os.environ.get("UNDERSTUDY_PICTURES") and Path(os.environ["UNDERSTUDY_PICTURES"])
ARMS = ("answer-only", "N chains, all")


@pytest.fixture
def run(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    return Run(tmp_path / "runs" / "demo")


def given(pair, choice, rater="ana", left=None, texts=None):
    return Judgement(pair.problem.id, ARMS, rater, choice, left or pair.sides(rater)[0], texts or pair.texts)


# --- which pairs, and on which side ---


def test_pairs_are_both_arms_answers_to_questions_drawn_by_the_studys_seed(run):
    pairs = make_pairs(run, ARMS)
    first, second = (next(iter(score(run, arm, "test"))) for arm in ARMS)
    for pair in pairs:
        assert pair.answers == {
            arm: one.solutions[pair.problem.id][0].text.strip() for arm, one in zip(ARMS, (first, second), strict=True)
        }
    assert len(pairs) == sum(first.solutions[n][0].text.strip() != second.solutions[n][0].text.strip() for n in first.outcomes)
    assert make_pairs(run, ARMS, n=7) == pairs[:7]
    assert [pair.problem.id for pair in pairs] != sorted(pair.problem.id for pair in pairs)


def test_only_questions_that_both_answer_right(run, monkeypatch):
    names = [pair.problem.id for pair in make_pairs(run, ARMS)]
    right = {ARMS[0]: set(names[:5]), ARMS[1]: set(names[3:9])}

    def graded(of_run, arm, split):
        for one in score(of_run, arm, split):
            yield replace(one, outcomes={n: Outcome.CORRECT if n in right[arm] else Outcome.WRONG for n in one.outcomes})

    monkeypatch.setattr(judgements, "score", graded)
    assert {pair.problem.id for pair in make_pairs(run, ARMS, both_right=True)} == set(names[3:5])


def test_an_arm_against_itself_or_a_split_that_is_not_there_is_refused(run):
    with pytest.raises(UserError, match="two different arms"):
        make_pairs(run, (ARMS[0], ARMS[0]))
    with pytest.raises(UserError, match=r"on 'tset'"):
        make_pairs(run, ARMS, "tset")
    with pytest.raises(DataError, match="there is no arm 'nobody'"):
        make_pairs(run, (ARMS[0], "nobody"))


def test_sides_are_drawn_for_each_rater_and_question_and_stay(run):
    pairs = make_pairs(run, ARMS)
    left = [[pair.sides(rater)[0] for pair in pairs] for rater in ("ana", "bob")]
    assert left[0] != left[1]
    assert left[0] == [pair.sides("ana")[0] for pair in make_pairs(run, ARMS[::-1])]
    for of_rater in left:
        assert 0.2 < of_rater.count(ARMS[0]) / len(pairs) < 0.8


# --- what the judgements say ---


def test_the_last_judgement_of_a_rater_counts_and_every_one_is_kept(run):
    pair, file = make_pairs(run, ARMS)[0], run.directory / FILE
    write_judgements(file, [given(pair, ARMS[0])])
    write_judgements(file, [given(pair, "")])
    assert [j.choice for j in read_judgements(file)] == [ARMS[0], ""]
    (judged,) = summarise_judgements(run)
    assert (judged.n, judged.wins, judged.losses, judged.rate) == (1, 0, 0, 0.5)


def test_wins_losses_ties_sign_test_and_sides(run):
    pairs = make_pairs(run, ARMS)[:12]
    choices = [given(p, ARMS[1]) for p in pairs[:9]] + [given(p, ARMS[0]) for p in pairs[9:11]] + [given(pairs[11], "")]
    judged = summarise_pair(run, ARMS, "test", choices)
    assert (judged.n, judged.wins, judged.losses, judged.raters, judged.alpha) == (12, 2, 9, 1, None)
    assert judged.rate == pytest.approx((2 + 0.5) / 12)
    assert judged.p == pytest.approx(2 * sum((1, 11, 55)) / 2**11)  # scipy's binomtest, by hand
    assert judged.low < judged.rate < judged.high
    assert (judged.left, judged.chosen) == (sum(j.choice == j.left for j in choices), 11)


def test_of_several_raters_what_most_say_of_a_question_counts_once(run):
    (pair, *_) = make_pairs(run, ARMS)
    neither = [given(pair, "", rater) for rater in ("a", "b")]
    judged = summarise_pair(run, ARMS, "test", [*neither, given(pair, ARMS[0], "c")])
    assert (judged.n, judged.wins, judged.losses, judged.rate) == (1, 0, 0, 0.5)
    judged = summarise_pair(run, ARMS, "test", [given(pair, ARMS[0], rater) for rater in ("a", "b")] + [given(pair, ARMS[1], "c")])
    assert (judged.n, judged.wins, judged.losses, judged.raters) == (1, 1, 0, 3)


def test_a_judgement_of_other_texts_is_kept_and_not_counted(run):
    pairs = make_pairs(run, ARMS)
    judged = summarise_pair(run, ARMS, "test", [given(pairs[0], ARMS[0]), given(pairs[1], ARMS[0], texts="of before")])
    assert (judged.n, judged.stale) == (1, 1)


def test_questions_drawn_from_those_that_both_answer_right_are_summed_up_alone(run):
    pairs = make_pairs(run, ARMS)[:4]
    drawn = [replace(given(pair, ARMS[0]), both_right=True) for pair in pairs[:3]]
    write_judgements(run.directory / FILE, [*drawn, *(given(pair, ARMS[1]) for pair in pairs)])
    told = {judged.both_right: (judged.split, judged.n, judged.wins, judged.losses) for judged in summarise_judgements(run)}
    assert told == {True: ("test", 3, 3, 0), False: ("test", 4, 0, 4)}
    assert pairs[0].key("ana") != replace(pairs[0], both_right=True).key("ana"), "it is asked again"


def test_krippendorffs_alpha_of_the_papers_example():
    # Krippendorff 2011, example C: four raters, twelve units, some missing; nominal alpha .743.
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    raters = [row.split() for row in rows]
    units = [{str(r): raters[r][u] for r in range(4) if raters[r][u] != "."} for u in range(12)]
    assert krippendorff(units) == pytest.approx(0.743, abs=0.0005)
    assert krippendorff([{"a": "1"}, {"b": "2"}]) is None
    assert krippendorff([{"a": "1", "b": "1"}]) is None
    assert krippendorff([{"a": "1", "b": "1"}, {"a": "2", "b": "2"}]) == 1


def test_an_engines_agreement_is_with_what_people_say_of_the_answers_of_now(run):
    pairs = make_pairs(run, ARMS)[:4]
    engine = [replace(given(pair, ARMS[i % 2], "e", left), engine=True) for i, pair in enumerate(pairs) for left in ARMS]
    people = [given(pair, ARMS[i % 2]) for i, pair in enumerate(pairs)]
    stale = [given(pair, ARMS[1 - i % 2], texts="of before") for i, pair in enumerate(pairs)]
    assert summarise_pair(run, ARMS, "test", engine, [*stale, *people]).alpha == 1.0


def test_a_judgement_for_no_arm_of_the_pair_is_named(tmp_path):
    write_judgements(tmp_path / FILE, [Judgement("q", ARMS, "ana", "nobody", ARMS[0], "t")])
    with pytest.raises(DataError, match=r"line 1: choice = 'nobody'"):
        read_judgements(tmp_path / FILE)


def test_a_line_without_an_end_stays_a_line_of_its_own(run):
    pairs, file = make_pairs(run, ARMS)[:2], run.directory / FILE
    write_judgements(file, [given(pairs[0], ARMS[0])])
    file.write_text(file.read_text().rstrip())
    write_judgements(file, [given(pairs[1], ARMS[0])])
    assert [j.question for j in read_judgements(file)] == [pair.problem.id for pair in pairs]


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / FILE).write_text('{"question": "q"}\n')
    with pytest.raises(
        DataError, match=r"judgements\.jsonl, line 1: arms, rater, choice, left, texts must be given; correct or remove"
    ):
        read_judgements(tmp_path / FILE)


# --- an engine judges ---

JUDGE = """
[teacher]
engine = "endpoint"
url = "URL"
model = "judge"
identity = "the judge"
retries = 0
"""


@pytest.fixture
def judge(run, tmp_path):
    """Let the engine behind a script judge some questions: (what the command said, its requests, what the report says then)."""

    def ask(script, *more, n=6, style=""):
        with Server(script) as server:
            (tmp_path / "judge.toml").write_text(JUDGE.replace("URL", server.url) + style)
            ran = understudy("judge", "runs/demo", "--arms", *ARMS, "--by", "judge.toml", "-n", str(n), *more, cwd=tmp_path)
        return ran, [body for _, body in server.got], [judged for judged in summarise_judgements(run) if judged.by]

    return ask


def prefers(text_of):
    """A judge that finds the answer with this text the better one, in whichever place it stands."""

    def answer(_path, body, _n):
        prompt = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
        first = prompt.partition("Answer 1:\n")[2].partition("\n\nAnswer 2:")[0]
        text = f"Both are short.\n**Better: {1 if text_of(prompt) == first else 2}**"
        return completion(text, message={"content": text})

    return answer


def test_an_engine_is_asked_in_both_orders_and_its_judgements_stand_apart_from_peoples(run, judge, tmp_path):
    pairs = make_pairs(run, ARMS)[:6]
    texts = {write_question(pair.problem): pair.answers[ARMS[1]] or "(nothing)" for pair in pairs}
    write_judgements(run.directory / FILE, [given(pair, ARMS[i < 2]) for i, pair in enumerate(pairs)])

    def second(prompt):
        return texts[prompt.partition("Question:\n")[2].partition("\n\nAnswer 1:")[0]]

    ran, requests, (judged,) = judge(prefers(second))
    assert ran.code == 0, ran.err
    assert len(requests) == 12
    assert all(arm not in body["prompt"] for body in requests for arm in ARMS)
    assert all(body["temperature"] == 0 for body in requests)
    assert (judged.n, judged.wins, judged.losses, judged.steady, judged.chosen) == (6, 0, 6, 1.0, 0)
    assert judged.alpha == krippendorff([{"people": ARMS[i < 2], "engine": ARMS[1]} for i in range(6)])
    (people,) = (one for one in summarise_judgements(run) if not one.by)
    assert (people.n, people.wins, people.losses) == (6, 4, 2)
    assert "Answers side by side" in ran.out
    assert "1 person" in understudy("report", "runs/demo", "--markdown", cwd=tmp_path).out
    before = (run.directory / FILE).read_text()
    _, again, _ = judge(prefers(second), n=4)
    assert not again, "no reply is bought twice"
    assert (run.directory / FILE).read_text() == before


def test_a_choice_that_depends_on_the_order_is_none_and_is_counted(judge):
    _, _, (judged,) = judge(lambda *_: completion("better: answer 1"))
    assert (judged.n, judged.wins, judged.losses, judged.rate, judged.steady) == (6, 0, 0, 0.5, 0.0)
    assert (judged.left, judged.chosen) == (6, 6)


def test_a_pair_of_which_one_reply_names_none_is_not_judged(judge):
    ran, _, (judged,) = judge(lambda _p, _b, n: completion("Better: neither", finish_reason="length" if n == 1 else "stop"))
    assert "not judged: 1 of 6 pairs; a reply names no choice, is refused, or is cut off" in ran.err
    assert (judged.n, judged.wins, judged.losses) == (5, 0, 0)


def test_an_engine_that_judges_no_pair_is_an_error(judge):
    ran, _, judged = judge(lambda *_: completion("I cannot say."))
    assert ran.code != 0
    assert "none of 6 pairs was judged: no reply ends with a line that can be read" in ran.err
    assert not judged


def test_what_is_not_asked_for_lack_of_budget_ends_in_exit_code_3(judge):
    price = "price = { input = 1.0, output = 1.0 }\nbudget = { requests = 16 }\nconcurrency = 1\n"
    ran, requests, (judged,) = judge(lambda *_: completion("Better: 1"), style=price, n=12)
    assert (ran.code, judged.n) == (3, len(requests) // 2)
    assert 0 < judged.n < 12
    assert f"not judged: {12 - judged.n} of 12 pairs" in ran.err
    assert "raise teacher.budget and run it again" in ran.err


@pytest.mark.parametrize("options", [["--by", "x.toml"], ["--rater", "ana"], ["--arms", *ARMS, "--by", "x.toml", "--rater", "ana"]])
def test_options_that_do_not_go_together_are_refused(tmp_path, tiny, options):
    with pytest.raises(UserError, match=r"--rater.*(add --arms ARM ARM|leave one out)"):
        judge_verb(make_parser("judge"), [str(tiny / "runs" / "demo"), *options])


def test_a_chat_is_asked_in_a_message(judge):
    ran, requests, (judged,) = judge(prefers(lambda _: ""), style='api = "chat"\noptions.format.style = "messages"\n')
    assert ran.code == 0, ran.err
    assert [message["role"] for message in requests[0]["messages"]] == ["user"]
    assert judged.n == 6


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Better: 1", "a"),
        ("So far 1 looks better.\nBetter: 2", "b"),
        ("**Better:** 2", "b"),
        ("**Better**: `1`", "a"),
        ("Better: \\boxed{1}", "a"),
        ("The better answer is 2.", "b"),
        ("Better: Answer 1.", "a"),
        ("BETTER - neither", ""),
        ("Better: both", ""),
        ("Better: 1 at first.\n\nBetter: neither", ""),
        ("Better: 2\n\nAnswer 2 is better:\n1. it is right", "b"),
        ("Better: 1\nIn particular, answer 1 is better. 2 skips a step.", "a"),
        ("Better: 2 (Answer 1 is no better: 1 step is missing)", None),
        ("neither is better: 1 and 2 both end wrong", None),
        ("Which is better? 1 has an error.", None),
        ("Better: 1 or 2", None),
        ("Better: 1.5", None),
        ("Answer 1 is better: 12 is right", None),
        ('"Better: 1"', "a"),
        ("- Better: 2", "b"),
        ("<think>Better: 1</think> I cannot say", None),
        ("<think>Better: 1</think>\nBetter: 2", "b"),
        ("<think>\nBetter: 1", None),
        ("", None),
    ],
)
def test_the_last_line_that_names_the_better_answer_counts(text, choice):
    assert {"1": "a", "2": "b", None: None}.get(read_word(text, BETTER), "") == choice


# --- an engine judges the teacher's chains ---


def make_solution(body):
    return body["prompt"].partition("Solution:\n")[2].partition("\n\nSay briefly")[0]


def finds_right(text):
    """Whether the judge of these tests likes a chain: nothing to do with its answer."""
    return len(text) % 3 != 0


def says_right(_path, body, n):
    right = finds_right(make_solution(body))
    return completion(f"Every step holds.\nVerdict: {'right' if right else 'Wrong.'}" if n % 10 else "I cannot say.")


@pytest.fixture
def judge_chains(run, tmp_path):
    def ask(script, *more, style=""):
        with Server(script) as server:
            (tmp_path / "judge.toml").write_text(JUDGE.replace("URL", server.url) + style)
            ran = understudy("judge", "runs/demo", "--chains", "--by", "judge.toml", *more, cwd=tmp_path)
        return ran, [body for _, body in server.got]

    return ask


def test_an_engine_judges_chains_without_the_gold_answer_and_is_asked_once(run, judge_chains):
    ran, requests = judge_chains(says_right, "-n", "40", "--json")
    assert ran.code == 0, ran.err
    assert "not judged: 4 of 40 chains; a reply names no choice" in ran.err
    problems, chains = {p.id: p for p in run.problems}, {c.id: c for c, _ in run.judged_chains()}
    relabels = read_relabels(run.directory / RELABELS)
    assert len(relabels) == 36
    for (check, chain), relabel in relabels.items():
        text = chains[chain].text.strip()
        assert (check, relabel.rater) == ("judged", "the judge")
        assert relabel.outcome == ("correct" if finds_right(text) else "wrong")
        assert relabel.reason.startswith("Every step holds.")
    by_text = {(write_question(problems[c.problem]), c.text.strip()) for c in chains.values()}
    for body in requests:
        question = body["prompt"].partition("Question:\n")[2].partition("\n\nSolution:")[0]
        assert (question, make_solution(body)) in by_text
        assert "gold" not in body["prompt"].lower()
        assert body["temperature"] == 0
    gold = {chain.id: verdict.outcome for chain, verdict in run.judged_chains()}
    assert json.loads(ran.out) == {
        said: dict(Counter(gold[r.chain].value for r in relabels.values() if r.outcome == said)) for said in ("correct", "wrong")
    }
    before = (run.directory / RELABELS).read_text()
    again, requests = judge_chains(says_right, "-n", "20")
    assert again.code == 0, again.err
    assert not requests, "no reply is bought twice"
    assert (run.directory / RELABELS).read_text() == before


def test_what_an_engine_says_is_a_check_of_its_own_and_an_arm_selects_by_it(run, judge_chains, tmp_path):
    ran, _ = judge_chains(lambda p, b, n: says_right(p, b, 1), "-n", "60")
    assert ran.code == 0, ran.err
    before = {chain.id: verdict.outcome for chain, verdict in run.judged_chains()}
    (tmp_path / "demo.toml").write_text((run.directory / "study.toml").read_text())
    sets = ["study.checks=['answer', 'judged']", "study.relabels='runs/demo/relabels.jsonl'", "arms.2.select.check='judged'"]
    ran = understudy("select", "demo.toml", *SETS, *(part for each in sets for part in ("--set", each)), cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    after = Run(run.directory)
    assert {chain.id: verdict.outcome for chain, verdict in after.judged_chains()} == before, "gold is another check"
    said = {relabel.chain: relabel.outcome for relabel in read_relabels(run.directory / RELABELS).values()}
    verdicts = {v.chain: v for v in read_rows(after.verdicts_file, Verdict) if v.check == "judged"}
    assert {chain: v.outcome for chain, v in verdicts.items()} == {chain: said.get(chain, "undecidable") for chain in before}
    details = {v.detail for v in verdicts.values()}
    assert "the judge says so (Every step holds. Verdict: right)" in details
    assert "no engine judged it (understudy judge RUN --chains --by FILE.toml)" in details
    chosen = read_chosen(after.selection("N chains, correct"))
    assert chosen
    assert {said[chain] for chain in chosen} == {"correct"}
    ran = understudy("select", "demo.toml", *SETS, "--set", "study.checks=['judged']", cwd=tmp_path)
    assert (ran.code, "study.checks[0] = 'judged': holds an engine's verdicts on chains" in ran.err) == (2, True), ran.err


def test_chains_that_were_cut_off_refused_or_only_thought_are_not_judged(run, tmp_path):
    first, *others = [chain for chain, _ in run.judged_chains()][:25]
    ends = {0: "length", 1: "refused", 2: "length"}
    odd = [replace(chain, finish=ends.get(i, "stop")) for i, chain in enumerate(others)]
    write_rows(run.chains_file, Chain, [replace(first, text="<think>So it is", answer=None), *odd])
    with Server(lambda p, b, n: says_right(p, b, 1)) as server:
        (tmp_path / "judge.toml").write_text(JUDGE.replace("URL", server.url))
        judged, replies = ask_about_chains(run, load_teacher(tmp_path / "judge.toml"), tmp_path, silent)
    assert (len(replies.asked), len(judged)) == (21, 21), "equal texts share a request"
    assert {one.chain for one in judged} == {chain.id for chain in odd[3:]}


@pytest.mark.parametrize(
    "options",
    [
        ["--chains"],
        ["--chains", "--rater", "ana"],
        ["--chains", "--by", "x.toml", "--arms", *ARMS],
        ["--chains", "--by", "x.toml", "--import", "theirs.jsonl"],
        ["--chains", "--by", "x.toml", "--both-right"],
        ["--chains", "--by", "x.toml", "--split", "test"],
    ],
)
def test_chains_are_judged_by_a_model_alone_and_not_with_arms(tmp_path, tiny, options):
    with pytest.raises(UserError, match="--chains: needs --by FILE"):
        judge_verb(make_parser("judge"), [str(tiny / "runs" / "demo"), *options])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Verdict: right", "right"),
        ("**Verdict:** Wrong.", "wrong"),
        ('"Verdict: right"', "right"),
        ("“Verdict: wrong”", "wrong"),
        ('Verdict: "undecided"', "undecided"),
        ("- Final verdict: right", "right"),
        ("The verdict is correct", "correct"),
        ("Verdict: wrong at first.\nVerdict: undecided", "undecided"),
        ("Verdict: right\nVerdict: wrong", "wrong"),
        ("Verdict: right, I think", None),
        ("It is right", None),
        ("<think>Verdict: right</think> Hm.", None),
        ("", None),
    ],
)
def test_the_last_line_that_is_a_verdict_counts(text, word):
    assert read_word(text, VERDICT) == word


def test_who_cannot_judge_is_refused(run, tmp_path):
    for text, says in {
        "[teacher]\nengine = 'recorded'\nchains = ['x']": "cannot answer",
        "[teacher]\nengine = 'endpoint'\nurl = 'http://x'\nmodel = 'y'\noptions.format.style = 'messages'": "need teacher.api",
        "[teacher]\nengine = 'endpoint'\nurl = 'http://x'\nmodle = 'y'": "has no key 'modle'",
        "[judge]\n": "unknown table 'judge'",
    }.items():
        (tmp_path / "judge.toml").write_text(text)
        ran = understudy("judge", "runs/demo", "--arms", *ARMS, "--by", "judge.toml", cwd=tmp_path)
        assert (ran.code, says in ran.err) == (2, True), ran.err
    assert understudy("judge", "runs/demo", "--arms", *ARMS, "--by", "nothing.toml", cwd=tmp_path).code == 2


# --- the verb and the report ---


def test_judgements_come_in_as_json_lines_and_stand_in_the_report(run, tmp_path):
    nothing = understudy("judge", "runs/demo", cwd=tmp_path)
    assert "nothing has been judged yet" in nothing.out
    write_judgements(tmp_path / "theirs.jsonl", [given(pair, ARMS[1], "bob") for pair in make_pairs(run, ARMS)[:8]])
    told = understudy("judge", "runs/demo", "--import", "theirs.jsonl", "--json", cwd=tmp_path)
    assert told.code == 0, told.err
    (judged,) = json.loads(told.out)
    assert (judged["n"], judged["losses"]) == (8, 8)
    assert open_run(run.directory).judged[0].p == pytest.approx(2 / 2**8)
    assert "Answers side by side" in understudy("judge", "runs/demo", cwd=tmp_path).out
    assert "Answers side by side" in understudy("report", "runs/demo", "--markdown", cwd=tmp_path).out
    write_judgements(tmp_path / "strange.jsonl", [Judgement("q", ("nobody", ARMS[0]), "r", "", "nobody", "")])
    missing = understudy("judge", "runs/demo", "--import", "nowhere.jsonl", cwd=tmp_path)
    assert (missing.code, "nowhere.jsonl" in missing.err) == (2, True)
    refused = understudy("judge", "runs/demo", "--import", "strange.jsonl", cwd=tmp_path)
    assert (refused.code, "there is no arm 'nobody'" in refused.err) == (2, True)
    assert understudy("judge", "runs/demo", "--arms", *ARMS, cwd=tmp_path).err.count("add --rater NAME") == 1


def test_a_choice_is_written_down_and_another_sites_is_not(run):
    judging = Judging(make_pairs(run, ARMS), "ana", run.directory / FILE)
    (pair, *_) = judging.pairs
    with serving(judging.app("127.0.0.1")) as url:
        assert all(arm not in get(url)[1] for arm in ARMS)
        body = urlencode({"shown": f"{pair.texts} ana", "choice": "left"}).encode()
        assert get(f"{url}/judge", body, Origin="http://evil.example")[0] == 400
        assert get(f"{url}/judge", urlencode({"shown": f"{pair.texts} bob", "choice": "left"}).encode())[0] == 400, (
            "a page of an earlier rater"
        )
        assert not judging.file.exists()
        status, page, _ = get(f"{url}/judge", body, Origin=url)
        assert (status, "1 of" in page) == (200, True)
    (judgement,) = read_judgements(judging.file)
    assert (judgement.choice, judgement.left, judgement.texts) == (pair.sides("ana")[0], pair.sides("ana")[0], pair.texts)


def test_in_a_browser_one_judges_with_the_keyboard_changes_ones_mind_and_goes_on_later(run, tmp_path):
    said = {
        ARMS[0]: "Ana starts with 4. She finds 3 on Monday: 4 + 3 = 7. On Friday she loses 2: 7 - 2 = 5. So the answer is: 5",
        ARMS[1]: "She has 4, and then 3 more, so it is 7 or so. Some are lost later. So the answer is: 5",
    }
    asked = "Ana has 4 coins. Fri: loses 2. Mon: finds 3. How many coins does Ana have?"
    pairs = [Pair(Problem(f"p{i}", asked, "number", "5"), said) for i in range(3)]
    judging = Judging(pairs, "ana", run.directory / FILE)
    with serving(judging.app("127.0.0.1")) as url, open_browser(tmp_path / "profile") as browser:
        browser.go(url)
        browser.press("ArrowLeft")
        browser.press("t")
        assert "2 of 3 judged" in browser.run("document.body.textContent")
        browser.press("k")  # the one before
        assert browser.run("document.querySelector('.chosen').value") == "tie"
        browser.resize(1100, 640)
        browser.draw(PICTURES / "judge.png" if PICTURES else tmp_path / "judge.png")
        browser.press("ArrowRight")
        browser.go(url)
        browser.click("button[value=right]")
        assert "All pairs are judged" in browser.run("document.body.textContent")
        browser.resize(400, 800)
        browser.go(f"{url}/?n=1")
        assert browser.run("document.documentElement.scrollWidth") <= 400
        assert browser.problems == []
    sides = [pair.sides("ana") for pair in pairs]
    assert [j.choice for j in read_judgements(judging.file)] == [sides[0][0], "", sides[1][1], sides[2][1]]
