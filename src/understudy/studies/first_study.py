"""The first study for a file of questions: what `understudy init` writes."""

import json
from importlib.resources import files
from pathlib import Path
from string import Template
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
    template = Template((files("understudy.studies") / "first_study.txt").read_text(encoding="utf-8"))
    return template.substitute(
        file=path.name,
        study=to,
        name=json.dumps(name),
        path=json.dumps(relative),
        said=said,
        kind=layout.kind,
        lines=lines,
        table=table,
        exemplars=exemplars,
    )


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
