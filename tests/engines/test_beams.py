"""Beam search against plain `generate`, for every family: the same tokens and log-probabilities, in any batch."""

import json
import shutil
from statistics import fmean

import pytest
import torch
from checkpoints import FAMILIES, TEXTS, make, real_tokenizer
from test_local import PROMPTS, Queue, call, plain, serve

from understudy.core.asks import GREEDY, Call, Decoding, Request
from understudy.core.errors import EngineError
from understudy.core.tokens import encode_source
from understudy.engines.local.engine import TransformersEngine

BEAMS = Decoding(beams=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    made = {}

    def of(family):
        if family not in made:
            made[family] = make(family, tmp_path_factory.mktemp(family))
        return made[family]

    return of


def generated(directory, prompt, **options):
    """Tokens of the best of 4 beams, one prompt at a time, as anybody would ask for them, and their transition scores."""
    model, tokenizer = plain(directory)
    seq2seq = model.config.is_encoder_decoder
    ids = torch.tensor([encode_source(tokenizer, prompt, seq2seq=seq2seq)])
    given = {"num_beams": 4, "do_sample": False, "max_new_tokens": 24, "return_dict_in_generate": True, "output_scores": True}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), output_logits=True, **given | options)
    scores = model.compute_transition_scores(out.sequences, out.scores, out.beam_indices)[0]
    length = int((out.beam_indices[0] >= 0).sum())
    begun = 1 if seq2seq else ids.shape[1]
    return out.sequences[0, begun : begun + length].tolist(), scores[:length].tolist(), tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_in_a_batch_is_generate_one_at_a_time(checkpoint, family):
    replies = serve(TransformersEngine(checkpoint(family), batch_size=12), [call(p, decoding=BEAMS) for p in PROMPTS])
    greedy = serve(TransformersEngine(checkpoint(family)), [call(p) for p in PROMPTS])
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        tokens, scores, tokenizer = generated(checkpoint(family), prompt)
        ended = tokens[-1] == tokenizer.eos_token_id
        assert reply.text == tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert (reply.finish, reply.tokens) == ("stop" if ended else "length", len(tokens))
        assert list(reply.logprobs) == pytest.approx(scores, abs=2e-4)
    assert [r.text for r in replies] != [r.text for r in greedy], "a search that finds nothing else would prove nothing"
    assert sum(fmean(r.logprobs) for r in replies) > sum(fmean(r.logprobs) for r in greedy)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_beam_replies_do_not_depend_on_the_batch_nor_on_what_else_is_in_it(checkpoint, family):
    requests = [call(p, decoding=BEAMS, max_tokens=6 + 5 * (i % 3)) for i, p in enumerate(PROMPTS)]
    base = serve(TransformersEngine(checkpoint(family), batch_size=1), requests)
    mixed = [r for p, r in zip(PROMPTS, requests, strict=True) for r in (call(p), r, call(p, decoding=Decoding(1.0), path=3))]
    many = serve(TransformersEngine(checkpoint(family), batch_size=64), mixed)[1::3]
    assert [(r.text, r.tokens, r.finish) for r in many] == [(r.text, r.tokens, r.finish) for r in base]
    assert all(list(a.logprobs) == pytest.approx(list(b.logprobs), abs=2e-4) for a, b in zip(many, base, strict=True))


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_a_beam_ends_at_its_stop_string_as_generate_ends_it(tmp_path, family):
    directory = make(family, tmp_path / family, tokenizer=real_tokenizer(family, TEXTS), context=512, seed=1)
    engine, tokenizer, seen = TransformersEngine(directory), plain(directory)[1], 0
    for prompt, whole in zip(PROMPTS[::2], serve(engine, [call(p, decoding=BEAMS) for p in PROMPTS[::2]]), strict=True):
        stops = [(whole.text[at : at + n],) for at in (0, 4, 9) for n in (1, 2) if whole.text[at:]]
        stops.append(tuple(sorted(set("".join(TEXTS) + whole.text))))
        replies = serve(engine, [call(prompt, decoding=BEAMS, stop=stop) for stop in stops])
        begun = 1 if family == "t5" else len(encode_source(tokenizer, prompt, seq2seq=False))
        for stop, reply in zip(stops, replies, strict=True):

            def end(text, stop=stop):
                return min((at for s in stop if (at := text.find(s)) >= 0), default=None)

            def stopped(beams, _scores, begun=begun, end=end):
                texts = [tokenizer.decode(b[begun:], skip_special_tokens=True, clean_up_tokenization_spaces=False) for b in beams]
                return torch.tensor([end(text) is not None for text in texts])

            tokens, *_ = generated(directory, prompt, stopping_criteria=[stopped])
            text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            assert (reply.text, reply.tokens, len(reply.logprobs)) == (text[: end(text)], len(tokens), len(tokens))
            seen += end(text) is not None
    assert seen, "no reply met a stop string (how many do depends on the tokenizer, which is trained anew each time)"


def test_what_a_checkpoint_wants_of_generate_beyond_the_model_is_left_out(checkpoint, tmp_path):
    shutil.copytree(checkpoint("llama"), tmp_path / "c")
    path = tmp_path / "c" / "generation_config.json"
    wants = json.loads(path.read_text()) | {"no_repeat_ngram_size": 1, "length_penalty": -3.0, "do_sample": True}
    path.write_text(json.dumps(wants))
    asked = [call(p, decoding=BEAMS) for p in PROMPTS]
    there, here = serve(TransformersEngine(tmp_path / "c"), asked), serve(TransformersEngine(checkpoint("llama")), asked)
    assert [r.text for r in there] == [r.text for r in here]


def test_a_prompt_that_leaves_little_room_is_searched_to_the_end_of_the_context(checkpoint):
    prompt = "coins" + " coins" * 119
    full, short = serve(
        TransformersEngine(checkpoint("gpt2")), [call(prompt, decoding=BEAMS, max_tokens=500), call("Bob finds", decoding=BEAMS)]
    )
    assert full.finish == ("length" if full.prompt_tokens + full.tokens == 128 else "stop")
    assert short.text == serve(TransformersEngine(checkpoint("gpt2")), [call("Bob finds", decoding=BEAMS)])[0].text


def test_a_request_of_beams_has_a_key_of_its_own_and_all_others_keep_theirs():
    ask = Call("s", "p")
    assert Request(ask, GREEDY, 0).canonical == '{"max_tokens":256,"prompt":"p","stop":[],"temperature":0.0,"top_p":1.0}'
    assert Request(ask, BEAMS, 0).canonical == '{"beams":4,"max_tokens":256,"prompt":"p","stop":[],"temperature":0.0,"top_p":1.0}'


@pytest.mark.parametrize("decoding", [Decoding(0.5, beams=2), Decoding(0.0, 0.9, beams=2), Decoding(beams=0)])
def test_a_search_that_draws_is_refused(checkpoint, decoding):
    queue = Queue([call("coins", decoding=decoding), call("coins")])
    TransformersEngine(checkpoint("gpt2")).serve(queue)
    assert set(queue.replies) == {1}
    assert "beam search needs temperature 0" in str(queue.errors[0])


def test_damaged_weights_are_never_an_answer_of_a_search(checkpoint, tmp_path):
    model, tokenizer = plain(checkpoint("llama"))
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="not finite"):
        serve(TransformersEngine(tmp_path), [call("coins", decoding=BEAMS)])
