"""The local engine against plain `transformers`: the same tokens and log-probabilities, in any batch, for every family."""

import dataclasses
import gc
import json
import random
import shutil
import weakref
from itertools import pairwise

import pytest
import torch
from checkpoints import FAMILIES, make
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BloomConfig,
    Gemma2Config,
    Gemma4TextConfig,
)

from understudy.core.asks import GREEDY, Call, Decoding, Message, Request
from understudy.core.errors import CheckpointError, EngineError
from understudy.core.tokens import encode_source, encode_text
from understudy.engines.local import prompts, rows
from understudy.engines.local.beams import score
from understudy.engines.local.checkpoint import read_context
from understudy.engines.local.engine import TransformersEngine
from understudy.engines.local.forward import Network
from understudy.engines.local.load import choose_attention
from understudy.training.options import StudentOptions
from understudy.training.student import make_student

PROMPTS = [
    "Q: How many coins has Ana?\nA:",
    "Bob finds",
    "Ana loses 12 of them. Bob finds 3 more, and then 4.",
    "x",
    "Q: So the answer is: 4\n\nQ: zebra?\nA:",
    "the the the the",
    "How many more",
]
SAMPLED = Decoding(0.9, 0.95)


class Queue:
    """A `Source` of fixed requests; ``replies`` and ``errors`` by place."""

    def __init__(self, requests):
        self.waiting, self.open = list(enumerate(requests)), {}
        self.replies, self.errors = {}, {}

    def take(self, n):
        taken, self.waiting = self.waiting[:n], self.waiting[n:]
        self.open |= taken
        return taken

    def begin_again(self):
        self.waiting, self.open = [*self.open.items(), *self.waiting], {}

    def give(self, ticket, reply):
        del self.open[ticket]
        self.replies[ticket] = reply

    def fail(self, ticket, error):
        del self.open[ticket]
        self.errors[ticket] = error


def serve(engine, requests):
    queue = Queue(requests)
    engine.serve(queue)
    assert not queue.errors, queue.errors
    return [queue.replies[i] for i in range(len(requests))]


def call(prompt, *, decoding=GREEDY, path=0, max_tokens=24, stop=()):
    return Request(Call("s", prompt, stop=stop, max_tokens=max_tokens), decoding, path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    made = {}

    def of(family):
        if family not in made:
            made[family] = make(family, tmp_path_factory.mktemp(family))
        return made[family]

    return of


def plain(directory):
    """Model and tokenizer as anybody loads them."""
    config_class = AutoModelForSeq2SeqLM if "t5" in directory.name else AutoModelForCausalLM
    return config_class.from_pretrained(directory, attn_implementation="eager").eval(), AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_in_a_batch_is_generate_one_at_a_time(checkpoint, family):
    directory = checkpoint(family)
    replies = serve(TransformersEngine(directory, batch_size=3), [call(p) for p in PROMPTS])
    model, tokenizer = plain(directory)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ids = torch.tensor([encode_source(tokenizer, prompt, seq2seq=family == "t5")])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)[0]
        new = out[1:] if family == "t5" else out[ids.shape[1] :]
        ended = bool((new == tokenizer.eos_token_id).any())
        assert reply.text == tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert reply.finish == ("stop" if ended else "length")
        assert reply.tokens == (int((new == tokenizer.eos_token_id).nonzero()[0]) + 1 if ended else 24)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reply_that_is_begun_goes_on_as_generate_does_after_the_same_tokens(checkpoint, family):
    directory = checkpoint(family)
    begun = [" Bob finds 3 more, and", "", " So the answer is:"]
    requests = [dataclasses.replace(call(prompt, max_tokens=9), begun=begun[i % 3]) for i, prompt in enumerate(PROMPTS)]
    replies = serve(TransformersEngine(directory, batch_size=3), requests)
    model, tokenizer = plain(directory)
    for request, reply in zip(requests, replies, strict=True):
        source = encode_source(tokenizer, request.ask.prompt, seq2seq=family == "t5")
        first = encode_text(tokenizer, request.begun)
        if family == "t5":
            inputs = {"input_ids": [source], "decoder_input_ids": [[model.config.decoder_start_token_id, *first]]}
        else:
            inputs = {"input_ids": [source + first]}
        tensors = {name: torch.tensor(ids) for name, ids in inputs.items()}
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
        whole = model.generate(**tensors, max_new_tokens=9, do_sample=False)[0].tolist()
        new = whole[len(inputs.get("decoder_input_ids", inputs["input_ids"])[0]) :]
        assert reply.text == tokenizer.decode([*first, *new], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert reply.tokens == len(reply.logprobs) == len(new), "what is begun is not counted"


def scores(engine, pairs):
    """The log-probabilities that beam search takes for (prompt, text) pairs."""
    tokens = [(engine.encode(prompt), tuple(encode_text(engine.tokenizer, text))) for prompt, text in pairs]
    with torch.inference_mode():
        return score(engine._prompts, tokens, size=engine.batch_size)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_the_plain_forward_pass(checkpoint, family):
    directory = checkpoint(family)
    engine = TransformersEngine(directory, batch_size=4)
    replies = serve(engine, [call(p, decoding=SAMPLED, path=i) for i, p in enumerate(PROMPTS)])
    texts = ["Bob finds 3", " So the answer is: 4", "zebra", "", "12 of them"]
    scored = scores(engine, [(prompt, text) for prompt in PROMPTS for text in texts])
    model, tokenizer = plain(directory)

    def reference(prompt, ids):
        source = encode_source(tokenizer, prompt, seq2seq=family == "t5")
        with torch.inference_mode():
            if family == "t5":
                told = torch.tensor([[model.config.decoder_start_token_id, *ids[:-1]]])
                logits = model(input_ids=torch.tensor([source]), decoder_input_ids=told).logits[0]
            else:
                logits = model(input_ids=torch.tensor([source + ids])).logits[0, len(source) - 1 : -1]
        return torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()

    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ids = encode_text(tokenizer, reply.text) + [tokenizer.eos_token_id] * (reply.finish == "stop")
        if len(ids) == reply.tokens:  # bytes that are no text do not come back as the same tokens
            assert list(reply.logprobs) == pytest.approx(reference(prompt, ids), abs=2e-4)
    for (prompt, text), logprobs in zip([(p, t) for p in PROMPTS for t in texts], scored, strict=True):
        ids = encode_text(tokenizer, text)
        assert logprobs == (pytest.approx(reference(prompt, ids), abs=2e-4) if ids else [])


@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_replies_do_not_depend_on_batch_size_or_order(checkpoint, family):
    requests = [call(p, decoding=SAMPLED, path=path, max_tokens=5 + 4 * (path % 3)) for p in PROMPTS for path in range(4)]
    base = serve(TransformersEngine(checkpoint(family), batch_size=1), requests)
    order = list(range(len(requests)))
    random.Random(1).shuffle(order)
    for size in (3, 32):
        replies = serve(TransformersEngine(checkpoint(family), batch_size=size), [requests[i] for i in order])
        for i, reply in zip(order, replies, strict=True):
            assert dataclasses.replace(reply, logprobs=()) == dataclasses.replace(base[i], logprobs=())
            assert list(reply.logprobs) == pytest.approx(list(base[i].logprobs), abs=2e-4)
    assert len({reply.text for reply in base[:4]}) > 1, "paths of one problem must differ"
    other = serve(TransformersEngine(checkpoint(family), seed=1), requests)
    assert [r.text for r in other] != [r.text for r in base]


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_prompt_is_read_once_for_all_its_paths_also_in_small_batches(checkpoint, family, monkeypatch):
    seen, read = [], Network.read
    monkeypatch.setattr(Network, "read", lambda self, prompts, *starts: seen.extend(prompts) or read(self, prompts, *starts))
    engine = TransformersEngine(checkpoint(family), batch_size=3)
    serve(engine, [call(p, decoding=SAMPLED, path=path) for p in PROMPTS for path in range(10)])
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(family))
    assert sorted(seen) == sorted(tuple(encode_source(tokenizer, p, seq2seq=family == "t5")) for p in PROMPTS)


class Dialogues:
    """A `Source` of dialogues: the next prompt of each is its last one, the reply to it, and a question. ``said`` by dialogue."""

    def __init__(self, openings, turns):
        self.waiting = [(i, call(opening, max_tokens=3 + i % 4)) for i, opening in enumerate(openings)]
        self.open, self.turns, self.said = {}, turns, [[] for _ in openings]

    def take(self, n):
        taken, self.waiting = self.waiting[:n], self.waiting[n:]
        self.open |= dict(taken)
        return taken

    def give(self, ticket, reply):
        prompt = self.open.pop(ticket).ask.prompt
        self.said[ticket].append((prompt, reply))
        if (turn := len(self.said[ticket])) < self.turns:
            self.waiting.append((ticket, call(f"{prompt}{reply.text} Bob finds {turn + ticket} more.", max_tokens=3 + ticket % 4)))


@pytest.fixture
def columns_read(monkeypatch):
    """How many columns the model was given to read, padding included, at each reading."""
    counts, forward = [], Network._read_prompts

    def counted(self, prompts, starts):
        counts.append(
            len(prompts) * max(len(p) - (start.columns if start else 0) for p, start in zip(prompts, starts, strict=True))
        )
        return forward(self, prompts, starts)

    monkeypatch.setattr(Network, "_read_prompts", counted)
    return counts


@pytest.mark.parametrize("room", [2**30, 2**16, 0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_turns_of_a_dialogue_are_those_of_the_model_that_reads_each_whole(checkpoint, family, room, monkeypatch):
    """Also where memory has room for some of the earlier prompts only, or for none but the last ones."""
    monkeypatch.setattr(prompts, "SHARED_BYTES", room)
    source = Dialogues(PROMPTS, turns=3)
    TransformersEngine(checkpoint(family), batch_size=3).serve(source)
    asked = [(prompt, reply) for said in source.said for prompt, reply in said]
    assert len(asked) == 3 * len(PROMPTS)
    monkeypatch.setattr(prompts, "SHORTEST", 10**9)
    alone = serve(TransformersEngine(checkpoint(family)), [call(prompt, max_tokens=reply.tokens) for prompt, reply in asked])
    for (_, reply), whole in zip(asked, alone, strict=True):
        assert whole.text == reply.text
        assert list(whole.logprobs) == pytest.approx(list(reply.logprobs), abs=2e-4)


def test_a_dialogue_reads_only_what_is_new_of_each_turn(checkpoint, columns_read):
    engine = TransformersEngine(checkpoint("llama"), batch_size=len(PROMPTS))
    source = Dialogues([f"{prompt} {PROMPTS[2]}" for prompt in PROMPTS], turns=3)
    engine.serve(source)
    lengths = [[len(engine.encode(prompt)) for prompt, _ in said] for said in source.said]
    new = sum(later - earlier for said in lengths for earlier, later in pairwise(said))
    first, *later = columns_read
    assert first >= sum(said[0] for said in lengths)
    assert new <= sum(later) < 2 * new < sum(length for said in lengths for length in said[1:])


def test_prompts_that_are_beginnings_of_others_are_read_in_any_order_and_few_are_kept(checkpoint, columns_read, monkeypatch):
    network = TransformersEngine(checkpoint("llama"))._network
    text = tuple(3 + 7 * i % 250 for i in range(90))
    alone = {n: network.read([text[:n]]) for n in (20, 35, 50, 51, 90)}
    columns_read.clear()

    def check(held, *lengths):
        for block, places in held.find([text[:n] for n in lengths]):
            for place, index in places:
                n, right = lengths[place], alone[lengths[place]]
                assert torch.allclose(block.logits[index], right.logits[0], atol=1e-4)
                for ours, plain in zip(block.layers, right.layers, strict=True):
                    assert all(torch.allclose(a[index, :, -n:], b[0], atol=1e-4) for a, b in zip(ours, plain, strict=True))

    monkeypatch.setattr(network, "read_limit", 64)
    held = prompts.Prompts(network)
    with torch.inference_mode():
        check(held, 50)
        check(held, 90, 51, 50)  # 50 is still there
        assert columns_read == [50, 1, 39]
        assert set(held._index) == {text[:90]}, "the longest serves for all"
        check(held, 20, 35, 50)
        assert columns_read[3:] == [3], "only the last tokens, which give the logits"
        kept = [text[:n] for n in (90, 20, 35, 50)]
        assert list(held._index) == kept
        monkeypatch.setattr(prompts, "SHARED_BYTES", sum({block: block.bytes for block, _ in held._index.values()}.values()))
        held._limit = prompts.SHARED_BYTES
        check(held, 51)
        assert list(held._index) == [*kept[1:], text[:51]], "the oldest block is forgotten"


def test_a_short_prompt_is_not_read_beside_what_is_left_of_a_long_one(checkpoint, monkeypatch):
    """Every row of a block has the columns of the longest."""
    network = TransformersEngine(checkpoint("llama"))._network
    monkeypatch.setattr(network, "read_limit", 64)
    long = tuple(3 + 7 * i % 250 for i in range(120))
    held = prompts.Prompts(network)
    with torch.inference_mode():
        held.find([long[:100]])
        found = held.find([long, *((i, *long[1:20]) for i in range(40))])
    assert all(len(block.lengths) * max(block.lengths) <= 4 * 64 for block, _ in found)


@pytest.mark.parametrize("scaling", ["dynamic", "longrope"])
def test_beginnings_are_not_shared_where_positions_depend_on_the_length(checkpoint, tmp_path, columns_read, scaling):
    directory = shutil.copytree(checkpoint("llama"), tmp_path / "scaled")
    config = json.loads((directory / "config.json").read_text())
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4} if scaling == "longrope" else {}
    config["rope_parameters"] = {"rope_type": scaling, "rope_theta": 10000.0, "factor": 4.0, **factors}
    config["rope_parameters"] |= {"original_max_position_embeddings": 16}
    (directory / "config.json").write_text(json.dumps(config))
    network = TransformersEngine(directory)._network
    held = prompts.Prompts(network)
    text = tuple(3 + 7 * i % 250 for i in range(60))
    with torch.inference_mode():
        held.find([text[:40]])
        held.find([text])
    assert columns_read[-2:] == [40, 60]


def test_exemplars_are_read_once_for_all_questions(checkpoint, columns_read, monkeypatch):
    engine = TransformersEngine(checkpoint("llama"), batch_size=8)
    monkeypatch.setattr(engine._network, "read_limit", 256)
    shown = "".join(f"Q: {prompt}\nA: So the answer is: {i}\n\n" for i, prompt in enumerate(PROMPTS[:3]))
    replies = serve(engine, asked := [call(f"{shown}Q: {i} more?\nA:", max_tokens=9) for i in range(24)])
    exemplars = len(engine.encode(shown))
    assert sum(columns_read) < exemplars + 24 * 20 < 24 * exemplars / 3
    monkeypatch.setattr(prompts, "SHORTEST", 10**9)
    whole = serve(TransformersEngine(checkpoint("llama")), asked)
    assert [reply.text for reply in replies] == [reply.text for reply in whole]


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_each_row_stops_on_its_own_stop_strings_and_the_text_ends_before_them(checkpoint, family):
    engine = TransformersEngine(checkpoint(family), batch_size=8)
    whole = serve(engine, [call(p, max_tokens=40) for p in PROMPTS])
    asked = []
    for prompt, reply in zip(PROMPTS, whole, strict=True):
        stops = sorted({reply.text[a : a + n] for n in (1, 2, 5) for a in (3, 9)} - {""})
        asked += [(prompt, reply, stop) for stop in [*stops, "never seen"]]
    cut = serve(engine, [call(prompt, max_tokens=40, stop=(stop, "nor this")) for prompt, _, stop in asked])
    for (_, free, stop), reply in zip(asked, cut, strict=True):
        at = free.text.find(stop)
        if at < 0:
            assert reply.text == free.text
        else:
            assert (reply.text, reply.finish) == (free.text[:at], "stop")
            assert reply.tokens <= free.tokens
            assert len(reply.logprobs) == reply.tokens


def test_requests_that_come_with_a_reply_join_the_batch(checkpoint):
    engine = TransformersEngine(checkpoint("llama"), batch_size=4)

    class Growing(Queue):
        def give(self, ticket, reply):
            super().give(ticket, reply)
            if ticket < 20:
                self.waiting.append((ticket + 20, call(reply.text + " and", max_tokens=6)))

    queue = Growing([call(PROMPTS[i % 7] + " " * (i // 7), max_tokens=3 + i) for i in range(20)])
    engine.serve(queue)
    assert len(queue.replies) == 40
    for i in range(20):
        (alone,) = serve(
            TransformersEngine(checkpoint("llama"), batch_size=1), [call(queue.replies[i].text + " and", max_tokens=6)]
        )
        assert queue.replies[i + 20].text == alone.text


def test_what_cannot_be_answered_fails_alone(checkpoint):
    engine = TransformersEngine(checkpoint("llama"), batch_size=4)
    queue = Queue(
        [
            call("coins " * 200),
            call("coins"),
            call(""),
            call((Message("user", "hello"),)),
            call("coins", max_tokens=0),
            call("coins", decoding=Decoding(-1.0)),
        ]
    )
    engine.serve(queue)
    assert set(queue.replies) == {1}
    says = {0: "context", 2: "no tokens", 3: "chat template", 4: "max_tokens = 0", 5: "temperature=-1.0"}
    for ticket, text in says.items():
        assert text in str(queue.errors[ticket])


def test_a_reply_that_fills_the_context_is_cut_off_there(checkpoint):
    engine = TransformersEngine(checkpoint("llama"))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("llama"))
    prompt = "coins" + " coins" * 119
    (reply,) = serve(engine, [call(prompt, max_tokens=500, decoding=Decoding(1.0), path=2)])
    assert len(encode_text(tokenizer, prompt)) + reply.tokens <= 128
    assert reply.finish == ("length" if reply.tokens == 8 else "stop")


def test_damaged_weights_are_never_an_answer(checkpoint, tmp_path):
    model, tokenizer = plain(checkpoint("llama"))
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="not finite"):
        serve(TransformersEngine(tmp_path), [call("coins")])


def test_a_directory_that_is_no_checkpoint_is_named_with_what_to_do(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="no such directory"):
        TransformersEngine(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        TransformersEngine(tmp_path)
    model, tokenizer = plain(checkpoint("gpt2"))
    model.config.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="only safetensors are read"):
        TransformersEngine(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    tokenizer.save_pretrained(tmp_path)
    weights = model.state_dict()
    from safetensors.torch import save_file

    save_file(
        {k: v.clone() for k, v in weights.items() if "h.1.mlp.c_fc" not in k and "lm_head" not in k}, tmp_path / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match="missing"):
        serve(TransformersEngine(tmp_path), [call("coins")])


def test_identity_is_of_weights_config_tokenizer_and_precision(checkpoint, tmp_path):
    one = TransformersEngine(checkpoint("llama")).identity
    assert one == TransformersEngine(checkpoint("llama")).identity
    assert one != TransformersEngine(checkpoint("llama"), dtype="bfloat16").identity
    assert one != TransformersEngine(make("llama", tmp_path / "other", seed=1)).identity


def test_the_batch_stays_full_while_requests_wait(checkpoint, monkeypatch):
    engine = TransformersEngine(checkpoint("llama"), batch_size=16)
    requests = [call(f"coins {i}", max_tokens=2 + 7 * (i % 5), decoding=Decoding(1.5), path=i) for i in range(160)]
    step, sizes = Network.step, []

    def counted(self, rows, tokens):
        sizes.append((rows.n, len(queue.waiting)))
        return step(self, rows, tokens)

    monkeypatch.setattr(Network, "step", counted)
    queue = Queue(requests)
    engine.serve(queue)
    full = [n for n, waiting in sizes if waiting]
    assert len(queue.replies) == 160
    assert min(full) > 16 - 16 // 8  # that many places are collected before they are filled
    assert sum(full) / len(full) > 0.9 * 16


def test_the_last_long_rows_do_not_hold_places_for_all(checkpoint):
    """One row writes on and on beside short ones: what is made anew for it has few rows, and later ones find room again."""
    network = TransformersEngine(checkpoint("llama"))._network
    rows, block = network.new_rows(16), network.read([[5, 6, 7]])

    def places():
        return len(rows.layers[0].pair[0])

    rows.add(block, [0] * 16)
    assert places() == 16
    rows.keep([0])
    before, written = rows.capacity, []
    while rows.capacity == before:
        written.append(network.step(rows, [[9]])[0, -1].argmax().item())
    assert places() == 2
    assert torch.equal(rows.layers[0].pair[0][:1, :, rows.lo : rows.lo + 3], block.layers[0][0])
    rows.add(block, [0] * 7)
    assert (places(), rows.n) == (8, 8)
    for layer, (keys, values) in zip(rows.layers, block.layers, strict=True):
        for buffer, read in zip(layer.pair, (keys, values), strict=True):
            assert torch.equal(buffer[1:8, :, rows.hi - 3 : rows.hi], read.expand(7, -1, -1, -1))
    plain = network.new_rows(1)
    plain.add(block, [0])
    assert [network.step(plain, [[9]])[0, -1].argmax().item() for _ in written] == written, "and nothing that is written differs"


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama"])
def test_a_short_text_after_a_long_prompt_is_scored_beside_a_long_text(checkpoint, family):
    """Its row is padded beyond the positions that the model has, where its own tokens never get."""
    long = ("coins" + " coins" * 119, " coins")
    beside = ("Bob", "coins" + " coins" * 29)
    together = scores(TransformersEngine(checkpoint(family)), [long, beside])
    alone = [scores(TransformersEngine(checkpoint(family)), [pair])[0] for pair in (long, beside)]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=2e-4)


def test_on_a_gpu_the_free_memory_beside_the_weights_decides_how_many_rows(checkpoint, monkeypatch):
    directory = checkpoint("llama")
    rows = {}
    for free in (2**22, 2**40):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 2**40))
        rows[free] = [TransformersEngine(directory, device="cuda", batch_size=size).batch_size for size in (None, 1000, 2)]
    few, many = rows.values()
    assert few[0] == few[1] > few[2] == 2
    assert many == [256, 1000, 2]


class Cramped:
    """A network in whose memory only so many ``rows`` have room, at every step and for every prompt."""

    def __init__(self, monkeypatch, rows):
        self.tried = []
        step, read = Network.step, Network.read

        def cramped_step(network, held, tokens):
            self.tried.append(len(tokens))
            if len(tokens) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return step(network, held, tokens)

        def cramped_read(network, prompts, starts):
            if len(prompts) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return read(network, prompts, starts)

        monkeypatch.setattr(Network, "step", cramped_step)
        monkeypatch.setattr(Network, "read", cramped_read)


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED, Decoding(beams=2)])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_rows_that_do_not_fit_into_the_memory_begin_again_with_half_as_many(checkpoint, monkeypatch, family, decoding):
    requests = [call(PROMPTS[i % 7], decoding=decoding, path=i, max_tokens=5 + i) for i in range(20)]
    expected = serve(TransformersEngine(checkpoint(family), batch_size=16), requests)
    cramped = Cramped(monkeypatch, rows=5)
    engine = TransformersEngine(checkpoint(family), batch_size=16)
    replies = serve(engine, requests)
    assert engine.batch_size == 4, "and stays there: the next requests are not tried with more"
    assert [(r.text, r.finish) for r in replies] == [(r.text, r.finish) for r in expected]
    assert max(cramped.tried[-10:]) <= 4


def test_what_was_answered_before_the_memory_ran_out_is_not_answered_again(checkpoint, monkeypatch):
    engine = TransformersEngine(checkpoint("llama"), batch_size=8)
    short = [call(prompt, max_tokens=2) for prompt in PROMPTS]
    long = [call(prompt, max_tokens=24, decoding=SAMPLED) for prompt in PROMPTS]
    seen, step = [], Network.step

    def fail_once(network, rows, tokens):
        seen.append(len(tokens))
        if len(seen) == 10:
            raise MemoryError
        return step(network, rows, tokens)

    monkeypatch.setattr(Network, "step", fail_once)
    serve(engine, short + long)  # the queue takes no second reply
    assert len(seen) > 10
    assert engine.batch_size == 4


def test_a_reply_that_leaves_no_room_once_begun_fails_alone(checkpoint):
    long = dataclasses.replace(call("x"), begun=" Bob finds 3 more." * 60)
    queue = Queue([long, call("Bob finds")])
    TransformersEngine(checkpoint("llama")).serve(queue)
    assert "the reply's given beginning fills the context" in str(queue.errors[0])
    assert queue.replies.keys() == {1}


def test_memory_that_does_not_suffice_for_one_row_or_for_the_weights_is_told(checkpoint, monkeypatch):
    Cramped(monkeypatch, rows=0)
    engine = TransformersEngine(checkpoint("llama"), batch_size=4)
    with pytest.raises(EngineError, match=": out of memory while one request was answered: use a smaller model"):
        engine.serve(Queue([call("x")]))
    monkeypatch.setattr("understudy.engines.local.load.load_model", raising(torch.OutOfMemoryError("CUDA out of memory.")))
    with pytest.raises(EngineError, match=r"out of memory while its weights were loaded: .* \(--workers 1\)"):
        TransformersEngine(checkpoint("llama")).serve(Queue([call("x")]))
    monkeypatch.setattr("understudy.engines.local.load.load_model", raising(RuntimeError("shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes cannot"):
        TransformersEngine(checkpoint("llama")).serve(Queue([call("x")]))


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def write_random(config, directory):
    """Write a random model of ``config`` into ``directory``/c, with the tests' tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(make("llama", directory / "llama"))
    config.vocab_size, config.pad_token_id, config.eos_token_id = len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id
    torch.manual_seed(0)
    model = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5.0)
    model.save_pretrained(directory / "c")
    tokenizer.save_pretrained(directory / "c")
    return directory / "c"


def test_a_model_whose_layers_have_heads_of_several_sizes_says_what_generate_says(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8, "intermediate_size": 48}
    config = Gemma4TextConfig(
        **sizes, num_key_value_heads=2, layer_types=["sliding_attention", "full_attention"], sliding_window=64
    )
    directory = write_random(config, tmp_path)
    assert read_context(config.to_dict()) == 64
    model, tokenizer = plain(directory)
    for prompt, reply in zip(PROMPTS, serve(TransformersEngine(directory), [call(p) for p in PROMPTS]), strict=True):
        ids = torch.tensor([encode_source(tokenizer, prompt, seq2seq=False)])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        assert reply.text == tokenizer.decode(out, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            BartConfig(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4),
            "differently",
        ),
        (BloomConfig(hidden_size=32, n_layer=2, n_head=4), "take no position_ids"),
    ],
    ids=["bart", "bloom"],
)
def test_a_model_that_answers_differently_in_a_batch_is_refused_before_it_is_trained(tmp_path, config, reason):
    """Of BART's positions the cache decides, so a row that joins later would get another row's."""
    config.encoder_ffn_dim = config.decoder_ffn_dim = 32
    write_random(config, tmp_path)
    with pytest.raises(CheckpointError, match=f"c: models of type '{config.model_type}' .*{reason}"):
        make_student(StudentOptions(checkpoint=str(tmp_path / "c")), [], seed=0)


def test_an_encoder_decoder_without_a_first_token_says_so(tmp_path):
    path = make("t5", tmp_path / "t5") / "config.json"
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "decoder_start_token_id"})
    )
    with pytest.raises(CheckpointError, match="no decoder_start_token_id; set it"):
        serve(TransformersEngine(tmp_path / "t5"), [call("x")])


def test_what_was_served_and_the_engine_itself_are_gone_without_the_collector(checkpoint, monkeypatch):
    made, keep = [], rows.Rows.__init__

    def note(self, **options):
        keep(self, **options)
        made.append(weakref.ref(self))

    monkeypatch.setattr(rows.Rows, "__init__", note)
    engine = TransformersEngine(checkpoint("llama"))
    gc.collect()
    gc.disable()
    try:
        serve(engine, [call("Q: one?\nA:")])
        assert made and all(one() is None for one in made), "keys and values of a GPU would wait, too"
        model = weakref.ref(engine._network.model)
        del engine
        assert model() is None
    finally:
        gc.enable()


def test_a_family_without_sdpa_keeps_its_attention_on_a_gpu():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = AutoModelForCausalLM.from_config(Gemma2Config(**sizes, head_dim=8, vocab_size=16), attn_implementation="eager")
    choose_attention(model, "mps")
    assert model.config._attn_implementation == "eager"
