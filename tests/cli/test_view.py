"""Every question of a run, from chain to answer: in the terminal, over HTTP, and in a browser."""

import json
import os
import shutil
import socket
import urllib.parse
from dataclasses import asdict, replace
from html import escape
from pathlib import Path

import pytest
from browser import open_browser
from command import SETS, understudy
from pages import get, serving

from understudy.core.errors import DataError
from understudy.core.values import Chain, Outcome, Problem, Solution, Verdict
from understudy.corpus import store
from understudy.corpus.store import read_rows, write_rows
from understudy.corpus.tables import append_objects
from understudy.pipeline.stages.selection import read_chosen
from understudy.runs.answers import list_answers
from understudy.runs.attribution import check_steps
from understudy.runs.questions import ArmAnswer, Filters, QuestionIndex, QuestionRecord
from understudy.runs.run import Run
from understudy.serving.view import View, make_link
from understudy.studies.relabels import FILE, Relabel, read_relabels
from understudy.training.record import read_seen

PICTURES = os.environ.get("UNDERSTUDY_PICTURES") and Path(os.environ["UNDERSTUDY_PICTURES"])
"""Where the pictures of docs/view.md are written, if anywhere."""
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def questions(tiny):
    return QuestionIndex(Run(tiny / "runs" / "demo"))


# --- what is known of a question ---


def test_each_questions_chains_verdicts_and_answers_are_those_of_the_run(questions):
    run = questions.run
    judged = [one for entry in questions.entries.values() for one in questions.chains(entry)]
    assert sorted(one.chain.id for one in judged) == sorted(chain.id for chain, _ in run.judged_chains())
    assert all(verdict.chain == one.chain.id for one in judged for verdict in one.verdicts)
    assert {v for one in judged for v in one.verdicts} == {verdict for _, verdict in run.judged_chains()}
    told = {
        (a.arm, a.seed, e.problem.id, s.path, o.value, a.outcome)
        for e in questions.entries.values()
        for a in e.answers
        for s, o in a.solutions
    }
    columns = ("arm", "seed", "problem", "path", "verdict", "outcome")
    assert told == {tuple(row[name] for name in columns) for row in list_answers(run)}


def test_of_several_checks_each_chain_has_its_own_verdicts(tmp_path):
    checked = understudy("check", "demo", *SETS, "--set", 'study.checks=["answer", "form", "majority"]', cwd=tmp_path)
    assert checked.code == 0, checked.err
    questions = QuestionIndex(Run(tmp_path / "runs" / "demo"))
    judged = [one for entry in questions.entries.values() for one in questions.chains(entry)]
    assert {v for one in judged for v in one.verdicts} == set(read_rows(questions.run.verdicts_file, Verdict))
    for one in judged:
        assert [(v.chain, v.check) for v in one.verdicts] == [(one.chain.id, name) for name in ("answer", "form", "majority")]


def test_what_was_learned_from_a_question_is_what_training_saw(questions):
    run = questions.run
    (stage,) = run.students("N chains, all")[0].values()
    shown = read_seen(stage).shown
    entry = questions.entries[shown[0].problem]
    learned = [example for names, example in questions.examples(entry) if "N chains, all" in names.split(" = ")]
    assert [example for example in shown if example.problem == entry.problem.id] == learned[: len(shown)]
    assert {example.chain for example in learned} <= {one.chain.id for one in questions.chains(entry)}


def test_a_chain_names_the_arms_that_took_it(questions):
    run = questions.run
    judged = [one for entry in questions.entries.values() for one in questions.chains(entry)]
    for arm in ("1 chain, correct", "N chains, all"):
        chosen = json.loads((run.selection(arm) / "selected.json").read_text())
        assert sorted(chosen) == sorted(one.chain.id for one in judged if arm in one.arms) != []
    assert not any("answer-only" in one.arms for one in judged), "it learns answers alone"


def test_filters_keep_what_they_say(questions):
    everything = list(questions.entries.values())

    def kept(**filters):
        return [entry.problem.id for entry in questions.find(Filters(**filters))]

    def those(test):
        return [entry.problem.id for entry in everything if test(entry)]

    assert kept() == those(lambda e: True)
    assert kept(split="test") == those(lambda e: e.problem.split == "test") != kept()
    assert kept(verdict="wrong") == those(lambda e: any(c.verdicts[0].outcome == "wrong" for c in questions.chains(e))) != []
    arm = "N chains, all"
    assert kept(arm=arm, outcome="correct") == those(lambda e: any(a.outcome == "correct" for a in e.answers if a.arm == arm))
    assert kept(arm=arm, least=1) == those(lambda e: any(s.text for a in e.answers if a.arm == arm for s, _ in a.solutions))
    chained = those(lambda e: any(len(c.chain.text) >= 60 for c in questions.chains(e)))
    assert kept(least=60) == chained != []
    assert set(kept(most=59)) == set(kept()) - set(chained)
    assert kept(disagree=True) == those(lambda e: len({a.outcome is Outcome.CORRECT for a in e.answers}) > 1)


def entry_of(*answers):
    given = tuple(ArmAnswer(arm, seed, outcome, (), None, step) for arm, seed, outcome, step in answers)
    return QuestionRecord(Problem("p", "How many?", "number", "5", split="test"), range(0), {}, 0, given)


def test_arms_disagree_where_one_is_right_more_often():
    both = [("a", 0, Outcome.CORRECT, None), ("a", 1, Outcome.WRONG, 2), ("b", 0, Outcome.CORRECT, None)]
    assert Filters(disagree=True).keeps(entry_of(*both))
    assert not Filters(disagree=True).keeps(entry_of(*both, ("b", 1, Outcome.UNPARSED, None)))
    assert not Filters(disagree=True).keeps(entry_of(*both[:2])), "one arm has nobody to disagree with"


def test_the_first_wrong_step_is_that_of_the_arm_that_is_named():
    entry = entry_of(("a", 0, Outcome.WRONG, 2), ("a", 1, Outcome.CORRECT, None), ("b", 0, Outcome.WRONG, 1))
    assert [step for step in (1, 2, 3) if Filters(step=step).keeps(entry)] == [1, 2]
    assert [step for step in (1, 2, 3) if Filters(arm="a", step=step).keeps(entry)] == [2]
    assert not Filters(arm="a", step=2, outcome="correct").keeps(entry)


def test_a_wrong_answers_first_wrong_step_is_found():
    problem = Problem("p", "Ana has 4 and finds 3, then loses 2.", "number", "5")
    texts = [
        "4 + 3 = 7. 7 - 2 = 4. So the answer is: 4",
        "4 + 3 = 8. 8 - 2 = 6. So the answer is: 6",
        "She has 9. So the answer is: 9",
        "4 plus 3 is 8. So the answer is: 8",
        "4 + 3 = 7. So the answer is: 7",
    ]
    assert [check_steps(problem, Solution("p", 0, text, None, "none").as_chain()).first_wrong for text in texts] == [
        2,
        1,
        None,
        1,
        0,
    ]
    two = "4 + 3 = 7 and 1 + 1 = 3. 7 - 2 = 5. So the answer is: 5"
    assert check_steps(problem, Solution("p", 0, two, "5", "marker").as_chain()) == (1, 2, 1), "a step holds where all in it does"


def test_a_search_finds_words_of_questions_chains_and_answers(questions):
    entry = next(entry for entry in questions.entries.values() if entry.rows)
    chain = questions.chains(entry)[0].chain
    assert entry in questions.find(Filters(text=chain.text.strip().upper()))
    assert entry in questions.find(Filters(text=entry.problem.question))
    answered = next(e for e in questions.entries.values() if any(s.text for a in e.answers for s, _ in a.solutions))
    text = next(s.text for a in answered.answers for s, _ in a.solutions if s.text)
    assert answered in questions.find(Filters(text=text))
    assert questions.find(Filters(text="no text of anybody's")) == []


def test_a_search_finds_words_of_context_and_options(questions, monkeypatch):
    entry = next(iter(questions.entries.values()))
    problem = replace(entry.problem, context="On Mars.", choices=("a red one", "a blue one"), kind="option", answer="A")
    monkeypatch.setitem(questions.entries, problem.id, replace(entry, problem=problem))
    assert [[e.problem.id for e in questions.find(Filters(text=text))] for text in ("on mars", "a blue")] == [[problem.id]] * 2
    with serving(View(questions).app("127.0.0.1")) as url:
        assert "(b) a blue one" in get(f"{url}/question?id={problem.id}")[1]


def test_rows_are_read_alone_across_the_groups_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROWS", 4)
    chains = [Chain(f"p{i}", i, f"text {i}", "", None, "none", "t") for i in range(11)]
    write_rows(tmp_path / "c.parquet", Chain, chains)
    for start in range(12):
        for stop in range(start, 12):
            assert list(read_rows(tmp_path / "c.parquet", Chain, range(start, stop))) == chains[start:stop]


# --- in the terminal ---


def test_why_tells_a_question_by_its_id_or_its_words(tiny, questions):
    entry = next(entry for entry in questions.entries.values() if entry.rows)
    chain = questions.chains(entry)[0].chain
    told = understudy("why", "runs/demo", entry.problem.id, cwd=tiny)
    assert told.code == 0, told.err
    assert chain.text.split()[0] in told.out
    assert "learned by" in told.out and "⟦" in told.out
    assert f"answer: {questions.chains(entry)[0].verdicts[0].outcome}" in told.out
    by_words = understudy("why", "runs/demo", entry.problem.question, "--json", cwd=tiny)
    assert json.loads(by_words.out)["problem"]["id"] == entry.problem.id
    assert json.loads(by_words.out)["chains"][0]["chain"]["text"] == chain.text


def test_why_and_the_page_say_what_a_vote_elects(tiny, questions):
    elected = [(e, a) for e in questions.entries.values() for a in e.answers if len(a.solutions) > 1 and a.elected]
    entry, answer = elected[0]
    assert [s.answer for s, _ in answer.solutions].count(answer.elected) >= 1
    said = f"a vote of {len(answer.solutions)} for {answer.elected}"
    assert said in " ".join(understudy("why", "runs/demo", entry.problem.id, cwd=tiny).out.split())
    with serving(View(questions).app("127.0.0.1")) as url:
        assert said in get(f"{url}/question?id={entry.problem.id}")[1]


def test_why_says_which_questions_have_words_that_several_have(tiny):
    told = understudy("why", "runs/demo", "How many", cwd=tiny)
    assert told.code == 2
    assert "questions, with their chains and answers, contain 'How many'; name one by its id; the first 10 are:" in told.err
    assert "diary-test-" in told.err
    assert "no question, chain or answer contains 'zebra'" in understudy("why", "runs/demo", "zebra", cwd=tiny).err


def test_a_run_without_students_shows_its_chains(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    for stage in (tmp_path / "runs" / "demo" / "stages").iterdir():
        if stage.name.startswith(("student", "answers", "selection")):
            shutil.rmtree(stage)
    alone = QuestionIndex(Run(tmp_path / "runs" / "demo"))
    entry = next(entry for entry in alone.entries.values() if entry.rows)
    assert (len(alone.chains(entry)), list(alone.examples(entry)), entry.answers) == (3, [], ())
    shutil.rmtree(next((tmp_path / "runs" / "demo" / "stages").glob("verdicts-*")))
    with pytest.raises(DataError, match="is not finished"):
        QuestionIndex(Run(tmp_path / "runs" / "demo"))


# --- over HTTP ---


def test_the_list_and_each_question_are_pages(questions):
    entry = next(entry for entry in questions.entries.values() if entry.rows)
    with serving(View(questions).app("127.0.0.1")) as url:
        status, page, headers = get(f"{url}/?split=test&text=How+many")
        assert (status, "40 questions" in page) == (200, True)
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        status, page, _ = get(url + make_link(Filters(), "/question", id=entry.problem.id))
        assert status == 200
        assert escape(questions.chains(entry)[0].chain.text.strip()) in page
        assert 'class="learned"' in page
        assert get(f"{url}/question?id=nope")[0] == 404
        for page in ("/", "/question"):
            wrong = get(f"{url}{page}?step=x&id={entry.problem.id}")
            assert wrong[:2] == (400, "step: Input should be a valid integer, unable to parse string as an integer")


def test_no_other_sites_name_is_answered(questions):
    with serving(View(questions).app("127.0.0.1")) as url:
        assert get(url, Host="evil.example")[0] == 400
        assert get(url, Host=f"localhost:{url.rsplit(':')[-1]}")[0] == 200


def test_what_anybody_wrote_is_only_text_on_the_pages(questions, monkeypatch):
    entry = next(entry for entry in questions.entries.values() if entry.rows)
    (first, *_) = questions.chains(entry)
    hostile = type(first)(
        type(first.chain)(**{**vars(first.chain), "text": HOSTILE, "teacher": HOSTILE}), first.verdicts, (HOSTILE,)
    )
    monkeypatch.setattr(questions, "chains", lambda _: [hostile])
    with serving(View(questions).app("127.0.0.1")) as url:
        for page in (
            f"{url}/?text={urllib.parse.quote(HOSTILE)}",
            url + make_link(Filters(text=HOSTILE), "/question", id=entry.problem.id),
        ):
            body = get(page)[1]
            assert "<script>alert" not in body
            assert "<img" not in body
            assert escape(HOSTILE) in body


def test_where_it_cannot_listen_it_says_so(tiny):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = understudy("view", "runs/demo", "--port", str(taken.getsockname()[1]), cwd=tiny)
    assert (told.code, "cannot listen there" in told.err) == (2, True)


# --- people say what a chain is ---


@pytest.fixture
def mine(tiny, tmp_path):
    """A run of one's own to write into."""
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    return QuestionIndex(Run(tmp_path / "runs" / "demo"))


def test_a_person_says_what_a_chain_is_and_every_word_is_kept(mine):
    entry = next(entry for entry in mine.entries.values() if entry.rows)
    chain = mine.chains(entry)[0]
    place = make_link(Filters(split="train"), "/relabel", id=entry.problem.id)

    def form(**more):
        return urllib.parse.urlencode({"chain": chain.chain.id, "outcome": "wrong", "reason": HOSTILE, **more}).encode()

    with serving(View(mine, "ana").app("127.0.0.1")) as url:
        assert get(url + place, form(), Origin="http://evil.example")[0] == 400
        assert get(url + place, form(outcome="superb"))[0] == 400
        assert get(url + place, form(chain="nope"))[0] == 400
        assert not (mine.run.directory / FILE).exists()
        status, page, _ = get(url + place, form(), Origin=url)
        assert (status, "ana says" in page, escape(HOSTILE) in page, HOSTILE in page) == (200, True, True, False)
        get(url + place, form(outcome="undecidable", reason=""))
    lines = [json.loads(line) for line in (mine.run.directory / FILE).read_text().splitlines()]
    assert [(line["outcome"], line["rater"], line["was"]) for line in lines] == [
        (outcome, "ana", chain.verdicts[0].outcome) for outcome in ("wrong", "undecidable")
    ]
    assert read_relabels(mine.run.directory / FILE)["", chain.chain.id].outcome == "undecidable"


def test_without_a_rater_nothing_is_written(mine):
    entry = next(entry for entry in mine.entries.values() if entry.rows)
    with serving(View(mine).app("127.0.0.1")) as url:
        assert 'name="outcome"' in get(url)[1], "a filter"
        assert "/relabel" not in get(url + make_link(Filters(), "/question", id=entry.problem.id))[1]
        assert get(f"{url}/relabel?id={entry.problem.id}", b"outcome=wrong")[0] == 404


def test_a_damaged_line_is_named_before_anybody_adds_one(mine):
    (mine.run.directory / FILE).write_text('{"chain": "c", "outcome": "superb", "rater": "ana"}\n')
    with pytest.raises(DataError, match=r"relabels\.jsonl, line 1.outcome = 'superb'"):
        View(mine, "ana")


def test_what_people_say_stands_in_the_checks_place_and_feeds_selection(mine, tmp_path):
    run = mine.run
    (tmp_path / "demo.toml").write_text((run.directory / "study.toml").read_text())
    taken = {chain for arm in run.arms if arm == "N chains, correct" for chain in read_chosen(run.selection(arm))}
    before = {verdict.chain: verdict for _, verdict in run.judged_chains()}
    wrong = next(verdict for verdict in before.values() if verdict.outcome is Outcome.WRONG)
    said = [Relabel(next(iter(sorted(taken))), "wrong", "ana", "a lucky guess"), Relabel(wrong.chain, "correct", "ana")]
    append_objects(tmp_path / "said.jsonl", [asdict(one) for one in [*said, Relabel("of another run", "wrong", "ana")]])
    ran = understudy("select", "demo.toml", *SETS, "--set", "study.relabels='said.jsonl'", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    assert "2 changed by people" in ran.out
    after = Run(run.directory)
    changed = {v.chain: (v.outcome, v.detail) for _, v in after.judged_chains() if v != before[v.chain]}
    assert changed == {
        said[0].chain: (Outcome.WRONG, f"ana says so (a lucky guess); the check said correct: {before[said[0].chain].detail}"),
        said[1].chain: (Outcome.CORRECT, f"ana says so; the check said wrong: {wrong.detail}"),
    }
    assert read_chosen(after.selection("N chains, correct")) == taken - {said[0].chain} | {wrong.chain}
    append_objects(tmp_path / "said.jsonl", [asdict(replace(said[0], reason="after all", rater="bob"))])
    again = understudy("select", "demo.toml", *SETS, "--set", "study.relabels='said.jsonl'", cwd=tmp_path)
    assert "0 stages to do" in again.out, "the same outcome makes nothing anew"
    missing = understudy("select", "demo.toml", *SETS, "--set", "study.relabels='nobody.jsonl'", cwd=tmp_path)
    assert (missing.code, "study.relabels: " in missing.err, "nobody.jsonl" in missing.err) == (2, True, True)
    with serving(View(QuestionIndex(after), "bob").app("127.0.0.1")) as url:
        form = urllib.parse.urlencode({"chain": wrong.chain, "outcome": "wrong"}).encode()
        problem = next(chain.problem for chain, _ in run.judged_chains() if chain.id == wrong.chain)
        get(f"{url}/relabel?id={problem}", form)
    assert json.loads((run.directory / FILE).read_text().splitlines()[-1])["was"] == "wrong", "the check's own word"


# --- in a browser ---


def test_in_a_browser_one_clicks_filters_and_goes_back(questions, tmp_path):
    with serving(View(questions).app("127.0.0.1")) as url, open_browser(tmp_path) as browser:
        browser.go(url)
        first = browser.run("document.querySelector('.questions a').textContent")
        browser.click(".questions a")
        assert browser.run("document.querySelector('pre').textContent").startswith(first[:60])
        browser.press("ArrowRight")
        assert "2 of" in browser.run("document.querySelector('nav').textContent")
        browser.press("u")
        browser.run("document.querySelector('select[name=verdict]').value = 'wrong'")
        browser.click(".filters button")
        found = len(questions.find(Filters(verdict="wrong")))
        assert browser.run("document.querySelector('.lead').textContent").startswith(f"{found} question")
        browser.back()
        assert browser.run("document.querySelector('.lead').textContent").startswith(f"{len(questions.entries)} question")
        entry = next(entry for entry in questions.entries.values() if entry.rows)
        browser.resize(1100, 1150)
        for name, page in {"list": "/?split=test", "question": make_link(Filters(), "/question", id=entry.problem.id)}.items():
            browser.go(url + page)
            browser.draw(PICTURES / f"view-{name}.png" if PICTURES else tmp_path / "view.png")
        browser.resize(400, 800)
        for page in (url, url + make_link(Filters(), "/question", id=entry.problem.id)):
            browser.go(page)
            assert browser.run("document.documentElement.scrollWidth") <= 400
        assert browser.problems == []
