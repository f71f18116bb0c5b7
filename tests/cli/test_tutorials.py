"""Every command of the tutorials works as it stands there: only addresses, sizes of students, numbers of steps, seeds and tokens
are ours."""

import json
import re
import shlex
from pathlib import Path

import pytest
from checkpoints import make, real_tokenizer
from command import understudy
from loopback import Server

PAGES = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = [
    "study.seeds=2",
    "training.steps=2",
    "training.batch_size=4",
    "training.checks=1",
    "student.hidden=16",
    "student.layers=1",
    "student.heads=2",
    "teacher.samples=2",
    "teacher.first_look=6",
]


def numbers(i):
    return f"Ana has {i} coins and finds {i + 1} more. How many coins does Ana have?", 2 * i + 1, f"{i} + {i + 1} = {2 * i + 1}."


def answer(_path, body, _n):
    asked = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    i, j = map(int, re.findall(r"has (\d+) coins and finds (\d+)", asked)[-1])
    text = f" {i} + {j} = {i + j}. So the answer is: {i + j}"
    choice = {"text": text} if "prompt" in body else {"message": {"content": text}}
    return {"choices": [choice | {"finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 7}}


def follow(page, where, url, tiny):
    """Write the page's files, make its changes, run its commands in order; what each printed."""
    said = []
    text = (PAGES / page).read_text(encoding="utf-8").replace("http://localhost:8000/v1", url)
    for kind, block in re.findall(r"```(toml|sh)\n(.*?)```", text, re.S):
        first, _, rest = block.partition("\n")
        if kind == "sh":
            (command,) = block.strip().splitlines()
            program, *words = shlex.split(command)
            assert program == "understudy"
            sets = [word for value in tiny for word in ("--set", value)] if words[0] in ("run", "try") else []
            ran = understudy(*words, *sets, cwd=where)
            assert ran.code in ((0, 1) if words[0] == "answer" else (0,)), (command, ran.out, ran.err)
            said.append(ran.out)
        elif first.endswith("change these lines"):
            study = where / first.removeprefix("# ").partition(":")[0]
            lines = study.read_text().splitlines()
            for change in rest.strip().splitlines():
                (place,) = [i for i, line in enumerate(lines) if line.startswith(change.partition("=")[0])]
                lines[place] = change
            study.write_text("\n".join(lines))
        else:
            (where / first.removeprefix("# ")).write_text(block)
    return said


def test_my_csv_and_an_endpoint(tmp_path):
    rows = [",".join(map(str, (i, *numbers(i)))) for i in range(40)]
    (tmp_path / "questions.csv").write_text("nr,Problem,Result,Explanation\n" + "\n".join(rows))
    with Server(answer) as server:
        said = follow("my-csv.md", tmp_path, server.url, TINY)
    assert (tmp_path / "runs" / "questions" / "report.html").is_file()
    assert any("3 tried: correct 3" in out for out in said)
    assert any("first 6 replies: 6 of 6 agree" in out for out in said)


def test_my_chains_and_qwen(tmp_path):
    questions, chains = [], []
    for i in range(40):
        question, gold, rationale = numbers(i)
        questions.append({"id": f"q{i}", "question": question, "answer": gold})
        reply = f"<think>{rationale}</think>The answer is {gold}."
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        chains.append({"id": f"q{i}", "messages": turns})
    for name, rows in (("questions", questions), ("chains", chains)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = real_tokenizer("qwen2", [json.dumps(row) for row in chains])
    tokenizer.chat_template = TEMPLATE
    make("qwen2", tmp_path / "models" / "qwen", context=512, tokenizer=tokenizer)
    tiny = [value for value in TINY if not value.startswith(("student.", "teacher."))] + ["student.context=512"]
    tiny += [f"arms.{arm}.options.max_tokens=24" for arm in (0, 2, 3)]
    said = follow("my-chains.md", tmp_path, "", tiny)
    assert len((tmp_path / "selected.jsonl").read_text().splitlines()) == 32
    assert re.search(r"chains +40\b", said[0]) and "messages" in said[0], said[0]
    shown = said[-3].replace("·", "").replace("\n", "")
    assert re.search(r"<\|im_start\|>assistant⏎⟦\d+ \+ \d+ = \d+\. So the answer is: \d+", shown), said[-3]


def test_a_papers_data(tmp_path):
    folder = tmp_path / "grade-school-math"
    folder.mkdir()
    for name, start, n in (("train", 0, 30), ("test", 100, 8)):
        rows = [{"question": q, "answer": f"{r}\n#### {gold}"} for q, gold, r in map(numbers, range(start, start + n))]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Server(answer) as server:
        said = follow("a-papers-data.md", tmp_path, server.url, [*TINY, "task.dev=4", "study.seeds=1"])
    assert "teacher, few-shot" in said[-1]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda p: p.name)
def test_every_tutorial_is_followed(page):
    assert page.name in Path(__file__).read_text(encoding="utf-8")
