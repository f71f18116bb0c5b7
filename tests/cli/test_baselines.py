"""Before and after in one table: the teacher, the untrained checkpoint and the trained student answer the same questions."""

import json
import shutil

import pytest
from checkpoints import make
from command import understudy
from loopback import Server, completion

from understudy.core.values import Solution
from understudy.corpus.store import read_rows
from understudy.runs.run import Run

STUDY = """
[study]
seeds = 1
name = "s"
[task]
name = "files"
path = "q.jsonl"
kind = "number"
sizes = { train = 12, dev = 4, test = 8 }
[exemplars]
n = 2
[teacher]
engine = "endpoint"
url = "URL"
model = "tiny"
samples = 1
retries = 0
first_look = 0
[student]
CHECKPOINT
[training]
steps = 2
batch_size = 2
checks = 1
[[arms]]
name = "scotd"
method = "scotd"
options = { max_tokens = 8 }
[[arms]]
name = "teacher, few-shot"
method = "few_shot"
model = "teacher"
[[arms]]
name = "teacher, zero-shot, no chain"
method = "zero_shot"
model = "teacher"
options = { chain = false }
[[arms]]
name = "before"
method = "few_shot"
model = "untrained"
options = { max_tokens = 4 }
"""


def answer(_path, body, _n):
    if body["prompt"].endswith(" is"):
        return completion(" 0.")
    number = int(body["prompt"].rpartition("What is ")[2].partition(" ")[0])
    return completion(f" {number} + 1 = {number + 1}. So the answer is: {number + 1}")


@pytest.fixture
def study(tmp_path):
    rows = [{"question": f"What is {i} + 1?", "answer": i + 1, "rationale": f"{i} + 1 = {i + 1}."} for i in range(24)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make("gpt2", tmp_path / "start", context=512)

    def write(url):
        (tmp_path / "s.toml").write_text(STUDY.replace("URL", url).replace("CHECKPOINT", 'checkpoint = "start"'))

    return write


def test_teacher_untrained_and_trained_are_rows_of_one_table(tmp_path, study):
    with Server(answer) as server:
        study(server.url)
        ran = understudy("run", "s.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        asked = len(server.got)
        assert asked == 10 + 8 + 8, "10 training questions without the 2 exemplars, and twice 8 test questions"
        again = understudy("run", "s.toml", "--set", "teacher.samples=2", "--seeds", "2", cwd=tmp_path)
        assert again.code == 0, again.err
        assert len(server.got) == asked + 10, "more chains ask for no test answer again"
        # An earlier student that is asked as it is, in a study whose test questions it had learned from.
        later = STUDY.partition("[[arms]]")[0] + '[[arms]]\nname = "before"' + STUDY.rpartition('name = "before"')[2]
        shutil.copytree(tmp_path / "runs" / "s" / "students" / "scotd-seed0", tmp_path / "taken", symlinks=False)  # from its run
        later = later.replace("CHECKPOINT", 'checkpoint = "taken"').replace('name = "s"', 'name = "later"')
        (tmp_path / "later.toml").write_text(later.replace("URL", server.url).replace("seeds = 1", "seed = 9"))
        planned, asked = understudy("run", "later.toml", "--dry-run", cwd=tmp_path), len(server.got)
        assert "teacher: nothing to ask for: the chains are recorded, or no arm learns from chains" in planned.out, (
            planned.out + planned.err
        )
        ran = understudy("run", "later.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        assert len(server.got) == asked
        judged = understudy("judge", "runs/later", "--chains", "--by", "teacher", cwd=tmp_path)
        assert (judged.code, "holds no chains to judge" in judged.err) == (2, True), judged.err
        assert understudy("sample", "later.toml", cwd=tmp_path).code == 0
        assert len(server.got) == asked + 10, "but whoever samples gets chains"
        for _ in range(2):  # and keeps them, and the results
            assert "before" in understudy("results", "runs/later", cwd=tmp_path).out
            to = ("--to", "c.jsonl", "--format", "jsonl", "--no-terms")
            assert "10" in understudy("export", "runs/later", *to, cwd=tmp_path).out
            assert understudy("run", "later.toml", cwd=tmp_path).code == 0
        assert len(server.got) == asked + 10
        mistyped = understudy("run", "later.toml", "--set", "evaluation.by=topic", cwd=tmp_path)
        assert (mistyped.code, "topic" in mistyped.err) == (2, True), mistyped.err
        assert understudy("results", "runs/later", cwd=tmp_path).code == 0
    learned = {problem.question for problem in Run(tmp_path / "runs" / "s").problems if problem.split == "train"}
    saw = sum(problem.question in learned for problem in Run(tmp_path / "runs" / "later").problems_of("test").values())
    assert saw, "another seed draws another split"
    said = f"Unfair: before is, or starts from, a student that learned from, or was chosen by, {saw} of these questions."
    assert said in " ".join(ran.out.split()), ran.out
    rows = {row["arm"]: row for row in json.loads(understudy("results", "runs/s", "--json", cwd=tmp_path).out)}
    assert (rows["teacher, few-shot"]["correct"], rows["teacher, zero-shot, no chain"]["wrong"]) == (8, 8)
    assert {name: (row["model"], row["engine"]) for name, row in rows.items()} == {
        "scotd": ("trained", "transformers"),
        "teacher, few-shot": ("teacher", "endpoint"),
        "teacher, zero-shot, no chain": ("teacher", "endpoint"),
        "before": ("untrained", "transformers"),
    }
    assert {name: row["precision"] for name, row in rows.items()} == {
        "scotd": "float32",
        "teacher, few-shot": "unknown",
        "teacher, zero-shot, no chain": "unknown",
        "before": "float32",
    }
    assert all(row["n"] == 8 for row in rows.values())
    prompts = [body["prompt"] for _, body in server.got if body["prompt"].endswith("A:")]
    assert all(prompt.count("So the answer is: ") == 2 for prompt in prompts)
    assert understudy("show-training", "runs/s", cwd=tmp_path).code == 0
    refused = understudy("show-training", "runs/s", "--arm", "before", cwd=tmp_path)
    assert (refused.code, "trains no student" in refused.err) == (2, True)
    for verb in (("show-training", "runs/later"), ("export", "runs/s", "--arm", "before", "--to", "c.jsonl", "--format", "jsonl")):
        refused = understudy(*verb, cwd=tmp_path)
        assert (refused.code, "trains no student" in refused.err) == (2, True), refused.err
    compared = json.loads(understudy("compare", "runs/s", "--json", cwd=tmp_path).out)
    assert compared["arms"][0]["arm"] == "teacher, few-shot"
    assert compared["supported"].startswith(
        'The data support, on 8 questions over 2 training seeds: "teacher, few-shot" answered more '
        'questions correctly than "teacher, zero-shot, '
    )
    by_arm = {pair["other"]: pair for pair in compared["pairs"]}
    assert by_arm["teacher, zero-shot, no chain"]["says"] == by_arm["before"]["says"] == "these answers differ"
    assert by_arm["teacher, zero-shot, no chain"]["p"] == 2 / 2**8
    assert all(pair["p_holm"] > pair["p"] for pair in compared["pairs"]), "over all six pairs"


OTHER = """
[task.others.fruit]
file = "fruit.jsonl"
kind = "yes_no"
exemplars = "solved.jsonl"
[evaluation]
splits = ["test", "fruit"]
[[arms]]
name = "in context"
method = "scotd"
options = { max_tokens = 8, in_context = 1 }
[[arms]]
name = "answers in context"
method = "answer_only"
options = { max_tokens = 8, in_context = 1 }
"""


def test_a_task_that_was_not_trained_is_asked_with_its_own_examples(tmp_path, study):
    fruit = [{"question": f"Is a pear number {i} a fruit?", "answer": "yes"} for i in range(3)]
    solved = [{"question": "Is a stone a fruit?", "answer": "no", "rationale": "It does not grow."}]
    for name, rows in (("fruit", fruit), ("solved", solved)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def reply(path, body, n):
        return completion(" yes") if "pear" in body["prompt"] else answer(path, body, n)

    with Server(reply) as server:
        study(server.url)
        (tmp_path / "s.toml").write_text((tmp_path / "s.toml").read_text() + OTHER)
        ran = understudy("run", "s.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
    asked = [body["prompt"] for _, body in server.got if "pear" in body["prompt"] and body["prompt"].endswith("A:")]
    shown = "Q: Is a stone a fruit?\nA: It does not grow. So the answer is: no\n\nQ: Is a pear number"
    assert len(asked) == 3 and all(prompt.startswith(shown) and prompt.count("Q: ") == 2 for prompt in asked)
    assert all("stone" not in body["prompt"] for _, body in server.got if "pear" not in body["prompt"])
    ((_, student),) = Run(tmp_path / "runs" / "s").answers("in context", "fruit").items()
    read = [solution.prompt_tokens for solution in read_rows(student / "solutions.parquet", Solution)]
    ((_, bare),) = Run(tmp_path / "runs" / "s").answers("scotd", "fruit").items()
    assert min(read) > max(solution.prompt_tokens for solution in read_rows(bare / "solutions.parquet", Solution))
    (tmp_path / "solved.jsonl").write_text(json.dumps({**solved[0], "rationale": ""}) + "\n")
    refused = understudy("run", "s.toml", cwd=tmp_path)
    assert (refused.code, "has no answer or no rationale; an exemplar needs" in refused.err) == (2, True), refused.err


TEACHERS = """
[[arms]]
name = "greedy"
method = "few_shot"
model = "teacher"
[[arms]]
name = "vote"
method = "few_shot"
model = "teacher"
decode = { votes = 3 }
[[arms]]
name = "weighted"
method = "few_shot"
model = "teacher"
decode = { votes = 3, weighted = true }
[evaluation]
compare = [["greedy", "vote"]]
"""


def unsure(path, body, n):
    """Right when asked greedily and on sample path 2, where it is sure; wrong, and unsure, on the others."""
    said, right = answer(path, body, n), body["temperature"] == 0 or body["seed"] >> 16 == 2
    text = said["choices"][0]["text"] + ("" if right else "0")
    return completion(text, logprobs={"tokens": ["x"], "token_logprobs": [-0.1 if right else -3.0]})


def test_votes_ask_each_question_again_their_weight_decides_the_row_and_named_pairs_alone_are_compared(tmp_path, study):
    with Server(unsure) as server:
        study(server.url)
        path = tmp_path / "s.toml"
        path.write_text(path.read_text().partition("[student]")[0] + TEACHERS)
        ran = understudy("run", "s.toml", cwd=tmp_path)
        assert ran.code == 0, ran.out + ran.err
        greedy, drawn = ([body for _, body in server.got if body["temperature"] == t] for t in (0.0, 0.7))
        assert (len(greedy), len(drawn)) == (8, 3 * 8), "both votes are over the same samples"
        questions = [sorted(body["prompt"].rpartition("Q: ")[2] for body in bodies) for bodies in (greedy, drawn)]
        assert questions[1] == sorted(3 * questions[0])
        found = json.loads((tmp_path / "runs" / "s" / "results.json").read_text())
        assert [(row["arm"], row["decoding"], row["correct"]) for row in found["rows"]] == [
            ("greedy", "greedy", 8),
            ("vote", "vote of 3 at T=0.7", 0),
            ("vote", "weighted vote of 3 at T=0.7", 8),
            ("weighted", "weighted vote of 3 at T=0.7", 8),
        ]
        (named,) = found["comparisons"]
        assert (named["other"], named["arm"], named["p_holm"]) == ("greedy", "vote", named["p"])
        asked = len(server.got)
        assert understudy("run", "s.toml", "--set", "evaluation.compare=[]", cwd=tmp_path).code == 0
        assert len(server.got) == asked
    every = json.loads((tmp_path / "runs" / "s" / "results.json").read_text())
    assert len(every["comparisons"]) == 3
    assert every["rows"] == found["rows"]
    (again,) = (one for one in every["comparisons"] if (one["other"], one["arm"]) == ("greedy", "vote"))
    assert again == named | {"p_holm": again["p_holm"], "detectable": again["detectable"]}
    assert again["p_holm"] > named["p_holm"], "corrected over all pairs"
    assert again["detectable"] > named["detectable"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("arms.3.model=trained", "method 'few_shot' trains nothing"),
        ("student.checkpoint=nowhere", "no such directory"),
        ("exemplars.n=13", "only 12 training problems have a rationale"),
        ("teacher.options.format.style=messages", 'need teacher.api = "chat"'),
        ("exemplars.file=e.jsonl", "set n to choose from training, or file"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_asked(tmp_path, study, change, says):
    with Server(answer) as server:
        study(server.url)
        ran = understudy("run", "s.toml", "--set", change, cwd=tmp_path)
        assert (ran.code, "Traceback" in ran.err, server.got) == (2, False, []), ran.out + ran.err
        assert says in ran.err
