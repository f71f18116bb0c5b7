"""The one training path: what bears loss, in which order, exact resume, and students that plain `transformers` loads."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from checkpoints import make, real_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from understudy.core.errors import CheckpointError, DataError, StudyError, UnderstudyError, UserError
from understudy.core.values import Example, Segment
from understudy.engines.local.engine import TransformersEngine
from understudy.studies.schema import build
from understudy.training.batches import EncodedExample, VisitOrder, collate, encode, scale_losses
from understudy.training.loop import train
from understudy.training.objectives import cross_entropy
from understudy.training.options import StudentOptions, TrainingOptions
from understudy.training.record import EXAMPLES, read_examples, read_seen
from understudy.training.student import make_student
from understudy.training.words import count_spelled, train_words

SMALL = {"hidden": 32, "layers": 2, "heads": 2}
STUDENTS = [StudentOptions(family="llama", **SMALL), StudentOptions(family="t5", **SMALL)]
FAST = {"steps": 12, "batch_size": 4, "checks": 3, "save_every": 5}


def examples(n=10, chains=3):
    return [
        Example.of(
            "student",
            f"Q: {p} plus {c}?\nA:",
            f" {p} + {c} = {p + c}. So the answer is: {p + c}\n\n",
            problem=f"p{p}",
            chain=f"c{p}-{c}",
        )
        for p in range(n)
        for c in range(chains)
    ]


def words(made):
    return ["".join(s.text for s in e.segments) for e in made]


def run(out, student=STUDENTS[0], options=None, **more):
    made = examples()
    return train(made, student=student, options=options or TrainingOptions(**FAST), out=out, seed=3, vocabulary=words(made), **more)


@given(st.text(), st.lists(st.text(max_size=20), max_size=5))
@settings(max_examples=200)
def test_the_word_tokenizer_reads_and_writes_any_text_exactly(text, known):
    if any("\ud800" <= c <= "\udfff" for t in [text, *known] for c in t) or "<pad>" in text or "<end>" in text:
        return
    tokenizer = train_words([*known, "Ana has 4 coins."], min_count=1)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_frequent_words_are_tokens_and_rare_ones_are_spelled():
    tokenizer = train_words(["Ana flips the coin. Bo flips the coin."] * 3 + ["Zed"], min_count=4)
    assert tokenizer.tokenize(" flips the") == ["Ġflips", "Ġthe"]
    assert tokenizer.tokenize(" Zed") == ["Ġ", "Z", "e", "d"]


def test_words_that_a_tokenizer_of_words_does_not_know_are_counted_and_those_of_other_tokenizers_are_not():
    tokenizer = train_words(["Ana flips the coin."], min_count=1)
    assert count_spelled(tokenizer, ["Ana flips the coin.", " the coin"]) == 0
    assert count_spelled(tokenizer, ["Zed flips the coin", "Zed flips Zed"]) == 2, "at the start of a text and after a blank"
    assert count_spelled(real_tokenizer("gpt2", ["Ana flips the coin."] * 9), ["Zed"]) is None


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: s.family)
def test_the_loss_is_that_of_transformers_on_target_tokens_only(student):
    made = examples()[:4]
    model, tokenizer = make_student(student, words(made), seed=0)
    seq2seq = student.family == "t5"
    rows = [encode(e, tokenizer, seq2seq=seq2seq) for e in made]
    scale = scale_losses(rows, reduction="token")
    batch = collate(rows, scale, pad=0, start=model.config.decoder_start_token_id if seq2seq else None)
    model.requires_grad_(False)
    ours = cross_entropy(model, batch)
    if seq2seq:
        labels = batch.targets.masked_fill(batch.weights == 0, -100)
        theirs = model(input_ids=batch.inputs["input_ids"], attention_mask=batch.inputs["attention_mask"], labels=labels).loss
    else:
        ids = torch.zeros(len(rows), max(len(r.source + r.target) for r in rows), dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for i, row in enumerate(rows):
            ids[i, : len(row.source) + len(row.target)] = torch.tensor(row.source + row.target)
            labels[i, len(row.source) : len(row.source) + len(row.target)] = torch.tensor(row.target)
        theirs = model(input_ids=ids, labels=labels).loss
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_first_target_token_last_one_and_end_token_bear_loss_and_the_source_does_not():
    made = Example("student", (Segment("Q: x\nA:", 0.0), Segment(" two", 1.0), Segment(" three", 0.25)), "p", weight=-0.5)
    _, tokenizer = make_student(STUDENTS[0], ["Q: x\nA: two three"], seed=0)
    row = encode(made, tokenizer, seq2seq=False)
    assert tokenizer.convert_ids_to_tokens(row.target) == ["Ġtwo", "Ġthree", "<end>"]
    assert (row.weights, row.weight) == ((1.0, 0.25, 0.25), -0.5)
    batch = collate([row], scale_losses([row], reduction="token"), pad=0, start=None)
    assert batch.weights[0][batch.weights[0] != 0].tolist() == pytest.approx([-0.5 / 1.5, -0.125 / 1.5, -0.125 / 1.5])
    bears = batch.weights[0] != 0
    assert batch.targets[0][bears].tolist() == list(row.target)
    assert batch.inputs["input_ids"][0].tolist() == list(row.source + row.target)[:-1]


def test_an_epoch_visits_every_problem_once_with_a_uniform_draw_of_its_examples():
    rows = [EncodedExample(f"p{i}", None, (1,), (2,), (1.0,)) for i in range(5) for _ in range(1 + 4 * (i == 0))]
    order = VisitOrder(rows, visits="problem", batch_size=5, seed=0)
    drawn = [order.batch(step) for step in range(400)]
    assert all(sorted(rows[i].problem for i in batch) == [f"p{i}" for i in range(5)] for batch in drawn)
    first = [i for batch in drawn for i in batch if rows[i].problem == "p0"]
    assert len(first) == 400
    counts = [first.count(i) for i in range(5)]
    assert sum((c - 80) ** 2 / 80 for c in counts) < 18.5, counts  # chi-squared, 4 degrees of freedom, p = .001
    again = VisitOrder(rows, visits="problem", batch_size=5, seed=0)
    assert [again.batch(step) for step in (7, 3, 399)] == [drawn[7], drawn[3], drawn[399]]
    other = VisitOrder(rows, visits="problem", batch_size=5, seed=1)
    assert [other.batch(step) for step in range(5)] != drawn[:5]
    every = VisitOrder(rows, visits="example", batch_size=9, seed=0)
    assert sorted(every.batch(4)) == list(range(9))


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: s.family)
def test_an_interrupted_training_goes_on_with_the_same_losses_as_an_unbroken_one(tmp_path, student):
    whole = run(tmp_path / "whole", student, score=lambda c: 0.5)

    class Killed(BaseException):
        pass

    for stop in (3, 7, 11):

        def kill(_stage, done, _total, _note="", *, stop=stop):
            if done == stop:
                raise Killed

        with pytest.raises(Killed):
            run(tmp_path / "broken", student, progress=kill, score=lambda c: 0.5)
    resumed = run(tmp_path / "broken", student, score=lambda c: 0.5)
    assert resumed.losses == whole.losses
    assert (resumed.best, resumed.dev, resumed.tokens) == (whole.best, whole.dev, whole.tokens)
    assert resumed.seen_tokens == whole.seen_tokens
    one, two = (load_file(t.checkpoint / "model.safetensors") for t in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("change", ["an example", "the vocabulary"])
def test_a_training_does_not_go_on_from_a_state_of_other_chains(tmp_path, change):
    class Killed(BaseException):
        pass

    def kill(_stage, done, *_):
        if done == 7:
            raise Killed

    def learn(out, chains, known, **more):
        return train(chains, student=STUDENTS[0], options=TrainingOptions(**FAST), out=out, seed=3, vocabulary=known, **more)

    old = examples()
    new = [*old[:-1], replace(old[-1], weight=0.5)] if change == "an example" else old
    known = words(old) if change == "an example" else [*words(old), "newly"]
    with pytest.raises(Killed):
        learn(tmp_path / "out", old, words(old), progress=kill)
    assert learn(tmp_path / "out", new, known).losses == learn(tmp_path / "fresh", new, known).losses


def test_the_best_checkpoint_by_score_is_kept_and_the_earliest_of_equals(tmp_path):
    seen = []

    def score(checkpoint):
        seen.append(load_file(checkpoint / "model.safetensors")["model.embed_tokens.weight"])
        return [0.2, 0.9, 0.9][len(seen) - 1]

    trained = run(tmp_path, score=score)
    assert trained.dev == ((4, 0.2), (8, 0.9), (12, 0.9))
    assert trained.best == 8
    assert torch.equal(load_file(trained.checkpoint / "model.safetensors")["model.embed_tokens.weight"], seen[1])


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: s.family)
def test_plain_transformers_loads_the_student_with_the_same_logits(tmp_path, student):
    made = examples()
    out = tmp_path / "out"
    trained = train(made, student=student, options=TrainingOptions(**FAST), out=out, seed=3, vocabulary=words(made))
    maker = AutoModelForSeq2SeqLM if student.family == "t5" else AutoModelForCausalLM
    model = maker.from_pretrained(trained.checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(trained.checkpoint)
    again = train(
        made,
        student=StudentOptions(checkpoint=str(trained.checkpoint)),
        options=TrainingOptions(steps=1, batch_size=2, checks=1, learning_rate=1e-9, muon_rate=1e-9),
        out=tmp_path / "again",
        seed=3,
    )
    other = maker.from_pretrained(again.checkpoint).eval()
    ids = torch.tensor([tokenizer(made[0].source)["input_ids"]])
    extra = {"decoder_input_ids": ids} if student.family == "t5" else {}
    with torch.inference_mode():
        assert torch.allclose(model(ids, **extra).logits, other(ids, **extra).logits, atol=1e-5)
    assert json.loads((out / "curve.json").read_text())["losses"][-1] == [12, trained.losses[-1][1]]
    assert not (out / "state").exists()


def test_plain_generate_stops_at_the_learned_end_token_and_what_was_learned_is_shown_without_a_tokenizer(tmp_path):
    start = make("llama", tmp_path / "start")
    config = json.loads((start / "generation_config.json").read_text())
    (start / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": 5}))
    options = TrainingOptions(steps=1, batch_size=2, checks=1, precision="float32")
    trained = run(tmp_path / "out", StudentOptions(checkpoint=str(start), context=64), options)
    tokenizer = AutoTokenizer.from_pretrained(trained.checkpoint)
    assert GenerationConfig.from_pretrained(trained.checkpoint).eos_token_id == sorted({5, tokenizer.eos_token_id})
    (trained.checkpoint / "tokenizer.json").unlink()
    shown, *others = read_examples(tmp_path / "out", "p0")
    assert (shown.chain, len(others)) == ("c0-0", 2)
    assert "".join(text for text, _ in shown.tokens).startswith("Q: 0 plus 0?\nA: 0 + 0 = 0.")
    assert shown == read_seen(tmp_path / "out").shown[0]
    table = pq.read_table(tmp_path / "out" / EXAMPLES)
    pq.write_table(table.rename_columns({"texts": "ids"}), tmp_path / "out" / EXAMPLES)
    with pytest.raises(DataError, match=r"examples\.parquet: an earlier version wrote it; run the study again"):
        read_examples(tmp_path / "out", "p0")


def test_an_example_that_does_not_fit_is_left_out_and_counted(tmp_path):
    made = [*examples(), Example.of("student", "Q: long?\nA:", " very" * 100, problem="long")]
    student = StudentOptions(context=60, **SMALL)
    trained = train(made, student=student, options=TrainingOptions(**FAST), out=tmp_path, seed=0, vocabulary=words(made))
    assert (trained.too_long, trained.examples) == (1, 30)
    with pytest.raises(UserError, match="none of the 1 examples fits"):
        train(made[-1:], student=student, options=TrainingOptions(**FAST), out=tmp_path / "b", seed=0, vocabulary=words(made))


def test_a_training_that_diverges_says_so(tmp_path):
    options = TrainingOptions(**FAST, optimizer="adamw", learning_rate=9.0, warmup=0.0, clip=0, precision="float32")
    made = [Example("student", (Segment("a", 0.0), Segment(" b")), "p", weight=1e39)]
    with pytest.raises(UnderstudyError, match="training diverged: the loss of step 1"):
        train(made * 4, student=STUDENTS[0], options=options, out=tmp_path, seed=0, vocabulary=["a b"])


def rows_of_lengths(lengths):
    """(problem, group, tokens read) -> rows that learn two tokens."""
    return [EncodedExample(f"p{p}", None, (1,) * n, (2, 3), (1.0, 1.0), group=f"g{g}") for p, g, n in lengths]


LENGTHS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(1, 9)), min_size=1, max_size=12)


@given(LENGTHS, st.integers(1, 5), st.sampled_from(["problem", "example"]))
def test_the_tokens_of_a_step_are_the_mean_over_equally_likely_problems_and_examples(lengths, size, visits):
    rows = rows_of_lengths(lengths)
    found = VisitOrder(rows, visits=visits, batch_size=size, seed=0).tokens
    if visits == "example":
        expected = sum(map(len, rows)) / len(rows)
    else:
        cells = {cell: [len(r) for r in rows if (r.problem, r.group) == cell] for cell in {(r.problem, r.group) for r in rows}}
        expected = sum(sum(cell) / len(cell) for cell in cells.values()) / len({r.problem for r in rows})
    assert found == pytest.approx(size * expected)


def test_the_tokens_of_many_steps_are_what_the_mean_says():
    rows = rows_of_lengths([(p, g, 1 + (7 * p + 3 * g + i) % 9) for p in range(4) for g in range(2) for i in range(p + 1)])
    order = VisitOrder(rows, visits="problem", batch_size=4, seed=0)
    seen = sum(len(rows[i]) for step in range(3000) for i in order.batch(step))
    assert seen / 3000 == pytest.approx(order.tokens, rel=0.01)


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: s.family)
def test_a_number_of_tokens_decides_the_steps_and_what_was_seen_is_counted(tmp_path, student):
    made = examples()
    free = {"batch_size": 10, "checks": 1, "visits": "example"}
    one = run(tmp_path / "one", student, TrainingOptions(**free, steps=3))
    _, tokenizer = make_student(student, words(made), seed=0)
    exact = sum(len(encode(e, tokenizer, seq2seq=student.family == "t5")) for e in made)
    assert (one.steps, one.seen_tokens) == (3, exact), "three steps of ten are an epoch of thirty examples"
    assert one.seen_tokens > one.tokens
    twice = run(tmp_path / "two", student, TrainingOptions(**free, tokens=2 * exact))
    assert (twice.steps, twice.seen_tokens) == (6, 2 * exact)
    assert twice.losses[:1] == one.losses[:1]
    assert run(tmp_path / "least", student, TrainingOptions(**free, tokens=1)).steps == 1


def test_wrong_options_and_checkpoints_are_named(tmp_path):
    with pytest.raises(ValueError, match="steps = 5 and tokens = 9: "):
        TrainingOptions(steps=5, tokens=9)
    for wrong in ({"steps": 0}, {"tokens": -1}, {"learning_rate": 0.0}, {"muon_rate": 20.0}, {"warmup": -0.1}, {"micro_batch": -1}):
        name, value = next(iter(wrong.items()))
        with pytest.raises(StudyError, match=rf"training\.{name} = {value}: input should be (greater|less) than"):
            build(TrainingOptions, wrong, "training")
    with pytest.raises(ValueError, match="hidden = 30"):
        StudentOptions(hidden=30, heads=4)
    with pytest.raises(CheckpointError, match="no such directory"):
        run(tmp_path, StudentOptions(checkpoint=str(tmp_path / "none")))


def test_training_and_asking_have_one_limit_where_a_window_slides(tmp_path):
    start = make("llama", tmp_path / "start")
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps(config | {"sliding_window": 40}))
    made = [Example.of("student", "Q: 1?\nA:", f" {'a b ' * n}\n\n", problem=f"p{n}") for n in (2, 20)]
    options = TrainingOptions(**{**FAST, "steps": 2, "checks": 1}, optimizer="adamw", precision="float32")
    trained = train(made, student=StudentOptions(checkpoint=str(start)), options=options, out=tmp_path / "out", seed=1)
    assert trained.too_long == 1 and read_seen(tmp_path / "out").context == 40 == TransformersEngine(trained.checkpoint).context


def test_characters_that_a_tokenizer_cannot_write_are_counted_and_told(tmp_path):
    start = make("t5", tmp_path / "start", tokenizer=real_tokenizer("t5", ["Q: 1 + 2? So the answer is: 3"] * 9))
    texts = [" So the answer is: 3", " 1 < {2}. So the answer is: 3"]
    made = [Example.of("student", "Q: 1 + 2?", text, problem=f"p{i}") for i, text in enumerate(texts)]
    options = TrainingOptions(**{**FAST, "steps": 1, "checks": 1}, optimizer="adamw", precision="float32")
    trained = train(made, student=StudentOptions(checkpoint=str(start)), options=options, out=tmp_path / "out", seed=1)
    assert "1 of 2 examples have characters that the tokenizer cannot write (. < { }): they are learned as '<unk>'" in trained.notes
