"""What a user meets: every verb on a tiny run of the demo."""

import json
import re
import shutil

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from command import SETS, understudy

from understudy.core.values import COMMA

FIELDS = (
    "arm method model role_models engine precision training_precision task split seed decoding extractor n correct wrong "
    "undecidable unparsed abstained truncated errors accuracy low high tokens_per_answer read_per_answer calls_per_answer seconds"
).split()


def test_the_demo_ends_with_a_table_of_every_arm_and_a_report(tiny):
    out = (tiny / "first.txt").read_text()
    for arm in ("answer-only", "1 chain, correct", "N chains, correct", "N chains, all", "N chains, all + vote"):
        assert arm in out
    page = tiny / "runs" / "demo" / "report.html"
    assert str(page.relative_to(tiny)) in out
    assert "<svg" in page.read_text()


def test_results_has_one_row_per_arm_split_seed_and_decoding_and_the_counts_add_up(tiny):
    rows = json.loads(understudy("results", "runs/demo", "--json", cwd=tiny).out)
    assert all(set(row) == set(FIELDS) for row in rows)
    keys = [(row["arm"], row["split"], row["seed"], row["decoding"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["split"] for row in rows} == {"test", "test-longer"}
    for row in rows:
        assert row["n"] == sum(row[k] for k in ("correct", "wrong", "undecidable", "unparsed", "abstained", "truncated"))
        assert row["accuracy"] == pytest.approx(row["correct"] / row["n"])
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert {row["n"] for row in rows if row["split"] == "test"} == {40}


@pytest.mark.parametrize(("name", "read"), [("a.csv", pa_csv.read_csv), ("a.parquet", pq.read_table)])
def test_every_answer_is_written_with_its_outcome(tiny, tmp_path, name, read):
    wrong = understudy("results", "runs/demo", "--answers", str(tmp_path / "a.xlsx"), cwd=tiny)
    assert (wrong.code, ".parquet or .csv" in wrong.err) == (2, True)
    assert understudy("results", "runs/demo", "--answers", str(tmp_path / name), cwd=tiny).code == 0
    again = understudy("results", "runs/demo", "--answers", str(tmp_path / name), cwd=tiny)
    assert (again.code, "a new file" in again.err) == (2, True), "nothing is overwritten"
    answers = read(tmp_path / name).to_pylist()
    for row in json.loads(understudy("results", "runs/demo", "--json", cwd=tiny).out):
        if not row["decoding"].startswith("weighted"):
            own = [a for a in answers if (a["arm"], a["split"], a["seed"]) == (row["arm"], row["split"], row["seed"])]
            assert len({a["problem"] for a in own if a["outcome"] == "correct"}) == row["correct"]
            assert len({a["problem"] for a in own}) == row["n"]


def test_running_again_does_nothing_again(tiny):
    ran = understudy("demo", *SETS, cwd=tiny)
    assert ran.code == 0
    assert re.search(r"^0 stages to do, \d+ already done", ran.out, re.M)


def test_a_changed_option_redoes_only_what_depends_on_it(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    ran = understudy("demo", *SETS, "--set", "arms.4.decode.votes=2", cwd=tmp_path)
    assert re.search(r"^2 stages to do", ran.out, re.M), ran.out + ran.err
    listed = json.loads(understudy("ls", "runs/demo", "--json", cwd=tmp_path).out)
    assert sum(not held["needed"] for held in listed) == 2
    assert "removed 2 stages" in understudy("gc", "runs/demo", cwd=tmp_path).out
    assert all(held["needed"] for held in json.loads(understudy("ls", "runs/demo", "--json", cwd=tmp_path).out))


def test_students_that_are_there_answer_by_beam_search_and_with_a_calculator(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    sets = ["--set", "arms.0.decode.beams=3", "--set", "arms.2.decode.calculator=true"]
    ran = understudy("demo", *SETS, *sets, cwd=tmp_path)
    assert re.search(r"^4 stages to do", ran.out, re.M), ran.out + ran.err
    rows = json.loads(understudy("results", "runs/demo", "--json", cwd=tmp_path).out)
    assert {(row["arm"], row["decoding"]) for row in rows} >= {
        ("answer-only", "beam search, 3 beams"),
        ("N chains, correct", "greedy, calculator"),
    }


def test_a_dry_run_shows_plan_prompts_and_requests_and_writes_nothing(tmp_path):
    ran = understudy("demo", *SETS, "--dry-run", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "144 chains, 0 already in the ledger, 144 to ask for\n" in ran.out
    assert "first prompt: student (scotd)" in ran.out
    assert "first prompt: teacher (scotd)" in ran.out
    assert not list(tmp_path.iterdir())


def test_a_dry_run_finds_splits_and_fields_that_the_questions_do_not_have(tmp_path):
    for setting, message in (
        ("splits=['tset']", "has no problems in split 'tset'; did you mean 'test'"),
        ("by='stepz'", "a field 'stepz'"),
    ):
        ran = understudy("demo", *SETS, "--set", f"evaluation.{setting}", "--dry-run", cwd=tmp_path)
        assert ran.code == 2
        assert message in ran.err


def test_a_dry_run_beside_a_finished_run_finds_everything_there(tiny):
    ran = understudy("demo", *SETS, "--dry-run", cwd=tiny)
    assert "144 chains, 144 already in the ledger, 0 to ask for\n" in ran.out
    assert re.search(r"^0 of \d+ stages to do", ran.out, re.M)


def test_a_student_answers_a_question_with_its_chain(tiny):
    student = tiny / "runs" / "demo" / "students" / "N-chains-all"
    question = "Ana has 4 coins. Mon: finds 3. How many coins does Ana have?"
    ran = understudy("answer", str(student), question, "--json", cwd=tiny)
    answered = json.loads(ran.out)
    assert len(answered["solutions"]) == 1
    assert ran.code == (0 if answered["answer"] is not None else 1)
    votes = json.loads(understudy("answer", str(student), question, "--votes", "3", "--json", cwd=tiny).out)
    assert len(votes["solutions"]) == 3


def test_the_stages_can_be_run_one_by_one(tmp_path, tiny):
    study = tmp_path / "study.toml"
    study.write_text((tiny / "runs" / "demo" / "study.toml").read_text())
    for verb, kinds in [("sample", 2), ("check", 1), ("select", 3), ("train", 4), ("evaluate", 10), ("run", 0)]:
        ran = understudy(verb, "study.toml", *SETS, cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        assert re.search(rf"^{kinds} stages? to do", ran.out, re.M), (verb, ran.out)
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()


def test_seeds_train_each_arm_again_and_are_rows_of_their_own(tiny, tmp_path):
    shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    ran = understudy("demo", *SETS, "--seeds", "2", "--set", "evaluation.splits=['test']", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    rows = json.loads(understudy("results", "runs/demo", "--json", cwd=tmp_path).out)
    assert {row["seed"] for row in rows} == {0, 1}


def test_the_report_can_be_written_again_and_as_markdown_and_pictures(tiny, tmp_path):
    page = tiny / "runs" / "demo" / "report.html"
    page.unlink()
    assert understudy("report", "runs/demo", cwd=tiny).code == 0
    assert page.is_file()
    ran = understudy("report", "runs/demo", "--markdown", "--pictures", str(tmp_path), cwd=tiny)
    assert "| answer-only |" in ran.out
    assert list(tmp_path.glob("*.png"))


def test_ls_without_a_run_lists_the_runs(tiny):
    assert "runs/demo" in understudy("ls", cwd=tiny).out


QUESTIONS = [
    {"id": f"q{i}", "question": f"What is {a} plus {b}?", "answer": str(a + b)}
    for i, (a, b) in enumerate((a, b) for a in range(6) for b in range(5))
]
CHAINS = [
    {"problem_id": q["id"], "text": f"Count up. The answer is {int(q['answer']) + (i % 7 == 0)}.", "teacher": "somebody"}
    for i, q in enumerate(QUESTIONS)
]
OWN = """
[study]
seeds = 1
name = "own"
[task]
name = "files"
path = "q.jsonl"
kind = "number"
decimal = "comma"
sizes = { train = 20, dev = 4, test = 6 }
[teacher]
engine = "recorded"
chains = ["c.jsonl"]
[student]
hidden = 32
layers = 1
heads = 2
family = "t5"
[training]
steps = 6
batch_size = 4
[evaluation]
splits = ["test"]
[[arms]]
name = "mine"
method = "scotd"
"""


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_own_questions_and_recorded_chains_go_from_files_to_a_report_and_seed_another_study(tmp_path):
    lines(tmp_path / "q.jsonl", QUESTIONS)
    lines(tmp_path / "c.jsonl", CHAINS)
    (tmp_path / "own.toml").write_text(OWN)
    ran = understudy("run", "own.toml", cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err
    (row,) = json.loads(understudy("results", "runs/own", "--json", cwd=tmp_path).out)
    assert (row["n"], row["task"], row["method"]) == (6, "files", "scotd")
    assert json.loads((tmp_path / "runs/own/students/mine/understudy.json").read_text())["form"] == COMMA

    # the trained student as the next study's teacher, and as the checkpoint its student starts from
    teacher = (
        '[teacher]\nengine = "transformers"\ncheckpoint = "runs/own/students/mine"\nsamples = 2\noptions = { max_tokens = 8 }\n'
    )
    second = re.sub(r"\[teacher\].*?(?=\[student\])", teacher, OWN, flags=re.S).replace('"own"', '"second"')
    second = re.sub(r"\[student\].*?(?=\[training\])", '[student]\ncheckpoint = "runs/own/students/mine"\n', second, flags=re.S)
    (tmp_path / "second.toml").write_text(second + '[[arms]]\nname = "gold"\nmethod = "answer_only"\n')
    stopped = understudy("sample", "second.toml", cwd=tmp_path)
    (counts,) = re.findall(r"first 40 replies: (\d+) unparsed, (\d+) cut off, (\d+) refused: hardly any can be used", stopped.err)
    assert sum(map(int, counts)) >= 36, "a student of two steps is no teacher, and the first look says so"
    sampled = understudy("sample", "second.toml", "--set", "teacher.first_look=0", cwd=tmp_path)
    assert sampled.code == 0, sampled.out + sampled.err
    assert "40 chains for 20 problems" in sampled.out
    only_gold = ("--set", "arms.0.method=answer_only", "--set", "arms.0.name=other")
    ran = understudy("run", "second.toml", *only_gold, cwd=tmp_path)
    assert ran.code == 0, ran.out + ran.err


def test_a_question_that_no_student_can_read_is_an_error_beside_the_row_and_exit_code_3(tmp_path):
    train, dev, test = QUESTIONS[:20], QUESTIONS[20:24], QUESTIONS[24:]
    test.append({"id": "long", "question": "What is 2 " + "plus 2 " * 60 + "?", "answer": "122"})
    for name, rows in (("train", train), ("dev", dev), ("test", test)):
        lines(tmp_path / f"{name}.jsonl", rows)
    lines(tmp_path / "c.jsonl", CHAINS)
    own = OWN.replace('path = "q.jsonl"', 'train = "train.jsonl"\ndev = "dev.jsonl"\ntest = "test.jsonl"').replace(
        '"t5"', '"llama"'
    )
    own = re.sub(r"sizes.*\n", "", own).replace("layers = 1", "layers = 1\ncontext = 64")
    (tmp_path / "own.toml").write_text(own)
    ran = understudy("run", "own.toml", cwd=tmp_path)
    assert ran.code == 3, ran.out + ran.err
    assert "1 request failed" in ran.out
    (row,) = json.loads(understudy("results", "runs/own", "--json", cwd=tmp_path).out)
    assert (row["n"], row["errors"]) == (6, 1)


def test_import_writes_a_corpus_and_says_what_it_found(tmp_path):
    lines(tmp_path / "q.jsonl", QUESTIONS)
    lines(
        tmp_path / "c.jsonl",
        [{"q": c["problem_id"], "completion": c["text"]} for c in CHAINS] + [{"q": "nobody", "completion": "x"}],
    )
    fields = ("--field", "problem=q", "--field", "text=completion")
    command = ("import", "c.jsonl", "--problems", "q.jsonl", "--kind", "number", "--to", "corpus.parquet", *fields)
    ran = understudy(*command, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert (report["rows"], report["chains"], report["of unknown problems"]) == (31, 30, 1)
    assert report["answers found by layer"] == {"marker": 30}
    (tmp_path / "own.toml").write_text(OWN.replace('"c.jsonl"', '"corpus.parquet"'))
    ran = understudy("check", "own.toml", cwd=tmp_path)
    assert "20 chains for 20 problems" in ran.out, ran.out + ran.err


def test_real_chains_are_imported_with_verdicts_that_agree_with_their_labels(tmp_path, real_data):
    flips = real_data / "coin-flip"
    chains = [str(flips / f"chains-{name}.jsonl") for name in ("plan-and-solve", "zeroshot-cot")]
    problems = ("--problems", str(flips / "all.jsonl"), "--kind", "yes_no", "--to", "c.parquet", "--json")
    report = json.loads(understudy("import", *chains, *problems, cwd=tmp_path).out)
    assert (report["rows"], report["chains"], report["without an answer"]) == (998, 998, 0)


def test_show_training_marks_the_tokens_that_bear_loss_and_counts_what_was_left_out(tiny):
    ran = understudy("show-training", "runs/demo", "-n", "1", cwd=tiny)
    assert ran.code == 0, ran.err
    assert "48 of 48 end with the end token <end>" in ran.out
    assert re.search(r"^8 steps saw [\d,]+ tokens, of which [\d,]+ bore loss$", ran.out, re.M)
    seen = {row["arm"]: row for row in json.loads(understudy("show-training", "runs/demo", "--json", cwd=tiny).out)}
    assert "N chains, all = N chains, all + vote" in seen
    row = seen["N chains, all = N chains, all + vote"]
    assert row["examples"] == 144
    assert sum(count for _, _, count in row["lengths"]) == row["examples"] + row["too_long"]
    tokens = row["shown"][0]["tokens"]
    text = "".join(token for token, _ in tokens)
    learned = "".join(token for token, weight in tokens if weight)
    assert text.startswith("Q: ")
    assert learned == text[text.index("\nA:") + 3 :]
    assert learned.endswith("\n\n<end>")
    wrong = understudy("show-training", "runs/demo", "--arm", "N chain", cwd=tiny)
    assert (wrong.code, "did you mean 'N chains, all'" in wrong.err) == (2, True)
