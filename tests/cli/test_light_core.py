"""Sampling, importing, checking and exporting need no model library: the core is small, and does these alone; with the extra
"report" it reads a finished run.

An installation is laid out from what is installed here: the distributions that pip would bring, and nothing else.
`make test-core` runs the same with a core that pip really installed (UNDERSTUDY_CORE names its Python).
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SOURCE = Path(__file__).resolve().parents[2] / "src"
MOST = 60_000_000
"""Bytes that the core brings besides pyarrow."""
RUN = """
import sys
sys.path[:0] = {paths}
from understudy.cli import main
if __name__ == "__main__":
    sys.exit(main({arguments}))
"""
QUESTIONS = [{"question": f"{n} + {m}?", "answer": n + m} for n in range(4) for m in range(1, 6)]
STUDY = """
[study]
name = "s"
[task]
name = "diary"
train = 6
dev = 2
test = 2
longer_test = 0
[teacher]
samples = 2
[corpus]
terms = "none"
licence = "none"
[[arms]]
name = "a"
method = "scotd"
"""


def closure(*extras: str) -> dict[str, Distribution]:
    """name -> distribution, of all that the package requires with ``extras``."""
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, Distribution] = {}
    todo = project["dependencies"] + [name for extra in extras for name in project["optional-dependencies"][extra]]
    while todo:
        requirement = Requirement(todo.pop())
        name = requirement.name.lower()
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found[name] = distribution(name)
            todo += found[name].requires or []
    return found


def lay_out(site, *extras):
    """Put what pip would bring into the directory ``site``; its size in bytes, without pyarrow's."""
    size = 0
    for name, found in {**closure(*extras), "understudy": distribution("understudy")}.items():
        for file in found.files or ():
            path = Path(file.locate())
            top = site / file.parts[0]
            ours_but_no_card = name == "understudy" and not file.parts[0].endswith(".dist-info")
            if file.parts[0] == ".." or not path.is_file() or ours_but_no_card:
                continue
            size += path.stat().st_size if name != "pyarrow" else 0
            if not top.exists():
                top.symlink_to(Path(found.locate_file(file.parts[0])))
    return size


def run_alone(cwd, site, *arguments):
    """`understudy` in the directory ``cwd``, with the libraries of ``site`` alone; None: a core that pip installed."""
    paths = [] if site is None else [str(SOURCE), str(site)]
    script = cwd / "run.py"
    script.write_text(RUN.format(paths=paths, arguments=list(arguments)))
    command = [sys.executable, "-S"] if site is not None else [os.environ["UNDERSTUDY_CORE"]]
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run(
        [*command, str(script)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Where the core alone is laid out, None where pip installed it."""
    if "UNDERSTUDY_CORE" in os.environ:
        return None
    site = tmp_path_factory.mktemp("core")
    assert (size := lay_out(site)) < MOST, f"{size:,} bytes"
    return site


@pytest.fixture
def understudy(core, tmp_path):
    return functools.partial(run_alone, tmp_path, core)


def test_a_finished_run_is_read_without_torch(tiny, tmp_path):
    (site := tmp_path / "site").mkdir()
    lay_out(site, "report")
    shutil.copytree(tiny / "runs" / "demo", tmp_path / "runs" / "demo")
    for arguments in (
        ("results", "runs/demo"),
        ("results", "runs/demo", "--answers", "answers.csv"),
        ("report", "runs/demo"),
        ("why", "runs/demo", "diary-train-0"),
        ("compare", "runs/demo"),
    ):
        done = run_alone(tmp_path, site, *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    assert not (site / "torch").exists()


def test_the_core_alone_samples_imports_checks_and_exports(understudy, tmp_path):
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    (tmp_path / "c.jsonl").write_text(json.dumps({"question": "1 + 2?", "text": "It is 3. The answer is 3."}) + "\n")
    (tmp_path / "s.toml").write_text(STUDY)
    imported = ("import", "c.jsonl", "--problems", "q.jsonl", "--kind", "number", "--to", "c.parquet")
    exported = ("export", "runs/s", "--to", "e.jsonl", "--format", "messages")
    for arguments in (
        ("init", "q.jsonl"),
        ("try", "s.toml", "-n", "1"),
        ("sample", "s.toml"),
        imported,
        ("check", "s.toml"),
        exported,
        ("ls",),
        ("status", "runs/s"),
    ):
        done = understudy(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    assert len((tmp_path / "e.jsonl").read_text().splitlines()) == 12


def test_a_verb_that_needs_more_says_which_line_to_type(understudy, tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)
    (tmp_path / "farthest.toml").write_text(f'{STUDY}select = {{ per_problem = 1, choose = "farthest" }}\n')
    others = (
        ("evaluate", "s", "torch", "train"),
        ("serve", "s", "starlette", "serve"),
        ("select", "farthest", "rapidfuzz", "report"),
    )
    for verb, study, needs, extra in (("train", "s", "torch, transformers, tokenizers", "train"), *others):
        done = understudy(verb, f"{study}.toml")
        assert done.returncode == 2, done.stderr
        assert needs in done.stderr
        assert f"pip install 'understudy[{extra}]'" in done.stderr
        assert "Traceback" not in done.stderr
