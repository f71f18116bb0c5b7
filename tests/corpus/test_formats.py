"""Every format of chains: what is read from it, what is counted as lost, and what comes back of an export."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved import save

from understudy.core.asks import GREEDY_PATH, Message
from understudy.core.errors import DataError
from understudy.core.values import Chain, Example, Problem, Segment, Step
from understudy.corpus.card import CorpusCard
from understudy.corpus.export import export_chains, export_examples
from understudy.corpus.formats import FORMATS, NAMES
from understudy.corpus.import_ import DIFFERS, import_chains

PROBLEMS = {
    p.id: p
    for p in [
        Problem("two", "What is 2 + 3?", "number", "5"),
        Problem("which", "Which one  shines\nat night?", "option", "B", choices=("sun", "moon")),
        Problem("story", "How old is she?", "number", "7", context="Ana is seven."),
    ]
}
SAID = "2 and 3 make 5. So the answer is: 5"


def bring(tmp_path, *rows, name="c.jsonl", problems=PROBLEMS, **options):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chains, report = import_chains([path], problems=problems, **{"fields": {}, "prefer": "text"} | options)
    return list(chains), report


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def batch(name, *choices, **more):
    body = {"model": "gpt-x", "choices": list(choices), **more}
    return {"id": "r", "custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


def choice(text, finish="stop", **more):
    return {"index": 0, "message": assistant(text, **more), "finish_reason": finish}


ASKED = "What is 2 + 3?"
SAME = {
    "jsonl": {"question": ASKED, "text": SAID},
    "prompt-completion": {"prompt": f"Q: {ASKED}\nA:", "completion": SAID},
    "messages": {"messages": [{"role": "system", "content": "Be brief."}, user(ASKED), assistant(SAID)]},
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": SAID}]},
    "alpaca": {"instruction": "What is", "input": "2 + 3?", "output": SAID},
    "think": {"problem": ASKED, "reasoning_content": "2 and 3 make 5.", "content": "So the answer is: 5"},
    "openai-batch": batch("two", choice(SAID)),
}


@pytest.mark.parametrize("name", SAME)
def test_each_format_is_recognised_and_says_the_same(tmp_path, name):
    (chain,), report = bring(tmp_path, SAME[name])
    assert (chain.problem, chain.rationale, chain.answer, chain.layer) == ("two", "2 and 3 make 5.", "5", "marker")
    assert report.to_json()["read as"] == {"c.jsonl": f"{name} (by its first rows)"}
    assert bring(tmp_path, SAME[name], format=name)[0] == [chain]


# Layouts of published data and of other trainers, each with one reply to one question.
OTHERS = {
    "trl": {"prompt": [user(ASKED)], "completion": [assistant(SAID)]},
    "trl, system": {"prompt": [{"role": "system", "content": "Be brief."}, user(ASKED)], "completion": [assistant(SAID)]},
    "trl, text prompt": {"prompt": ASKED, "completion": [assistant(SAID)]},
    "llama-factory, sharegpt": {
        "conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": SAID}],
        "system": "Be brief.",
    },
    "llama-factory, alpaca": {"instruction": ASKED, "input": "", "output": SAID, "system": "Be brief.", "history": []},
    "alpaca, question in input": {"instruction": "Answer the question below, step by step.", "input": ASKED, "output": SAID},
    "axolotl": {"conversations": [user(ASKED), assistant(SAID)]},
    "axolotl, from and value": {"messages": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": SAID}]},
    "openthoughts, metadata": {"problem": ASKED, "deepseek_reasoning": "2 and 3 make 5.", "deepseek_solution": SAID, "source": "x"},
    "metamath": {"query": ASKED, "response": SAID},
    "openthoughts": {"system": "Think.", "conversations": [{"from": "user", "value": ASKED}, {"from": "assistant", "value": SAID}]},
    "open-r1": {"problem": ASKED, "solution": "It is 5.", "answer": "5", "generations": [SAID], "uuid": "u", "correctness": [True]},
    "open-r1, messages": {"problem": ASKED, "messages": [user(ASKED), assistant(SAID)]},
    "distilabel": {"instruction": ASKED, "generation": SAID, "model_name": "some-model", "distilabel_metadata": {"raw": "x"}},
    "distilabel, several": {"instruction": ASKED, "generations": [SAID], "generation_models": ["some-model"]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_layouts_of_other_tools_are_read_without_a_mapping(tmp_path, name):
    (chain,), report = bring(tmp_path, OTHERS[name])
    assert (chain.problem, chain.rationale, chain.answer) == ("two", "2 and 3 make 5.", "5")
    assert report.lost.total() == 0
    if "model_name" in OTHERS[name]:
        assert chain.teacher == "some-model"


def test_a_list_of_replies_is_as_many_chains(tmp_path):
    chains, report = bring(tmp_path, {"problem": ASKED, "generations": [SAID, "5", ""], "finish_reasons": ["stop"] * 3})
    assert [(c.path, c.text) for c in chains] == [(0, SAID), (1, "5")]
    assert (report.rows, report.lost["without text"]) == (1, 1)


def test_every_format_has_its_example_here():
    assert set(SAME) == set(FORMATS)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("Q: What is 2 + 3?\nA:", "two"),
        ("Question: What  is 2 + 3?\nA: Let's think step by step.", "two"),
        ("Q: What is 1 + 1?\nA: It is 2.\n\nQ: What is 2 + 3?\nA:", "two"),
        ("Which one shines at night?\nAnswer Choices:\n(a) sun\n(b) moon", "which"),
        ("Q: Which one shines at night?\nAnswer Choices:\n(a) the sun\n(b) the moon\nA:", "which"),
        ("Ana is seven.\nHow old is she?", "story"),
        ("How old is she?", "story"),
        ("What is 2 + 3? Let's think step by step, and put the answer in \\\\boxed{}.", "two"),
        ("Answer this question.\n\n**What is 2  +  3?**\n\nGive a number.", "two"),
        ("Which one  shines\nat night?\nA. sun\nB. moon\nAnswer with a letter.", "which"),
        ("Read. Ana is seven.   How old is she? Think first.", "story"),
    ],
)
def test_a_question_finds_its_problem_without_its_wrapping(tmp_path, asked, problem):
    (chain,), _ = bring(tmp_path, {"prompt": asked, "completion": "The answer is 7."})
    assert (chain.problem, chain.prompt) == (problem, asked)


def test_the_longest_question_in_a_prompt_counts_and_its_options_tell_equal_ones_apart(tmp_path):
    problems = {
        "short": Problem("short", "How many are there?", "number", "1"),
        "long": Problem("long", "There are 3 cups. How many are there? Count.", "number", "3"),
        "birds": Problem("birds", "Which of these can fly?", "option", "A", choices=("hen", "owl")),
        "boats": Problem("boats", "Which of these can fly?", "option", "A", choices=("boat", "kite")),
        "tiny": Problem("tiny", "Why?", "text", "so"),
    }
    asked = [
        "Think: There are 3 cups. How many are there? Count. Then answer.",
        "Choose. Which of these can fly? (1) boat (2) kite",
        "Choose. Which of these can fly? You know it.",
        "How many are there? And: Which of these can fly? (1) hen (2) owl",
        "Why? Because I ask.",
        "Q: There are 3 cups. How many are there? Count.\nA: 3\n\nQ: Say how many. How many are there? Go.\nA:",
    ]
    chains, report = bring(tmp_path, *({"prompt": text, "completion": SAID} for text in asked), problems=problems)
    assert [chain.problem for chain in chains] == ["short", "long", "boats"]
    assert (report.lost["whose question several problems ask"], report.lost["of unknown problems"]) == (2, 1)


def test_rows_that_find_no_problem_are_shown_and_not_only_counted(tmp_path):
    rows = [SAME["jsonl"], *({"question": f"Who is {name}?", "text": SAID} for name in "abcde")]
    _, report = bring(tmp_path, *rows)
    shown = report.to_json()["first lost rows"]["of unknown problems"]
    assert [row.partition(", ")[2] for row in shown] == [
        f"line {i}: 'Who is {name}?'" for i, name in ((2, "a"), (3, "b"), (4, "c"))
    ]
    with pytest.raises(
        DataError, match=r"5 of unknown problems.*First: of unknown problems, .*line 1: 'Who is a\?'; .*'Who is c\?'"
    ):
        bring(tmp_path, *rows[1:])


def test_damaged_rows_are_counted_and_shown_where_that_is_asked_for(tmp_path):
    rows = [SAME["jsonl"], {"question": ASKED, "text": ["x"]}, {"text": SAID}, SAME["jsonl"] | {"finish": "maybe"}]
    bad = []
    chains, report = bring(tmp_path, *rows, bad=bad)
    assert (len(chains), report.rows) == (1, 4)
    assert [message.partition(": ")[0].rpartition(", ")[2] for message in bad] == ["line 2", "line 3", "line 4"]
    with pytest.raises(DataError, match="line 2"):
        bring(tmp_path, *rows)


@pytest.mark.parametrize(("text", "differs"), [("2 and 4. So the answer is: 6", 1), ("2 + 4 makes 6 and", 0)])
def test_a_text_states_another_answer_only_where_it_states_one(tmp_path, text, differs):
    _, report = bring(tmp_path, SAME["jsonl"] | {"text": text, "answer": "5"})
    assert report.notes[DIFFERS] == differs


def test_other_columns_are_kept_and_named_once(tmp_path):
    rows = [SAME["jsonl"] | {"correct": True, "subquestions": [{"question": "x"}], "empty": None}, SAME["jsonl"] | {"grade": 3}]
    chains, report = bring(tmp_path, *rows)
    assert [dict(chain.sampling) for chain in chains] == [
        {"columns": {"correct": True, "subquestions": [{"question": "x"}]}},
        {"columns": {"grade": 3}},
    ]
    assert report.to_json()["kept in sampling.columns"] == ["correct", "subquestions", "grade"]
    assert "sampling" not in report.columns and "answer" not in report.columns


def test_an_id_that_a_table_wrote_as_5_0_is_5(tmp_path):
    problems = {"5": Problem("5", ASKED, "number", "5")}
    rows = [{"problem_id": name, "text": SAID} for name in (5.0, "5.0", 5, "5")]
    chains, _ = bring(tmp_path, *rows, problems=problems)
    assert [chain.problem for chain in chains] == ["5"] * 4


def test_lines_that_are_called_json_and_an_array_that_is_called_jsonl_are_read(tmp_path):
    row = SAME["jsonl"]
    chosen = {"question": ASKED, "text": SAID, "tags": ["a"]}
    for name, text in {
        "array.jsonl": json.dumps([row, row], indent=1),
        "bare.jsonl": "\ufeff\n[" + json.dumps(row) + "]",
        "lines.json": f"\n{json.dumps(row)}\n\n{json.dumps(row)}\n",
        "line.json": json.dumps(chosen),
        "object.json": json.dumps({"data": [row]}),
        "pretty.json": json.dumps({"version": 1, "data": [row]}, indent=1),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        chains, _ = import_chains([tmp_path / name], problems=PROBLEMS, fields={}, prefer="text")
        assert {chain.problem for chain in chains} == {"two"}, name


def test_a_long_field_of_a_table_is_read(tmp_path):
    text = "2 and 3 make 5, " * 20_000 + "so the answer is: 5"
    (tmp_path / "c.csv").write_text(f'question,text\n"{ASKED}","{text}"\n')
    (chain,), _ = import_chains([tmp_path / "c.csv"], problems=PROBLEMS, fields={}, prefer="text")
    assert chain.text == text


def test_a_problem_is_never_guessed(tmp_path):
    twice = PROBLEMS | {"two again": Problem("two again", "What is 2 + 3?", "number", "5")}
    rows = [
        {"prompt": "What is 2 + 3?", "completion": SAID},  # two problems ask it
        {"prompt": "What is 2 + 4?", "completion": SAID},  # none does
        {"prompt": "How old is she?", "completion": SAID, "problem_id": "two"},  # the id says otherwise
        {"prompt": "How old is she?", "completion": SAID, "id": "two"},  # a running number, perhaps
        {"prompt": "of my own wording", "completion": SAID, "problem_id": "two"},
        {"prompt": "of my own wording", "completion": SAID, "id": "two"},
    ]
    chains, report = bring(tmp_path, *rows, problems=twice)
    assert [chain.problem for chain in chains] == ["two", "story"]
    counts = {"of unknown problems": 2, "whose question several problems ask": 1, "whose id and question disagree": 1}
    assert counts.items() <= report.to_json().items()


def test_an_id_in_the_place_of_the_question_names_the_problem(tmp_path):
    chains, _ = bring(tmp_path, {"problem": "two", "text": SAID}, {"id": "two", "problem": "two", "text": SAID}, problems=PROBLEMS)
    assert [chain.problem for chain in chains] == ["two", "two"]


def test_a_thought_is_the_rationale_and_what_follows_the_answer(tmp_path):
    rows = [
        {"prompt": ASKED, "response": "<think>\n2 and 3, say 6?\nNo: 5.\n</think>\n\nAdding gives **5**."},
        {"prompt": ASKED, "response": "2 and 3 make 5.\n</think>\nThe answer is 5."},
        {"prompt": ASKED, "response": "<think>\n\n</think>\n\nThey make 5. The answer is 5."},
        {"prompt": ASKED, "response": "<think>I know it.</think>"},
        {"prompt": ASKED, "response": "<think>2 and 3 make 5, so the answer is 5"},
        {"prompt": ASKED, "response": "<think>2 and 3</think>The answer is 5", "finish_reason": "length"},
    ]
    chains, report = bring(tmp_path, *rows)
    assert [chain.rationale for chain in chains[:3]] == ["2 and 3, say 6?\nNo: 5.", "2 and 3 make 5.", "They make 5."]
    assert [chain.answer for chain in chains] == ["5", "5", "5", None, None, "5"]
    assert [chain.finish for chain in chains] == ["stop", "stop", "stop", "stop", "length", "length"]
    counted = report.to_json()
    assert (counted["that thought and gave no answer"], counted["cut off"]) == (1, 2)


def test_the_last_exchange_of_a_conversation_is_read_and_parts_are_joined(tmp_path):
    parts = [{"type": "text", "text": "2 and 3 make 5. "}, {"type": "text", "text": "The answer is 5."}]
    image = [{"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {"url": "x"}}]
    rows = [
        {"messages": [user("How old is she?"), assistant("7"), user(ASKED), assistant(parts)]},
        {"messages": [user(image), assistant("5")]},
        {"messages": [user(ASKED), assistant("", tool_calls=[{}])]},
        {"messages": [user(ASKED), assistant(None)]},
        {"messages": [user(ASKED), assistant("So the answer is: 5", reasoning_content="2 and 3.")]},
    ]
    chains, report = bring(tmp_path, *rows)
    assert [chain.text for chain in chains] == [
        "2 and 3 make 5. The answer is 5.",
        "<think>\n2 and 3.\n</think>\n\nSo the answer is: 5",
    ]
    assert chains[0].prompt == "[user]\nHow old is she?\n[assistant]\n7\n[user]\nWhat is 2 + 3?"
    lost = {
        "with parts that are not text": 1,
        "with tool calls": 1,
        "without text": 1,
        "with earlier turns, of which the last was read": 1,
    }
    assert lost.items() <= report.to_json().items()


def test_a_batch_is_read_with_its_requests_in_any_order(tmp_path):
    logged = {"logprobs": {"content": [{"logprob": -0.5}, {"logprob": -1.5}]}}
    rows = [
        batch("r-2", choice(SAID), choice("<think>2 and", "length")),
        batch("r-1", choice("The answer is 7.") | logged, usage={"completion_tokens": 9}),
        {"id": "r", "custom_id": "r-3", "response": None, "error": {"code": "batch_expired", "message": "..."}},
        {"id": "r", "custom_id": "r-4", "response": {"status_code": 429, "body": {}}, "error": None},
        batch("r-9", choice("", "content_filter", refusal="I can not.")),
        batch("r-8", choice("nobody asked")),
        batch("story", choice("7")),
        {"custom_id": "story", "body": {"prompt": "my wording"}},
        {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [user("How old is she?")]}},
        {"custom_id": "r-2", "body": {"messages": [user(ASKED)], "temperature": 0.7, "model": "gpt-x", "api_key": "sk-no"}},
        {"custom_id": "r-9", "body": {"messages": [user("my wording")], "metadata": {"problem_id": "which"}}},
    ]
    chains, report = bring(tmp_path, *rows)
    assert [(c.problem, c.answer, c.finish) for c in chains] == [
        ("two", "5", "stop"),
        ("two", None, "length"),
        ("which", None, "refused"),
        ("story", "7", "stop"),
        ("story", "7", "stop"),
    ]
    assert (chains[3].tokens, chains[3].logprob, chains[0].tokens, chains[0].teacher) == (9, -1.0, None, "gpt-x")
    assert dict(chains[0].sampling) == {"temperature": 0.7}
    counted = report.to_json()
    assert (counted["failed: batch_expired"], counted["failed: status 429"], counted["of unknown problems"]) == (1, 1, 1)


def test_the_number_of_a_request_is_no_problems_id_where_its_question_says_otherwise(tmp_path):
    problems = {"0": Problem("0", "How old is she?", "number", "7"), "1": Problem("1", ASKED, "number", "5")}
    rows = [batch("0", choice(SAID)), {"custom_id": "0", "body": {"messages": [user(ASKED)]}}]
    chains, _ = bring(tmp_path, *rows, problems=problems)
    assert [chain.problem for chain in chains] == ["1"]


WRONG = [
    ([], {}, "no row"),
    ([{"a": 1}], {}, r"in no known format \(understudy, jsonl, .*; its first row has: a"),
    ([SAME["sharegpt"]], {"format": "messages"}, "not in the format 'messages', which needs .*it looks like sharegpt"),
    ([SAME["messages"]], {"format": "mesages"}, r"unknown format 'mesages'; did you mean 'messages'\?"),
    ([SAME["messages"] | SAME["alpaca"]], {}, "messages or alpaca"),
    (
        [SAME["messages"], {"messages": [{"role": "asistant", "content": "x"}]}],
        {},
        r"line 2: unknown role 'asistant'; did you mean 'assistant'\? \(known: ",
    ),
    ([SAME["sharegpt"], {"conversations": [{"from": "x", "value": ""}]}], {}, "line 2: unknown from 'x'"),
    ([SAME["messages"], {"messages": [user(ASKED)]}], {}, r"line 2: the conversation has no reply to a user \(its turns: user\)"),
    ([SAME["messages"], {"messages": [assistant("x")]}], {}, "line 2: the conversation has no reply to a user"),
    ([SAME["messages"], {"messages": []}], {}, "line 2: field 'messages' must be a list of {role, content}"),
    (
        [SAME["messages"], {"messages": [user(ASKED), assistant(3)]}],
        {},
        "line 2: content must be a text or a list of parts, not '3'",
    ),
    ([SAME["prompt-completion"], {"prompt": ASKED}], {}, r"line 2: no field 'completion'.* for text; map it"),
    ([SAME["jsonl"], {"question": ASKED, "text": ["x"]}], {}, r"line 2: field 'text' \(text\) must be a text"),
    ([SAME["jsonl"], {"text": SAID}], {}, "line 2: .*problem_id, id"),
    ([SAME["jsonl"] | {"finish": ["x"]}], {}, r"field 'finish' \(finish\) = \['x'\]"),
    ([SAME["openai-batch"], batch("two", "x")], {}, "line 2: response.body has no list of choices"),
    ([SAME["messages"]], {"fields": {"text": "x"}}, "fields: text cannot be mapped in the format 'messages', which has a list"),
    ([SAME["openai-batch"], {"id": "r"}], {}, "line 2: field 'custom_id' is missing"),
    ([SAME["alpaca"] | {"instruction": "else"}], {}, r"3 problems \(1 rows, 1 of unknown problems\)"),
]


@pytest.mark.parametrize(("rows", "options", "says"), WRONG, ids=[says[:40] for _, _, says in WRONG])
def test_a_file_that_is_wrong_is_told_where_and_how(tmp_path, rows, options, says):
    with pytest.raises(DataError, match=says):
        bring(tmp_path, *rows, **options)


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps(SAME["messages"]) + '\n{"messages": [\n')
    with pytest.raises(DataError, match=r"c\.jsonl, line 2: not JSON"):
        import_chains([tmp_path / "c.jsonl"], problems=PROBLEMS, fields={}, prefer="text")


def test_a_broken_line_is_counted_and_shown_where_that_is_asked_for(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"messages": [\n' + json.dumps(SAME["messages"]) + "\n[1]\n")
    bad = []
    chains, _ = import_chains([tmp_path / "c.jsonl"], problems=PROBLEMS, fields={}, prefer="text", bad=bad)
    assert len(chains) == 1
    assert [message.rpartition("c.jsonl, ")[2][:16] for message in bad] == ["line 1: not JSON", "line 3: '[1]' is"]


def test_half_a_surrogate_pair_is_counted_and_never_stored(tmp_path):
    chains, report = bring(tmp_path, SAME["jsonl"], {"question": ASKED, "text": "5 \ud83d"})
    assert (len(chains), report.to_json()["with invalid characters (half of a surrogate pair)"]) == (1, 1)


def test_a_file_whose_name_is_not_in_utf_8_is_read_like_any_other(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    path.write_text(json.dumps(SAME["jsonl"]))
    chains, _ = import_chains([path], problems=PROBLEMS, fields={}, prefer="text")
    assert len(chains) == 1


def test_a_csv_with_a_blank_after_every_comma_is_read(tmp_path):
    (tmp_path / "c.csv").write_text(f'question, text, path\n"{ASKED}", "{SAID}", 2\n')
    (chain,), _ = import_chains([tmp_path / "c.csv"], problems=PROBLEMS, fields={}, prefer="text")
    assert (chain.text, chain.path) == (SAID, 2)
    (tmp_path / "c.csv").write_text(f'question,text\n"{ASKED}", {SAID}\n')
    (chain,), _ = import_chains([tmp_path / "c.csv"], problems=PROBLEMS, fields={}, prefer="text")
    assert chain.text == f" {SAID}", "a blank that the head does not have belongs to the text"


def test_numbers_in_the_cells_of_a_table_are_read_and_words_are_not(tmp_path):
    head = "question,text,path,tokens,logprob\n"
    (tmp_path / "c.csv").write_text(f'{head}"{ASKED}","{SAID}",2,7,-0.5\n"{ASKED}","{SAID}",,,\n')
    chains, _ = import_chains([tmp_path / "c.csv"], problems=PROBLEMS, fields={}, prefer="text")
    assert [(chain.path, chain.tokens, chain.logprob) for chain in chains] == [(0, None, None), (2, 7, -0.5)]
    for wrong in ("two", "nan", "-3"):
        (tmp_path / "c.csv").write_text(f'{head}"{ASKED}","{SAID}",{wrong},7,-0.5\n')
        with pytest.raises(DataError, match=rf"field 'path' .path. = .*{wrong}.* must be a number from -1"):
            import_chains([tmp_path / "c.csv"], problems=PROBLEMS, fields={}, prefer="text")


def test_the_requests_of_a_batch_say_nothing_of_other_rows_which_keep_their_paths(tmp_path):
    plain = [{"problem_id": "two", "text": "Mine: 5.", "teacher": "human", "path": 0}]
    asked = [
        {"custom_id": "two", "body": {"messages": [user("How old is she?")], "temperature": 0.7}},
        batch("two", choice("It is 7.")),
    ]
    for name, rows in (("b.jsonl", asked), ("p.jsonl", plain), ("q.jsonl", [{"problem_id": "story", "text": "7", "path": 0}])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    chains, _ = import_chains([tmp_path / f"{n}.jsonl" for n in "bpq"], problems=PROBLEMS, fields={}, prefer="text")
    found = {(c.problem, c.path): (c.text, dict(c.sampling)) for c in chains}
    assert found == {
        ("two", 0): ("Mine: 5.", {}),
        ("story", 0): ("7", {}),
        ("story", 1): ("It is 7.", {"temperature": 0.7}),
    }


def test_a_greedy_chain_comes_back_from_every_format(tmp_path):
    chain = Chain("two", GREEDY_PATH, SAID, "2 and 3 make 5.", "5", "marker", "t")
    for name in NAMES:
        again, _, _ = there_and_back(tmp_path, [chain], name)
        assert again == [chain], name


def test_arrays_tables_foreign_parquet_and_data_set_directories_are_read_too(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "c.json").write_text(json.dumps([SAME["sharegpt"]]))
    (tmp_path / "c.csv").write_text(f'prompt,completion\n"{ASKED}","{SAID}"\n')
    pq.write_table(pa.Table.from_pylist([SAME["messages"]]), tmp_path / "c.parquet")
    paths = [tmp_path / name for name in ("c.json", "c.csv", "c.parquet")]
    paths.append(save(tmp_path / "saved", [SAME["sharegpt"]]))
    chains, report = import_chains(paths, problems=PROBLEMS, fields={}, prefer="text")
    assert [(chain.text, chain.path) for chain in chains] == [(SAID, n) for n in range(4)]
    assert [read.split()[0] for read in report.formats.values()] == ["sharegpt", "prompt-completion", "messages", "sharegpt"]


TAGS = ["<think>", "</think>", "So the answer is: 5", "The answer is (b).", "#### 7", "\\boxed{5}", "5", "moon"]
ASKS = ["Q: What is 2 + 3?\nA:", "Answer Choices:\n(a) x", "[system]\nno"]
SIGNS = ["\n\n", "\n", "\r\n", "  ", "\u2028", "\x00", '"', "\\", "{", "é✓𝔘", "x" * 3000]
ODD = st.sampled_from(TAGS + ASKS + SIGNS)
TEXT = st.lists(ODD | st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=1, max_size=6).map("".join)
SOME = TEXT.filter(str.strip)
VALUE = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | SOME
CHAIN = st.builds(
    Chain,
    problem=st.sampled_from(list(PROBLEMS)),
    path=st.integers(0, 9),
    text=SOME,
    rationale=TEXT,
    answer=st.none() | st.sampled_from(["5", "7", "A", "B"]),
    layer=st.sampled_from(["marker", "recorded", ""]),
    teacher=SOME,
    finish=st.sampled_from(["stop", "length", "refused"]),
    steps=st.lists(st.builds(Step, text=TEXT, question=st.none() | TEXT), max_size=2).map(tuple),
    tokens=st.none() | st.integers(0, 10**6),
    logprob=st.none() | st.floats(-99, 0),
    prompt=st.none() | TEXT,
    answer_conditioned=st.booleans(),
    sampling=st.dictionaries(st.sampled_from(["temperature", "top_p", "n"]), VALUE, max_size=2),
)
CHAINS = st.lists(CHAIN, min_size=1, max_size=3, unique_by=lambda chain: (chain.problem, chain.path))


def there_and_back(folder, chains, name, *, bare=False, problems=PROBLEMS):
    to = folder / ("c.parquet" if name == "understudy" else "c.jsonl")
    says = export_chains(chains, problems, format=name, to=to, card=CorpusCard(), bare=bare)
    again, report = import_chains([to], problems=problems, fields={}, prefer="text", format=name)
    return list(again), report, says


@pytest.mark.parametrize("name", NAMES)
@given(chains=CHAINS)
@settings(max_examples=25, deadline=None)
def test_what_is_exported_is_imported_the_same(tmp_path_factory, name, chains):
    again, _, says = there_and_back(tmp_path_factory.mktemp("there"), chains, name)
    assert again == sorted(chains, key=lambda chain: (list(PROBLEMS).index(chain.problem), chain.path))
    assert says == {"chains": len(chains), "lost": {}}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("understudy", "jsonl")])
@given(chains=CHAINS)
@settings(max_examples=15, deadline=None)
def test_what_bare_rows_lose_is_named(tmp_path_factory, name, chains):
    again, _, says = there_and_back(tmp_path_factory.mktemp("there"), chains[:1], name, bare=True)
    fields = ("text", "rationale", "answer", "layer", "teacher", "finish", "steps", "tokens", "prompt", "sampling", "path")
    differing = {field for field in fields if getattr(again[0], field) != getattr(chains[0], field)}
    assert differing == set(says["lost"]) - {"logprob", "answer_conditioned"}


def test_a_row_that_was_changed_since_its_export_is_read_anew(tmp_path):
    chain = Chain("two", 4, "It is 5, no doubt", "said so", "5", "recorded", "t", tokens=7)
    _, _, _ = there_and_back(tmp_path, [chain], "messages")
    text = (tmp_path / "c.jsonl").read_text().replace("It is 5, no doubt", "So the answer is: 6")
    (tmp_path / "c.jsonl").write_text(text)
    (again,), report = import_chains([tmp_path / "c.jsonl"], problems=PROBLEMS, fields={}, prefer="text")
    assert (again.answer, again.layer, again.tokens, again.teacher, again.path) == ("6", "marker", None, "t", 4)
    assert report.to_json()["changed since their export and read again"] == 1


@pytest.mark.parametrize("damage", ['"path": "x"', '"sampling": "{"', '"finish": "x"', '"steps": "[{}]"'])
def test_damaged_notes_of_an_export_are_one_message(tmp_path, damage):
    there_and_back(tmp_path, [Chain("two", 4, SAID, "", "5", "marker", "t")], "alpaca")
    text = (tmp_path / "c.jsonl").read_text().replace('"path": 4', damage)
    (tmp_path / "c.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"line 1: .*metadata.*\((path: Input|Expecting property|finish = |steps.*: Field req)"):
        import_chains([tmp_path / "c.jsonl"], problems=PROBLEMS, fields={}, prefer="text")


def test_chains_keep_their_paths_and_share_none(tmp_path):
    rows = [{"problem_id": "two", "text": str(n)} | path for n, path in enumerate([{"path": 2}, {}, {"path": 0}, {"path": 2}, {}])]
    chains, _ = bring(tmp_path, *rows)
    assert [(chain.path, chain.text) for chain in chains] == [(0, "1"), (1, "2"), (2, "0"), (3, "3"), (4, "4")]


def test_an_export_thinks_in_tags(tmp_path):
    chains = [
        Chain("which", 0, "It shines at night. The answer is (b).", "It shines at night.", "B", "marker", "t"),
        Chain("which", 1, "The sun is a star.", "The sun is a star.", "B", "recorded", "t"),
        Chain("which", 2, "First, the sun", "First, the sun", None, "", "t", finish="length"),
    ]
    there_and_back(tmp_path, chains, "think")
    texts = [json.loads(line)["text"] for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert texts == [
        "<think>\nIt shines at night.\n</think>\n\nThe answer is (b).",
        "<think>\nThe sun is a star.\n</think>\n\nSo the answer is: (b)",
        "<think>\nFirst, the sun",
    ]


EXAMPLES = [
    Example.of("student", "Q: a\nA:", " b\n\n", problem="two", chain="c"),
    Example("student", (Segment("b"),), problem="two", messages=(Message("system", "Be brief."), Message("user", "a"))),
    Example("student", (Segment("a", 0.0), Segment("b", 0.5), Segment("c")), problem="two", weight=0.1),
]


def exported_examples(tmp_path, name, examples=None, **options):
    says = export_examples(examples or EXAMPLES, format=name, to=tmp_path / "e.jsonl", card=CorpusCard(), **options)
    return [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()], says


def test_examples_are_pairs_of_what_is_read_and_what_is_learned(tmp_path):
    rows, says = exported_examples(tmp_path, "prompt-completion", [EXAMPLES[0], EXAMPLES[2]])
    assert [(row["prompt"], row["completion"]) for row in rows] == [("Q: a\nA:", " b\n\n"), ("a", "bc")]
    assert says == {"examples": 2, "lost": {"weights of parts of the target": 1}}
    with pytest.raises(DataError, match=r"prompt-completion.*several messages"):
        exported_examples(tmp_path, "prompt-completion")
    rows, _ = exported_examples(tmp_path, "messages", bare=True)
    assert rows[1] == {"messages": [{"role": "system", "content": "Be brief."}, user("a"), assistant("b")]}
    rows, _ = exported_examples(tmp_path, "alpaca", bare=True)
    assert rows[1] == {"instruction": "a", "input": "", "output": "b", "system": "Be brief."}
    rows, says = exported_examples(tmp_path, "jsonl")
    assert (rows[2]["segments"][1], rows[2]["weight"], says["lost"]) == ({"text": "b", "weight": 0.5}, 0.1, {})
