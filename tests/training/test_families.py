"""Every family with a tokenizer of its own kind: trained, saved, loaded by plain `transformers`, and asked.

No pretrained weights: small random checkpoints, so what is tested is the way, and that a student can learn four answers by
heart, its end token included.
"""

from pathlib import Path

import pytest
import torch
from checkpoints import FAMILIES, make, real_tokenizer
from known import KnownLogits
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from understudy.core.prompt_format import PromptFormat
from understudy.core.tokens import encode_source, encode_text
from understudy.core.values import Problem
from understudy.engines.local.engine import TransformersEngine
from understudy.evaluation.run import answer
from understudy.methods.scotd import SCoTD
from understudy.training.batches import collate, encode, scale_losses
from understudy.training.loop import train
from understudy.training.objectives import cross_entropy
from understudy.training.options import StudentOptions, TrainingOptions

SUMS = [(1, 2), (4, 3), (9, 2), (5, 5)]
PROBLEMS = [Problem(f"p{i}", f"What is {a} plus {b}?", "number", str(a + b)) for i, (a, b) in enumerate(SUMS)]
RATIONALES = [f"Count up from {p.question.split()[2]}." for p in PROBLEMS]
TARGETS = [PromptFormat().join_reply(r, p.answer, p) for r, p in zip(RATIONALES, PROBLEMS, strict=True)]
TEXTS = [f"Q: What is {a} plus {b}?\nA: Count up from {a}. So the answer is: {a + b}\n\n" for a in range(12) for b in range(12)]


def examples():
    return [PromptFormat().teach("student", p, r, p.answer) for p, r in zip(PROBLEMS, RATIONALES, strict=True)]


@pytest.fixture(scope="module", params=(*FAMILIES, "t5-flan"))
def checkpoint(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    return make(request.param, directory, tokenizer=real_tokenizer(request.param, TEXTS))


def load(checkpoint):
    seq2seq = AutoConfig.from_pretrained(checkpoint).is_encoder_decoder
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_pretrained(checkpoint).eval()
    return model, AutoTokenizer.from_pretrained(checkpoint)


def loss(logits, batch):
    """The cross-entropy of a model that gives ``logits``."""
    return cross_entropy(KnownLogits(logits), batch)


def test_first_and_last_target_token_and_the_end_token_bear_loss_and_nothing_of_the_source(checkpoint):
    model, tokenizer = load(checkpoint)
    seq2seq = model.config.is_encoder_decoder
    rows = [encode(e, tokenizer, seq2seq=seq2seq) for e in examples()]
    start = model.config.decoder_start_token_id if seq2seq else None
    batch = collate(rows, scale_losses(rows, reduction="token"), pad=tokenizer.eos_token_id, start=start)
    for i, (row, target) in enumerate(zip(rows, TARGETS, strict=True)):
        bears = batch.weights[i] != 0
        learned = batch.targets[i][bears].tolist()
        assert learned == list(row.target)
        assert learned[-1] == tokenizer.eos_token_id
        assert learned[:-1] == tokenizer(target, add_special_tokens=False)["input_ids"]
    logits = model(**batch.inputs).logits.detach()
    base = loss(logits, batch)
    for i, row in enumerate(rows):
        begin = 0 if seq2seq else len(row.source) - 1
        for place in (begin, begin + len(row.target) - 2, begin + len(row.target) - 1):
            changed = logits.clone()
            changed[i, place, batch.targets[i, place]] += 5
            assert loss(changed, batch) < base
        if not seq2seq:
            changed = logits.clone()
            changed[i, :begin, :] = torch.randn_like(changed[i, :begin, :])
            assert loss(changed, batch) == base


def test_a_special_token_that_somebody_wrote_is_spelled(checkpoint):
    _, tokenizer = load(checkpoint)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for token in tokenizer.all_special_tokens:
        assert not special & set(encode_text(tokenizer, f"Count {token} up.")), token
    source = encode_source(tokenizer, f"Count {tokenizer.eos_token} up.", seq2seq=True)
    assert len(special & set(source)) <= 1, "what the tokenizer adds itself stays"


def test_special_tokens_are_those_of_the_published_tokenizer_and_no_token_of_the_reply_is_lost_to_them(checkpoint):
    """SCoTD's code dropped the first reply token as if it were a BOS, for GPT-2 too, which has none."""
    model, tokenizer = load(checkpoint)
    family = next(f for f in FAMILIES if Path(checkpoint).name.startswith(f))
    for made, target in zip(examples(), TARGETS, strict=True):
        row = encode(made, tokenizer, seq2seq=model.config.is_encoder_decoder)
        special = [i for i in row.source if i in tokenizer.all_special_ids]
        expected = {"opt": [tokenizer.bos_token_id], "llama": [tokenizer.bos_token_id], "t5": [tokenizer.eos_token_id]}
        assert special == expected.get(family, [])
        assert row.source[-1 if family == "t5" else 0] in (special or row.source)
        assert [i for i in row.target if i in tokenizer.all_special_ids] == [tokenizer.eos_token_id]
        said = tokenizer.decode(row.target[:-1])
        assert "".join(said.split()) == "".join(target.split())
        assert all(weight == 1 for weight in row.weights)
    if family == "opt":
        assert tokenizer.bos_token_id == tokenizer.eos_token_id, "the same token: read at the start, learned at the end"


def test_a_student_of_the_family_learns_by_heart_is_saved_reloaded_and_asked(checkpoint, tmp_path):
    options = TrainingOptions(steps=120, batch_size=4, checks=1, learning_rate=5e-3, precision="float32")
    student = StudentOptions(checkpoint=str(checkpoint))
    trained = train(examples(), student=student, options=options, out=tmp_path, seed=0)
    assert trained.losses[-1][1] < 0.1, "from about 6: what it says is sure on any processor"
    found = answer(PROBLEMS, SCoTD(max_tokens=64), {"student": TransformersEngine(trained.checkpoint)})
    assert not found.errors
    for solution, problem, target in zip(found.solutions, PROBLEMS, TARGETS, strict=True):
        assert (solution.answer, solution.finish) == (problem.answer, "stop")
        assert " ".join(solution.text.split()) == " ".join(target.split())
    model, tokenizer = load(trained.checkpoint)
    source = torch.tensor([encode(examples()[0], tokenizer, seq2seq=model.config.is_encoder_decoder).source])
    out = model.generate(source, attention_mask=torch.ones_like(source), max_new_tokens=64, do_sample=False)
    assert found.solutions[0].text.strip() in tokenizer.decode(out[0], skip_special_tokens=True)
