"""The published data sets: read as their publishers and as the hub lay them out, from rows made up here."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from saved import make_saved

from understudy.core.errors import DataError, StudyError
from understudy.core.registry import find
from understudy.studies.schema import build


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def whole(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def task(name, root, **options):
    return build(find("task", name), {"root": str(root), **options}, "task")


def problems(name, root, seed=0, **options):
    made = task(name, root, **options)
    assert all(path.is_file() for path in made.files())
    return made.problems(seed=seed)


def by_split(found):
    return {split: [p for p in found if p.split == split] for split in dict.fromkeys(p.split for p in found)}


def listed(letters, texts):
    return [{"label": label, "text": text} for label, text in zip(letters, texts, strict=True)]


def columns(letters, texts):
    return {"label": list(letters), "text": list(texts)}


def gsm(i):
    steps = f"Tom buys 2*{i}=<<2*{i}={2 * i}>>{2 * i} nuts.\nHe has {2 * i}+1=<<{2 * i}+1={2 * i + 1}>>{2 * i + 1} nuts."
    return {"question": f"Tom buys {i} bags of 2 nuts and has 1. How many has he?", "answer": f"{steps}\n#### {2 * i + 1}"}


def socratic(i):
    first, second, last = gsm(i)["answer"].split("\n")
    return {**gsm(i), "answer": f"How many does he buy? ** {first}\nHow many has he? ** {second}\n{last}"}


@pytest.mark.parametrize("layout", ["published", "hub", "saved"])
def test_gsm8k_has_its_rationale_and_steps_and_a_dev_split_out_of_train(tmp_path, layout):
    train, test = [gsm(i) for i in range(1000, 1008)], [gsm(i) for i in range(3)]
    if layout == "saved":
        make_saved(tmp_path, {"train": train, "test": test}, shards=2)
    elif layout == "hub":
        parquet(tmp_path / "main" / "train-00000-of-00002.parquet", train[:5])
        parquet(tmp_path / "main" / "train-00001-of-00002.parquet", train[5:])
        parquet(tmp_path / "main" / "test-00000-of-00001.parquet", test)
    else:
        lines(tmp_path / "train.jsonl", train)
        lines(tmp_path / "test.jsonl", test)
    found = problems("gsm8k", tmp_path, dev=3)
    parts = by_split(found)
    assert {split: len(part) for split, part in parts.items()} == {"train": 5, "dev": 3, "test": 3}
    assert {p.id for p in parts["test"]} == {f"gsm8k-test-{i}" for i in range(3)}
    one = parts["test"][2]
    assert (one.question, one.kind, one.answer) == (gsm(2)["question"], "number", "5")
    assert one.meta == {"steps": 2, "rationale": "Tom buys 2*2=4 nuts.\nHe has 4+1=5 nuts."}
    assert problems("gsm8k", tmp_path, dev=3) == found != problems("gsm8k", tmp_path, seed=1, dev=3)
    (kept,) = [p for p in problems("gsm8k", tmp_path, marks=True, dev=3) if p.id == one.id]
    assert kept.meta["rationale"] == "Tom buys 2*2=<<2*2=4>>4 nuts.\nHe has 4+1=<<4+1=5>>5 nuts."


@pytest.mark.parametrize("hub", [False, True])
def test_gsm8k_socratic_has_its_sub_questions(tmp_path, hub):
    for split, n in (("train", 4), ("test", 1)):
        rows = [socratic(i) for i in range(n)]
        if hub:
            parquet(tmp_path / "socratic" / f"{split}-00000-of-00001.parquet", rows)
        else:
            lines(tmp_path / f"{split}_socratic.jsonl", rows)
    (one,) = by_split(problems("gsm8k", tmp_path, layout="socratic", dev=1))["test"]
    assert one.meta["subquestions"] == [
        {"question": "How many does he buy?", "answer": "Tom buys 2*0=0 nuts."},
        {"question": "How many has he?", "answer": "He has 0+1=1 nuts."},
    ]
    assert one.meta["rationale"] == "Tom buys 2*0=0 nuts.\nHe has 0+1=1 nuts."


def svamp(i):
    return {
        "ID": f"chal-{i}",
        "Body": f"Mia has {i} pens. If she finds 2 pens and loses 1",
        "Question": "How many pens has she?",
        "Equation": f"( ( {i}.0 + 2.0 ) - 1.0 )",
        "Answer": float(i + 1),
        "Type": "Addition",
    }


def test_svamp_is_split_by_seed_where_it_has_no_splits_and_by_the_hub_where_it_has(tmp_path):
    whole(tmp_path / "SVAMP.json", [svamp(i) for i in range(10)])
    parts = by_split(problems("svamp", tmp_path, dev=2, test=3))
    assert {split: len(part) for split, part in parts.items()} == {"train": 5, "dev": 2, "test": 3}
    one = next(p for part in parts.values() for p in part if p.id == "chal-4")
    assert (one.question, one.answer) == ("Mia has 4 pens. If she finds 2 pens and loses 1. How many pens has she?", "5")
    assert one.meta == {"equation": "( ( 4.0 + 2.0 ) - 1.0 )", "type": "Addition", "steps": 2}
    copy = tmp_path / "hub"
    texts = [{**svamp(i), "Answer": str(i + 1), "question_concat": "x"} for i in range(10)]
    parquet(copy / "data" / "train-00000-of-00001.parquet", texts[:7])
    parquet(copy / "data" / "test-00000-of-00001.parquet", texts[7:])
    parts = by_split(problems("svamp", copy, dev=2))
    assert {split: len(part) for split, part in parts.items()} == {"train": 5, "dev": 2, "test": 3}
    assert [p.id for p in parts["test"]] == ["chal-7", "chal-8", "chal-9"]


ASDIV = """<?xml version="1.0" encoding="UTF-8"?>
<Machine-Reading-Corpus-File><ProblemSet>{}</ProblemSet></Machine-Reading-Corpus-File>
"""


def asdiv(i, answer):
    return (
        f'<Problem ID="nluds-{i:04}" Grade="2" Source="http://example.org"><Body>Ann has {i} &amp; 3 figs</Body>'
        f"<Question>How many figs?</Question><Solution-Type>Addition</Solution-Type><Answer>{answer}</Answer>"
        f"<Formula>{i}+3={i + 3}</Formula></Problem>"
    )


def test_asdiv_is_read_from_its_xml_and_keeps_answers_that_are_no_number_apart(tmp_path):
    rows = [asdiv(i, f"{i + 3} (figs)") for i in range(5)]
    answers = ["Purple", "5:45", "6th", "2 (figs); 3 (dates)", "1,200 (square feet)", "1/2 (figs)", "$2.50"]
    rows += [asdiv(i, answer) for i, answer in enumerate(answers, 5)]
    (tmp_path / "ASDiv.xml").write_text(ASDIV.format("".join(rows)))
    found = problems("asdiv", tmp_path, dev=2, test=2)
    parts = by_split(found)
    assert {split: len(part) for split, part in parts.items()} == {"train": 4, "dev": 2, "test": 2, "not numbers": 4}
    by_id = {p.id: p for p in found}
    one = by_id["nluds-0004"]
    assert (one.question, one.answer) == ("Ann has 4 & 3 figs. How many figs?", "7")
    assert one.meta == {"type": "Addition", "formula": "4+3=7", "grade": "2", "unit": "figs"}
    assert [by_id[f"nluds-{i:04}"].answer for i in (9, 10, 11)] == ["1200", "0.5", "2.5"]
    copy = tmp_path / "hub"
    fields = {"solution_type": "Addition", "formula": "4+3=7"}
    same = [
        {"body": f"Ann has {i} & 3 figs", "question": "How many figs?", "answer": f"{i + 3} (figs)", **fields} for i in range(5)
    ]
    parquet(copy / "asdiv" / "validation-00000-of-00001.parquet", same)
    again = next(p for p in problems("asdiv", copy, dev=2, test=2) if p.id == "asdiv-all-4")
    assert (again.question, again.answer, again.meta["unit"]) == (one.question, "7", "figs")


def test_asdiv_with_a_document_type_is_refused_before_it_is_read(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + ASDIV.partition("?>")[2].format(asdiv(1, "&b;"))
    (tmp_path / "ASDiv.xml").write_text(bomb)
    with pytest.raises(DataError, match=r"ASDiv\.xml: .*document type"):
        problems("asdiv", tmp_path)
    (tmp_path / "ASDiv.xml").write_text("<a>")
    with pytest.raises(DataError, match=r"ASDiv\.xml: .*XML"):
        problems("asdiv", tmp_path)


def strategy(i):
    return {
        "qid": f"q{i}",
        "term": "Fig",
        "description": "a fruit",
        "question": f"Would {i} figs fit into a thimble?",
        "answer": i < 1,
        "facts": ["A fig is large.", "A thimble is small."],
        "decomposition": ["How large is a fig?", "How large is a thimble?", f"Is {i} times #1 less than #2?"],
        "evidence": [[[["Fig-1"]], "operation"]],
    }


@pytest.mark.parametrize("layout", ["published", "authors", "hub", "one split"])
def test_strategyqa_has_facts_as_rationale_and_the_decomposition_with_its_references(tmp_path, layout):
    rows = [strategy(i) for i in range(10)]
    if layout == "published":
        whole(tmp_path / "strategyqa_train.json", rows)
    elif layout == "authors":
        whole(tmp_path / "train.json", rows[3:])
        whole(tmp_path / "dev.json", rows[:3])
    elif layout == "hub":
        flat = [{name: row[name] for name in ("qid", "term", "description", "question", "answer")} for row in rows]
        flat = [{**row, "facts": "A fig is large. A thimble is small."} for row in flat]
        parquet(tmp_path / "data" / "train-00000-of-00001.parquet", flat[3:])
        parquet(tmp_path / "data" / "test-00000-of-00001.parquet", flat[:3])
    else:
        parquet(tmp_path / "strategyQA" / "test-00000-of-00001.parquet", [{**row, "evidence": "x"} for row in rows])
    found = problems("strategyqa", tmp_path, dev=2, test=3)
    assert {split: len(part) for split, part in by_split(found).items()} == {"train": 5, "dev": 2, "test": 3}
    by_id = {p.id: p for p in found}
    assert (by_id["q0"].answer, by_id["q1"].answer) == ("yes", "no")
    assert by_id["q1"].meta["rationale"] == "A fig is large. A thimble is small."
    if layout != "hub":
        assert by_id["q1"].meta["subquestions"][2] == {"question": "Is 1 times #1 less than #2?", "answer": None}
        assert by_id["q1"].meta["steps"] == 3


FRUIT = ("fig", "date", "plum", "pear", "nut")


def csqa(i, hub=False):
    key, question = "ABCDE"[i % 5], f"Which fruit is number {i}?"
    if hub:
        return {
            "id": f"c{i}",
            "question": question,
            "question_concept": "fruit",
            "choices": columns("ABCDE", FRUIT),
            "answerKey": key,
        }
    inner = {"question_concept": "fruit", "choices": listed("ABCDE", FRUIT), "stem": question}
    return {"answerKey": key, "id": f"c{i}", "question": inner}


@pytest.mark.parametrize("hub", [False, True])
def test_commonsenseqa_tests_on_the_published_dev_split(tmp_path, hub):
    train, dev = [csqa(i, hub) for i in range(8)], [csqa(i, hub) for i in range(8, 11)]
    if hub:
        parquet(tmp_path / "data" / "train-00000-of-00001.parquet", train)
        parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", dev)
    else:
        lines(tmp_path / "train_rand_split.jsonl", train)
        lines(tmp_path / "dev_rand_split.jsonl", dev)
    parts = by_split(problems("commonsenseqa", tmp_path, dev=2))
    assert {split: len(part) for split, part in parts.items()} == {"train": 6, "dev": 2, "test": 3}
    one = parts["test"][0]
    assert (one.id, one.question, one.answer, one.choices) == ("c8", "Which fruit is number 8?", "D", FRUIT)
    assert one.meta == {"concept": "fruit"}


def book(i, hub=False, **more):
    key, question = "ABCD"[i % 4], f"Figs number {i} grow"
    if hub:
        return {"id": f"b{i}", "question_stem": question, "choices": columns("ABCD", FRUIT[:4]), "answerKey": key, **more}
    return {"id": f"b{i}", "question": {"stem": question, "choices": listed("ABCD", FRUIT[:4])}, "answerKey": key, **more}


@pytest.mark.parametrize("hub", [False, True])
@pytest.mark.parametrize("part", ["main", "additional"])
def test_openbookqa_has_its_published_splits_and_the_fact_where_it_is_given(tmp_path, hub, part):
    more = {"fact1": "figs grow on trees", "humanScore": "1.00"} if part == "additional" else {}
    for i, (ours, theirs) in enumerate({"train": "train", "dev": "validation", "test": "test"}.items()):
        if hub:
            parquet(tmp_path / part / f"{theirs}-00000-of-00001.parquet", [book(i, True, **more)])
        else:
            end = "_complete" if more else ""
            lines(tmp_path / "Data" / part.capitalize() / f"{ours}{end}.jsonl", [book(i, **more)])
    train, dev, test = problems("openbookqa", tmp_path, part=part)
    assert [p.split for p in (train, dev, test)] == ["train", "dev", "test"]
    assert (test.id, test.question, test.answer, test.choices) == ("b2", "Figs number 2 grow", "C", FRUIT[:4])
    assert test.meta == ({"fact": "figs grow on trees"} if more else {})


@pytest.mark.parametrize("hub", [False, True])
@pytest.mark.parametrize("part", ["easy", "challenge"])
def test_arc_labels_of_letters_and_of_numbers_become_the_letter_of_their_place(tmp_path, hub, part):
    name = f"ARC-{part.capitalize()}"

    def arc(i, labels, key):
        if hub:
            return {"id": f"a{i}", "question": f"Which {i}?", "choices": columns(labels, FRUIT[: len(labels)]), "answerKey": key}
        asked = {"stem": f"Which {i}?", "choices": listed(labels, FRUIT[: len(labels)])}
        return {"id": f"a{i}", "question": asked, "answerKey": key}

    rows = [arc(0, "ABCD", "B"), arc(1, "1234", "2"), arc(2, "ABCDE", "E"), arc(3, "123", "3")]
    for theirs, on_hub in (("Train", "train"), ("Dev", "validation"), ("Test", "test")):
        there = [{**row, "id": f"{theirs}-{row['id']}"} for row in rows]
        if hub:
            parquet(tmp_path / name / f"{on_hub}-00000-of-00001.parquet", there)
        else:
            lines(tmp_path / name / f"{name}-{theirs}.jsonl", there)
    found = by_split(problems("arc", tmp_path, part=part))
    assert list(found) == ["train", "dev", "test"]
    assert [p.answer for p in found["test"]] == ["B", "B", "E", "C"]
    assert found["test"][3].choices == FRUIT[:3]


@pytest.mark.parametrize("hub", [False, True])
def test_quarel_keeps_its_options_in_the_question_and_lists_them(tmp_path, hub):
    questions = [
        ("Who has run farther? (A) John (B) Rita", ("John", "Rita"), 0),
        ("The cart went faster on the (A) ice or (B) snow.", ("ice", "snow"), 1),
        ("A fig falls (A) fast, (B) slowly", ("fast", "slowly"), 1),
    ]
    for theirs, on_hub in (("train", "train"), ("dev", "validation"), ("test", "test")):
        rows = [
            {
                "id": f"{theirs}{i}",
                "answer_index": answer,
                "logical_forms": ["(infer x)"],
                "logical_form_pretty": "qrel(x) -> qrel(y)",
                "world_literals": {"world1": ["a"], "world2": ["b"]},
                "question": question,
            }
            for i, (question, _, answer) in enumerate(questions)
        ]
        if hub:
            parquet(tmp_path / "data" / f"{on_hub}-00000-of-00001.parquet", rows)
        else:
            lines(tmp_path / f"quarel-v1-{theirs}.jsonl", rows)
    found = by_split(problems("quarel", tmp_path))["dev"]
    assert [p.question for p in found] == [question for question, _, _ in questions]
    assert [p.choices for p in found] == [choices for _, choices, _ in questions]
    assert [p.answer for p in found] == ["A", "B", "B"]


def science(i, split, image=None):
    return {
        "question": f"Which is fruit {i}?",
        "choices": list(FRUIT[:3]),
        "answer": i % 3,
        "hint": "Figs are fruit. " if i == 1 else "",
        "image": image,
        "task": "closed choice",
        "grade": "grade2",
        "subject": "natural science",
        "topic": "biology",
        "category": "Plants",
        "skill": "Name fruit",
        "lecture": "Fruit grows.",
        "solution": "It is that one.",
        "split": split,
    }


@pytest.mark.parametrize("hub", [False, True])
def test_scienceqa_is_text_only_with_the_hint_as_context_and_the_solution_as_rationale(tmp_path, hub):
    rows = [science(0, "train"), science(1, "val"), science(2, "test"), science(3, "train", "image.png"), science(4, "train")]
    if hub:
        for ours, theirs in (("train", "train"), ("val", "validation"), ("test", "test")):
            there = [{name: value for name, value in row.items() if name != "split"} for row in rows if row["split"] == ours]
            there = [{**row, "image": row["image"] and {"bytes": b"\x89PNG", "path": "x"}} for row in there]
            parquet(tmp_path / "data" / f"{theirs}-00000-of-00001.parquet", there)
    else:
        whole(tmp_path / "problems.json", {str(i): row for i, row in enumerate(rows)})
    found = problems("scienceqa", tmp_path)
    assert sorted(p.split for p in found) == ["dev", "test", "train", "train"]
    assert [p.id for p in found if p.split == "train"] == (["scienceqa-train-0", "scienceqa-train-2"] if hub else ["0", "4"])
    (dev,) = by_split(found)["dev"]
    assert (dev.question, dev.answer, dev.choices, dev.context) == ("Which is fruit 1?", "B", FRUIT[:3], "Figs are fruit.")
    assert (dev.meta["rationale"], dev.meta["lecture"], dev.meta["topic"]) == ("It is that one.", "Fruit grows.", "biology")
    assert len(problems("scienceqa", tmp_path, pictures=True)) == 5


@pytest.mark.parametrize("layout", ["published", "hub"])
def test_aqua_parts_its_options_from_their_letters(tmp_path, layout):
    row = {"question": "How many?", "options": ["A)21", "B) 21.5", "C)(x)", "D)24", "E)25"], "rationale": "Count.", "correct": "C"}
    for ours, theirs in (("train", "train"), ("dev", "validation"), ("test", "test")):
        if layout == "hub":
            parquet(tmp_path / "raw" / f"{theirs}-00000-of-00001.parquet", [row, row])
        else:
            lines(tmp_path / f"{ours}.json", [row, row])
    found = problems("aqua", tmp_path)
    assert [p.id for p in found] == [f"aqua-{split}-{i}" for split in ("train", "dev", "test") for i in range(2)]
    assert (found[0].choices, found[0].answer, found[0].meta) == (("21", "21.5", "(x)", "24", "25"), "C", {"rationale": "Count."})


@pytest.mark.parametrize(
    ("name", "row", "answer"),
    [
        ("coin_flip", {"question": "A coin is heads up. Al flips the coin. Is the coin still heads up?", "answer": "no"}, "no"),
        ("last_letters", {"question": 'Take the last letters of each words in "Al Bo" and join them.', "answer": "lo"}, "lo"),
    ],
)
def test_coin_flip_and_last_letters_are_one_file_split_by_seed(tmp_path, name, row, answer):
    whole(tmp_path / f"{name}.json", {"examples": [{**row, "question": f"{i}. {row['question']}"} for i in range(6)]})
    found = problems(name, tmp_path, dev=1, test=2)
    assert {split: len(part) for split, part in by_split(found).items()} == {"train": 3, "dev": 1, "test": 2}
    assert {p.answer for p in found} == {answer}
    assert found[0].question == f"0. {row['question']}"


NAMES = (
    "aqua arc asdiv coin_flip commonsenseqa gsm8k last_letters openbookqa quarel scienceqa strategyqa svamp"  # all but our own
).split()


@pytest.mark.parametrize("name", NAMES)
def test_a_set_that_is_not_there_names_the_directory_and_the_files_it_looked_for(tmp_path, name):
    with pytest.raises(DataError, match=r"missing: .*\.(jsonl?|xml)") as error:
        problems(name, tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    with pytest.raises(DataError, match=r"task\.root = .*none"):
        problems(name, tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "file", "rows", "says"),
    [
        ("gsm8k", "train.jsonl", [gsm(1), {"question": "q", "answer": "4"}], "line 2: field 'answer'"),
        (
            "gsm8k",
            "train.jsonl",
            [{"question": "q", "answer": "x\n#### many"}],
            "line 1: field 'answer'",
        ),
        ("gsm8k", "train.jsonl", [{"qestion": "q", "answer": "x\n#### 4"}], "is missing; did you mean 'qestion'"),
        ("svamp", "SVAMP.json", [{**svamp(0), "Body": ""}], "row 1: field 'Body'"),
        (
            "commonsenseqa",
            "train_rand_split.jsonl",
            [{**csqa(0), "answerKey": "F"}],
            "field 'answerKey' must be one of the labels A, B, C, D, E, not 'F'",
        ),
        ("commonsenseqa", "train_rand_split.jsonl", [{"id": "1", "question": "Why?"}], "'choices'"),
        (
            "strategyqa",
            "strategyqa_train.json",
            [{**strategy(0), "answer": "yes"}],
            "field 'answer' must be true or false",
        ),
        (
            "quarel",
            "quarel-v1-train.jsonl",
            [{"question": "Who?", "answer_index": 0}],
            "field 'question'",
        ),
        (
            "quarel",
            "quarel-v1-train.jsonl",
            [{"question": "(A) a (B) b", "answer_index": 2}],
            "from 0 to 1, not 2",
        ),
        ("aqua", "train.jsonl", [{"question": "q", "options": ["A)1", "C)2"], "correct": "A"}], "'options'"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field(tmp_path, name, file, rows, says):
    others = {
        "gsm8k": ["test.jsonl"],
        "commonsenseqa": ["dev_rand_split.jsonl"],
        "quarel": ["quarel-v1-dev.jsonl", "quarel-v1-test.jsonl"],
        "aqua": ["dev.jsonl", "test.jsonl"],
    }
    for other in others.get(name, []):
        lines(tmp_path / other, [])
    (whole if file.endswith(".json") else lines)(tmp_path / file, rows)
    with pytest.raises(DataError) as error:
        problems(name, tmp_path)
    assert str(tmp_path / file) in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ([], r"problems\.json: .*object"),
        ({"7": science(0, "minitrain")}, "problem 7: field 'split' .*train, val, test"),
        ({"7": {**science(0, "train"), "answer": 3}}, "problem 7: field 'answer' .*from 0 to 2, not 3"),
    ],
)
def test_a_wrong_question_of_scienceqa_is_named_by_its_id(tmp_path, table, says):
    whole(tmp_path / "problems.json", table)
    with pytest.raises(DataError, match=says):
        problems("scienceqa", tmp_path)


def test_sizes_that_leave_nothing_to_train_on_are_an_error(tmp_path):
    lines(tmp_path / "train.jsonl", [gsm(i) for i in range(5)])
    lines(tmp_path / "test.jsonl", [gsm(9)])
    with pytest.raises(DataError, match=r"dev = 5: .*5 problems"):
        problems("gsm8k", tmp_path, dev=5)
    with pytest.raises(StudyError, match=r"task\.dev = 0: .*1"):
        problems("gsm8k", tmp_path, dev=0)


def test_two_problems_with_one_id_are_an_error(tmp_path):
    whole(tmp_path / "SVAMP.json", [svamp(1), svamp(1)])
    with pytest.raises(DataError, match="'chal-1'"):
        problems("svamp", tmp_path)
