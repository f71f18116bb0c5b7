"""The first study for a file of questions: what `understudy init` writes."""

import json
from pathlib import Path
from typing import Any

from understudy.studies.guess import Guess


def study_text(path: Path, found: Guess, *, to: Path, relative: str) -> str:
    """A commented study for the file, to be written to ``to``; ``relative``: the file's path as seen from there."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in to.stem).strip("-") or "study"
    layout = found.layout
    said = (
        "# no answers were found: the teacher can be sampled, nothing can be scored"
        if found.fit is None
        else f"# guessed; {found.fit:.0%} of the answers fit. Others: option, yes_no, number, date, text, expression"
    )
    lines = _sizes(found)
    if layout.choices_in != "field":
        lines += f'choices_in = "{layout.choices_in}"  # the options stand in its text\n'
    fields = "".join(f"{ours} = {_toml(theirs)}\n" for ours, theirs in layout.fields.items())
    table = f"\n[task.fields]           # our name = the file's\n{fields}" if fields else ""
    shown = "[exemplars]\nn = 3                    # solved questions in each prompt; they leave training\n\n"
    exemplars = shown if "rationale" in found.fields else ""
    return f"""# A first study for {path.name}, written by `understudy init`. Change what was guessed wrong, then:
#   understudy try {to} -n 3        a few questions to the teacher
#   understudy run {to}             everything; run it again to go on

[study]
name = {json.dumps(name)}
seed = 0
seeds = 1                # 3 or more before you believe a difference

[task]
name = "files"
path = {json.dumps(relative)}
{said}
kind = "{layout.kind}"
{lines}{table}
{exemplars}[teacher]                # chains you already have: engine = "recorded", chains = ["chains.jsonl"]
engine = "endpoint"      # any OpenAI-compatible server; "transformers" with checkpoint = "DIR" is a model on this machine
url = "http://localhost:8000/v1"
model = "the-model"
api = "chat"             # "completions" for a base model, with options = {{}} and exemplars
# key_env = "TEACHER_KEY"
samples = 8              # chains per question; SCoTD takes 30

[teacher.options.format]
style = "messages"
system = "Reason step by step, briefly. End with: So the answer is: ANSWER"

[student]                # from scratch; checkpoint = "DIR" starts from a pretrained model
hidden = 128
layers = 3
heads = 8

[training]
steps = 500

[[arms]]
name = "answer-only"
method = "answer_only"

[[arms]]
name = "SCoTD, correct chains"
method = "scotd"
select = {{ keep = "correct" }}

[[arms]]
name = "SCoTD, correct chains, vote"
method = "scotd"
select = {{ keep = "correct" }}
decode = {{ votes = 8, temperature = 0.7 }}
"""


def _sizes(found: Guess) -> str:
    """What is held out of train: a tenth for each of dev and test that the data do not have."""
    own = {name: n for name, n in found.rows.items() if name}
    comment = f"# its own splits: {', '.join(f'{name} {n}' for name, n in own.items())}\n" if own else ""
    held = max(1, found.rows.get("", found.rows.get("train", 0)) // 10)
    drawn = {name: held for name in ("dev", "test") if name not in own}
    if not drawn:
        return comment
    if not own:
        drawn = {"train": found.rows[""] - 2 * held, **drawn}
    sizes = ", ".join(f"{name} = {n}" for name, n in drawn.items())
    return f"{comment}sizes = {{ {sizes} }}{'  # taken from train' if own else ''}\n"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
