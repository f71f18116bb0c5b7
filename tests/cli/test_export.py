"""export and import on the command line: a run's chains and examples for other tools, and their card."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import understudy
from loopback import Server, completion
from saved import save

from understudy.cli import main
from understudy.core.errors import StudyError
from understudy.core.values import Chain
from understudy.corpus.card import read_corpus_card
from understudy.corpus.store import read_rows
from understudy.pipeline.plan import make_plan
from understudy.runs.run import Run
from understudy.studies.load import load_study

WEIGHTED = """
[study]
name = "s"
checks = ["answer", "arithmetic"]
[task]
name = "diary"
train = 24
dev = 8
test = 8
[teacher]
samples = 3
[[arms]]
name = "a"
method = "scotd"
select = { keep = "all", check = "arithmetic" }
options = { wrong_weight = -0.5 }
"""
QUESTION = {"id": "p", "question": "What is 2 + 3?", "answer": "5"}
ROW = {"messages": [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "The answer is 5."}]}
QUESTIONS = ("--problems", "q.jsonl", "--kind", "number")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION))
    (tmp_path / "c.jsonl").write_text(json.dumps(ROW))
    return tmp_path


def bring(*more):
    return main(["import", "c.jsonl", *QUESTIONS, "--to", "c.parquet", *more])


def test_a_runs_chains_are_exported_with_their_card_and_come_back(tiny, tmp_path):
    run = str(tiny / "runs" / "demo")
    ran = understudy("export", run, "--to", "all.jsonl", "--format", "messages", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) | {"card": ""} == {
        "chains": 144,
        "lost": {},
        "format": "messages",
        "terms": "none: written by the rules of the world",
        "licence": "Apache-2.0",
        "card": "",
    }
    card = read_corpus_card(tmp_path / "all.jsonl")
    assert (card.chains, card.problems, sum(card.outcomes.values())) == (144, 48, 144)
    assert (card.sampling["samples"], card.sampling["method"]) == (3, "scotd")
    assert main(["export", run, "--to", str(tmp_path / "run.parquet"), "--format", "understudy"]) == 0
    arm = ("--arm", "1 chain, correct")
    assert main(["export", run, "--to", str(tmp_path / "arm.jsonl"), "--format", "jsonl", *arm]) == 0
    chains = list(read_rows(tmp_path / "run.parquet", Chain))
    arm = [json.loads(line) for line in (tmp_path / "arm.jsonl").read_text().splitlines()]
    assert 0 < len(arm) <= 48
    assert {(c["problem_id"], c["path"]) for c in arm} < {(c.problem, c.path) for c in chains}
    assert read_corpus_card(tmp_path / "arm.jsonl").outcomes == {"correct": len(arm)}


def test_the_examples_of_an_arm_are_what_its_student_reads_and_learns(tiny, tmp_path):
    none = understudy("export", "runs/demo", "--to", "x.jsonl", "--format", "jsonl", "--what", "examples", cwd=tiny)
    assert (none.code, "--arm: 'answer-only', '1 chain, correct', " in none.err) == (2, True), none.err
    arm = ("--arm", "N chains, all", "--what", "examples")
    to = ("--to", str(tmp_path / "e.jsonl"), "--format", "prompt-completion")
    assert main(["export", str(tiny / "runs" / "demo"), *to, *arm]) == 0
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert len(rows) == 144
    assert rows[0]["prompt"].startswith("Q: ")
    assert rows[0]["prompt"].endswith("\nA:")
    assert rows[0]["completion"].endswith("\n\n")
    assert set(rows[0]["metadata"]) == {"problem_id", "chain", "role", "group", "weight"}


def test_the_weights_of_examples_follow_the_check_that_the_arm_selects_by(tmp_path):
    (tmp_path / "s.toml").write_text(WEIGHTED)
    assert understudy("select", "s.toml", cwd=tmp_path).code == 0
    ask = ("export", "runs/s", "--to", "e.jsonl", "--format", "prompt-completion", "--what", "examples", "--arm", "a", "--no-terms")
    assert understudy(*ask, cwd=tmp_path).code == 0
    run = Run(tmp_path / "runs" / "s")
    wrong = {chain.id for chain, verdict in run.judged_chains("arithmetic") if verdict.outcome.value == "wrong"}
    assert wrong != {chain.id for chain, verdict in run.judged_chains() if verdict.outcome.value == "wrong"}
    rows = [json.loads(line)["metadata"] for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert {row["chain"] for row in rows if row["weight"] == -0.5} == wrong != set()
    verdicts = run.verdicts_file
    verdicts.write_bytes(verdicts.read_bytes()[:-1])
    damaged = understudy(*ask, cwd=tmp_path)
    assert (damaged.code, "verdicts.parquet: is damaged" in damaged.err) == (2, True), damaged.err


def test_a_file_of_somebody_elses_is_not_overwritten(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    (files / "mine.csv").write_text("question,answer\n")
    assert bring() == 0
    assert main(["export", "c.parquet", *QUESTIONS, "--to", "mine.csv", "--format", "jsonl", "--no-terms"]) == 2
    assert "mine.csv: already exists" in capsys.readouterr().err
    assert (files / "mine.csv").read_text() == "question,answer\n"
    for _ in range(2):
        assert main(["export", "c.parquet", *QUESTIONS, "--to", "o.jsonl", "--format", "jsonl", "--no-terms"]) == 0
    pq.write_table(pa.table({"x": [1]}), files / "c.parquet")
    assert bring() == 2
    assert pq.read_table(files / "c.parquet").column_names == ["x"]


def test_without_terms_and_licence_nothing_leaves_unless_it_is_said(files, monkeypatch, capsys):
    monkeypatch.chdir(files)

    def export(*more):
        return main(["export", "c.parquet", *QUESTIONS, "--to", "o.jsonl", "--format", "sharegpt", *more])

    assert bring() == 0
    assert export() == 2
    said = capsys.readouterr().err
    assert "lacks terms, licence" in said
    assert "[corpus]" in said
    assert not (files / "o.jsonl").exists()
    assert bring("--terms", "the provider's") == 0
    assert export() == 2
    assert "lacks licence" in capsys.readouterr().err
    assert export("--no-terms") == 0
    assert bring("--terms", "the provider's", "--licence", "MIT") == 0
    assert export() == 0
    card = read_corpus_card(files / "o.jsonl")
    assert (card.terms, card.licence, card.outcomes) == ("the provider's", "MIT", {"correct": 1})
    assert set(card.sources) == {"c.jsonl", "q.jsonl", "c.parquet"}
    capsys.readouterr()
    assert main(["import", "o.jsonl", *QUESTIONS, "--to", "again.parquet"]) == 0
    assert "sharegpt (by its first rows)" in capsys.readouterr().out
    assert read_corpus_card(files / "again.parquet").licence == "MIT", "a card's terms go on with its chains"


STUDY = """
[study]
name = "s"
[task]
name = "files"
path = "q.jsonl"
kind = "number"
sizes = { train = 1, dev = 1, test = 1 }
[teacher]
engine = "recorded"
chains = ["c.jsonl"]
[corpus]
terms = "the provider's"
licence = "MIT"
[[arms]]
name = "a"
method = "scotd"
"""


def test_a_study_reads_any_format_and_its_terms_decide_no_key(files):
    questions = [{"id": str(n), "question": f"What is {n} + 3?", "answer": str(n + 3)} for n in range(3)]
    (files / "q.jsonl").write_text("\n".join(map(json.dumps, questions)))
    rows = [{"instruction": q["question"], "input": "", "output": f"So the answer is: {q['answer']}"} for q in questions]
    (files / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (files / "s.toml").write_text(STUDY)
    save(files / "set", rows)
    ran = understudy("sample", "s.toml", cwd=files)
    assert ran.code == 0, ran.err
    assert "c.jsonl alpaca (by its first rows)" in " ".join(ran.out.split())
    keys = [list(make_plan(load_study(files / "s.toml", more)).stages) for more in ([], ["corpus.terms=others"])]
    assert keys[0] == keys[1]
    plan = make_plan(load_study(files / "s.toml", ['teacher.chains=["set"]']))
    assert [Path(name).name for name in plan.chains.files] == ["data-00000-of-00001.arrow"]
    with pytest.raises(StudyError, match=r"teacher: unknown format 'sharegtp'.*did you mean 'sharegpt'"):
        load_study(files / "s.toml", ["teacher.format=sharegtp"])
    assert main(["export", str(files / "runs" / "s"), "--to", str(files / "o.jsonl"), "--format", "think"]) == 0
    assert (read_corpus_card(files / "o.jsonl").terms, read_corpus_card(files / "o.jsonl").outcomes) == ("the provider's", {})


def test_what_is_read_is_never_overwritten_and_a_corpus_is_parquet(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    questions, chains = (files / "q.jsonl").read_bytes(), (files / "c.jsonl").read_bytes()
    for to in ("q.jsonl", "./c.jsonl", "new.jsonl"):
        assert main(["import", "c.jsonl", *QUESTIONS, "--to", to]) == 2
        assert f"{Path(to)}: a corpus is written to a .parquet file" in capsys.readouterr().err
    assert bring("--terms", "none", "--licence", "CC0-1.0") == 0
    assert main(["import", "c.parquet", *QUESTIONS, "--to", "c.parquet"]) == 2
    assert main(["export", "c.parquet", *QUESTIONS, "--to", "q.jsonl", "--format", "messages"]) == 2
    assert "q.jsonl: is read, too, and would be overwritten" in capsys.readouterr().err
    (files / "d").mkdir()
    (files / "d" / "train.jsonl").write_bytes(chains)
    assert main(["import", "d", *QUESTIONS, "--to", "d/train.parquet"]) == 2
    assert not (files / "d" / "train.parquet").exists()
    assert (questions, chains) == ((files / "q.jsonl").read_bytes(), (files / "c.jsonl").read_bytes())
    assert not (files / "new.jsonl").exists()


def test_a_question_that_cannot_be_read_names_the_option_that_skips_it(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    with (files / "q.jsonl").open("a") as questions:
        questions.write('\n{"id": "odd", "question": "", "answer": "3"}\n')
    assert main(["import", "c.jsonl", *QUESTIONS, "--to", "c.parquet"]) == 2
    assert "(--skip-bad leaves out rows that cannot be read)" in capsys.readouterr().err
    assert main(["import", "c.jsonl", *QUESTIONS, "--to", "c.parquet", "--skip-bad"]) == 0


def test_two_questions_with_one_id_are_refused_since_a_chain_could_be_of_either(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    (files / "more.jsonl").write_text((files / "q.jsonl").read_text())
    assert main(["import", "c.jsonl", *QUESTIONS, "--problems", "more.jsonl", "--to", "c.parquet"]) == 2
    assert "given more than once, first" in capsys.readouterr().err
    assert not (files / "c.parquet").exists()


def test_the_key_of_an_endpoint_is_in_nothing_that_is_exported(files, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret-0123456789")
    questions = [{"id": str(n), "question": f"What is {n} + 3?", "answer": str(n + 3)} for n in range(3)]
    (files / "q.jsonl").write_text("\n".join(map(json.dumps, questions)))
    with Server(lambda _path, _body, _n: completion(" So the answer is: 5")) as server:
        asked = f'engine = "endpoint"\nurl = "{server.url}"\nmodel = "m"\nkey_env = "TEACHER_KEY"\nsamples = 2'
        (files / "s.toml").write_text(STUDY.replace('engine = "recorded"\nchains = ["c.jsonl"]', asked))
        assert understudy("check", "s.toml", cwd=files).code == 0
        assert "sk-very-secret" in server.headers[0]["Authorization"], "it was sent"
    for name in ("understudy", "jsonl", "messages", "openai-batch"):
        to = f"o.{'parquet' if name == 'understudy' else name}"
        assert main(["export", str(files / "runs" / "s"), "--to", str(files / to), "--format", name]) == 0
    assert read_corpus_card(files / "o.parquet").sampling["model"] == "m"
    assert len(list(files.glob("o.*"))) == 7
    found = [path for path in files.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]
    assert found == []
    assert "very-secret" not in repr([*read_rows(files / "o.parquet", Chain), read_corpus_card(files / "o.parquet")])


WRONG = [
    (("nowhere", "--to", "o.jsonl", "--format", "jsonl"), "neither a run directory nor a corpus"),
    (("c.jsonl", "--to", "o.jsonl", "--format", "jsonl"), "neither a run directory nor a corpus"),
    (("c.parquet", "--to", "o.jsonl", "--format", "alpacca"), "did you mean 'alpaca'"),
    (("c.parquet", "--to", "o.parquet", "--format", "jsonl"), ".parquet"),
    (("c.parquet", "--to", "o.jsonl", "--format", "understudy"), ".parquet"),
    (("c.parquet", "--to", "o.jsonl", "--format", "alpaca"), "a corpus does not hold its questions"),
    (("c.parquet", "--to", "o.jsonl", "--format", "jsonl", "--problems", "q.jsonl"), "a corpus does not hold its questions"),
    (("c.parquet", "--to", "o.jsonl", "--format", "jsonl", "--arm", "a"), "give the directory of a run"),
    ((".", "--to", "o.jsonl", "--format", "jsonl"), "holds no run"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A directory with a corpus that has its terms."""
    where = tmp_path_factory.mktemp("corpus")
    (where / "q.jsonl").write_text(json.dumps(QUESTION))
    (where / "c.jsonl").write_text(json.dumps(ROW))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(where)
        assert bring("--terms", "x", "--licence", "y") == 0
    return where


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=[f"{w[0][0]} {w[1]}" for w in WRONG])
def test_wrong_use_is_one_message(corpus, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(corpus)
    assert main(["export", *arguments]) == 2
    said = capsys.readouterr().err
    assert (says in said, said.count("\n")) == (True, 1), said
    assert not (corpus / "o.jsonl").exists()


def test_wrong_use_of_a_run_is_one_message(tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny)
    for more, says in (
        (("--format", "jsonl", "--arm", "N chain, all"), "did you mean 'N chains, all'"),
        (("--format", "jsonl", "--what", "examples"), "name it with --arm"),
        (("--format", "think", "--what", "examples", "--arm", "answer-only"), "use one of jsonl, "),
    ):
        assert main(["export", "runs/demo", "--to", "o.jsonl", *more]) == 2
        assert says in capsys.readouterr().err
