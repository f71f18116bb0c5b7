"""Methods that take turns, run whole: folds, gold in a part's place, a teacher that plays a part, students asked together."""

import json
import re
import shutil

import pytest
from command import understudy
from loopback import Server, completion
from scipy.stats import binomtest

from understudy.core.vote import vote
from understudy.evaluation.statistics import holm
from understudy.pipeline.card import CARD, read_card
from understudy.runs.answers import list_answers
from understudy.runs.ask import ask_student
from understudy.runs.run import Run

STUDY = """
[study]
seeds = 1
name = "s"
[task]
name = "TASK"
train = 24
dev = 8
test = 8
[teacher]
method = "decompose"
samples = 2
[student]
hidden = 32
layers = 1
heads = 2
[training]
steps = 2
batch_size = 4
checks = 1
[evaluation]
faithfulness = true
[[arms]]
name = "sci"
method = "sci_cot"
options = { source = "mix", folds = 2, max_tokens = 20 }
roles.answer = { student = { hidden = 48 } }
[[arms]]
name = "soc"
method = "socratic"
options = { max_steps = 6, max_tokens = 12 }
[[arms]]
name = "gold asks"
method = "socratic"
options = { max_steps = 6, max_tokens = 12 }
roles.decomposer = { model = "gold" }
[[arms]]
name = "sci votes"
method = "sci_cot"
options = { source = "mix", folds = 2, max_tokens = 20 }
roles.answer = { student = { hidden = 48 } }
decode = { votes = 3, temperature = 0.9, weighted = true }
[[arms]]
name = "one"
method = "scotd"
options = { max_tokens = 20 }
decode = { votes = 2, top_p = 0.9 }
[corpus]
terms = "made up"
licence = "CC0-1.0"
"""


def summaries(run, kind):
    found = [(path.parent, json.loads(path.read_text())) for path in run.glob(f"stages/{kind}-*/manifest.json")]
    return {manifest["label"]: (where, manifest["summary"]) for where, manifest in found}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    where = tmp_path_factory.mktemp("turns")
    (where / "s.toml").write_text(STUDY.replace("TASK", "scales"))
    done = understudy("run", "s.toml", cwd=where)
    assert done.code == 0, done.out + done.err
    return where


def test_folds_are_trained_without_the_problems_whose_rationales_they_write(ran):
    students = summaries(ran / "runs" / "s", "student")
    problems = [students[f"sci (rationale), without fold {i} of 2"][1]["problems"] for i in (1, 2)]
    assert sum(problems) == students["sci (rationale)"][1]["problems"]
    answer = students["sci (answer)"][1]
    assert answer["examples"] == students["sci (rationale)"][1]["examples"] + answer["problems"], "theirs and one generated each"
    assert answer["parameters"] > students["sci (rationale)"][1]["parameters"], "sizes of the two may differ"


def test_the_report_says_whose_errors_they_are_and_what_turns_cost(ran):
    report = json.loads((ran / "runs" / "s" / "results.json").read_text())
    assert [(a["arm"], a["part"]) for a in report["attributions"]] == [
        ("sci", "rationale"),
        ("soc", "decomposer"),
        ("soc", "solver"),
        ("sci votes", "rationale"),
    ], "gold in both parts would only say the gold answer"
    for found in report["attributions"]:
        assert found["n"] == 8
        assert found["with_gold"] == pytest.approx(found["accuracy"] + found["difference"])
        assert 0 <= found["mended"] <= found["wrong"]
    answers = list(list_answers(Run(ran / "runs" / "s")))
    alone = []
    for found in report["attributions"]:
        again = [a for a in answers if (a["arm"], a["changed"]) == (found["arm"], f"gold {found['part']}")]
        right = {a["problem"] for a in again if a["outcome"] == "correct"}
        assert len(right) / len({a["problem"] for a in again}) == pytest.approx(found["with_gold"])
        before = {a["problem"] for a in answers if (a["arm"], a["changed"], a["outcome"]) == (found["arm"], "", "correct")}
        changed = len(right ^ before)
        alone.append(binomtest(len(right - before), changed).pvalue if changed else 1.0)
    assert [found["p"] for found in report["attributions"]] == pytest.approx(holm(alone)), "McNemar's, corrected for four rows"
    rows = {row["arm"]: row for row in report["rows"]}
    assert rows["sci"]["calls_per_answer"] == 2
    assert rows["gold asks"]["calls_per_answer"] >= 4, "each question, each answer, the end and the conclusion"
    assert rows["sci"]["read_per_answer"] > 2 * 10
    page = (ran / "runs" / "s" / "report.html").read_text()
    assert "Errors by part" in page
    assert "| sci | rationale | 8 |" in understudy("report", "runs/s", "--markdown", cwd=ran).out


def test_students_that_take_turns_are_probed_with_altered_turns(ran):
    run = Run(ran / "runs" / "s")
    rows = json.loads((ran / "runs" / "s" / "results.json").read_text())["faithfulness"]
    assert {row["arm"] for row in rows} == {"sci", "soc"}, "no votes, and nobody whose questions are gold"
    assert [row["how"] for row in rows if row["arm"] == "soc"] == ["empty", "half", "corrupted", "other"]
    (stage,) = run.reanswered("soc", "probe")["empty"].values()
    for (solution,) in run.solutions(stage, "test").values():
        assert [(role, text.strip()) for role, text in solution.turns[:-1]] == [("decomposer", "[end]")]
        assert solution.text.startswith("A:")
    assert "| soc | none | 8 |" in understudy("report", "runs/s", "--markdown", cwd=ran).out


def test_a_bundle_has_the_students_of_all_roles_and_one_role_alone_says_who_is_missing(ran):
    students = ran / "runs" / "s" / "students"
    assert {path.name for path in students.iterdir()} == {"sci", "soc", "gold-asks", "sci-votes", "one"}
    assert {path.name for path in (students / "soc").iterdir()} == {"decomposer", "solver", CARD}
    assert (students / "one" / "config.json").is_file()
    question = "Is a cat heavier than a dog?"
    one = understudy("answer", "runs/s/students/sci/answer", question, cwd=ran)
    assert one.code == 2
    assert "takes turns between rationale, answer; also give the student of rationale (--with)" in one.err
    partner = ("--with", "runs/s/students/sci/rationale", "--json")
    both = understudy("answer", "runs/s/students/sci/answer", question, *partner, cwd=ran)
    (solution,) = json.loads(both.out)["solutions"]
    assert [role for role, _ in solution["turns"]] == ["rationale", "answer"]
    assert understudy("answer", "runs/s/students/sci", question, "--json", cwd=ran).out == both.out
    strange = understudy("answer", "runs/s/students/sci/answer", question, "--with", "runs/s/students/soc/solver", cwd=ran)
    assert "trained by socratic with options" in strange.err
    assert strange.code == 2


@pytest.mark.parametrize("arm", ["sci", "sci votes", "soc", "one"])
def test_a_bundle_that_was_copied_answers_as_in_the_evaluation(ran, tmp_path, arm):
    run = Run(ran / "runs" / "s")
    copied = shutil.copytree(run.directory / "students" / arm.replace(" ", "-"), tmp_path / "copied")
    card = read_card(copied)
    assert (card.decode, card.terms, card.licence) == (run.arms[arm].decode, "made up", "CC0-1.0")
    (stage,) = run.answers(arm, "test").values()
    for name, known in list(run.solutions(stage, "test").items())[:2]:
        problem = run.problems_of("test")[name]
        asked = "\n".join(filter(None, [problem.context, problem.question]))
        answered = ask_student(copied, asked, choices=problem.choices)
        assert [(s.text, s.turns) for s in answered.solutions] == [(s.text, s.turns) for s in known]
        won = vote(known, weighted=card.decode.weighted)
        assert (answered.answer, answered.share) == (won.answer, pytest.approx(won.share, abs=1e-4))


def test_an_answer_decodes_otherwise_where_it_is_told_to(ran):
    student = ran / "runs" / "s" / "students" / "one"
    asked = {seed: ask_student(student, "Is a cat heavier than a dog?", votes=3, seed=seed) for seed in (0, 1)}
    assert [len(one.solutions) for one in asked.values()] == [3, 3]
    assert [s.text for s in asked[0].solutions] != [s.text for s in asked[1].solutions]
    greedy = ask_student(student, "Is a cat heavier than a dog?", votes=1)
    assert greedy.solutions == ask_student(student, "Is a cat heavier than a dog?", votes=1, seed=1).solutions


HYBRID = """
[[arms]]
name = "teacher solves"
method = "socratic"
options = { max_steps = 3, max_tokens = 12 }
roles.solver = { model = "teacher" }
[[arms]]
name = "teacher asks"
method = "socratic"
options = { max_steps = 3, max_tokens = 12 }
roles.decomposer = { model = "teacher" }
"""


def test_a_small_decomposer_and_a_large_solver_over_an_endpoint_take_turns_and_the_reverse(tmp_path):
    def answer(_path, body, _n):
        prompt = body["prompt"]
        start = re.findall(r"has (\d+) ", prompt)[-1]
        if prompt.endswith("\nA:"):
            return completion(f" So the answer is: {start}")
        if re.search(r"\nA\d+:$", prompt):
            return completion(f" She has {start}.")
        if re.search(r"\nA1: .*\nQ2:$", prompt):
            return completion(" [end]")
        return completion(f" How many at first?\nA1: She has {start}.\nThe answer is: {start}")

    head = (
        STUDY.partition("[[arms]]")[0]
        .replace("TASK", "diary")
        .replace("[student]", 'engine = "endpoint"\nurl = "URL"\nmodel = "m"\n[student]')
        .replace("faithfulness = true", "attribution = false")
    )
    with Server(answer) as server:
        (tmp_path / "s.toml").write_text(head.replace("URL", server.url) + HYBRID)
        done = understudy("run", "s.toml", cwd=tmp_path)
        assert done.code == 0, done.out + done.err
        asked = len(server.got)
        again = understudy("run", "s.toml", "--set", "evaluation.by=steps", cwd=tmp_path)
        assert again.code == 0, again.err
        assert len(server.got) == asked, "what the teacher said in its turns is kept as well"
    students = summaries(tmp_path / "runs" / "s", "student")
    assert set(students) == {"teacher solves (decomposer)", "teacher asks (solver)"}
    for label, (_, found) in summaries(tmp_path / "runs" / "s", "answers").items():
        teacher = "solver" if "solves" in label else "decomposer"
        assert "/v1" in found["models"][teacher]
        assert len(set(found["models"].values())) == 2
        assert found["errors"] == 0


def test_data_without_a_working_of_its_own_has_a_report_without_attribution_and_says_so(tmp_path):
    rows = [{"id": str(i), "question": f"Is {i} odd?", "answer": ["no", "yes"][i % 2]} for i in range(14)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chains = [{"problem_id": r["id"], "text": f"Two parts. So the answer is: {r['answer']}"} for r in rows]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(chain) + "\n" for chain in chains))
    head = STUDY.partition("[[arms]]")[0].replace(
        '"TASK"\ntrain = 24\ndev = 8\ntest = 8', '"files"\npath = "q.jsonl"\nkind = "yes_no"\nsizes = { dev = 2, test = 4 }'
    )
    head = head.replace('method = "decompose"\nsamples = 2', 'engine = "recorded"\nchains = ["c.jsonl"]')
    (tmp_path / "s.toml").write_text(head + '[[arms]]\nname = "sci"\nmethod = "sci_cot"\noptions = { max_tokens = 20 }\n')
    done = understudy("run", "s.toml", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    report = json.loads((tmp_path / "runs" / "s" / "results.json").read_text())
    assert report["attributions"] == []
    assert any("errors of sci could not be attributed" in note for note in report["notes"])
    wanted = understudy("run", "s.toml", "--set", "arms.0.roles.rationale.model=gold", cwd=tmp_path)
    assert wanted.code == 2
    assert "none of the 4 problems of 'test' has its own working in a form that the method can use" in wanted.err
