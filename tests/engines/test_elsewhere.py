"""A model answers and learns on a device that is not the processor: nothing of it stays behind, and the results are the same."""

import json
from functools import partial

import pytest
import torch
from checkpoints import FAMILIES, make
from elsewhere import NAME, elsewhere

from understudy.core.asks import GREEDY, Call, Decoding, Request
from understudy.core.values import Example
from understudy.engines.local import prompts
from understudy.engines.local.engine import TransformersEngine
from understudy.training import loop
from understudy.training import options as training_options
from understudy.training.options import Lora, StudentOptions, TrainingOptions

PROMPTS = ["Q: How many coins has Ana?\nA:", "Bob finds", "x", "Q: So the answer is: 4\n\nQ: zebra?\nA:"]
DECODINGS = (GREEDY, Decoding(0.9, 0.95))


class Queue:
    """A `Source` of fixed requests."""

    def __init__(self, requests):
        self.waiting, self.replies = list(enumerate(requests)), {}

    def take(self, n):
        taken, self.waiting = self.waiting[:n], self.waiting[n:]
        return taken

    def give(self, ticket, reply):
        self.replies[ticket] = (reply.text, pytest.approx(sum(reply.logprobs), abs=1e-4))

    def fail(self, ticket, error):
        raise error


def test_the_device_refuses_what_lies_on_another():
    with elsewhere():
        there = torch.ones(3, device=NAME)
        assert (there * 2).tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="on one device"):
            there + torch.ones(3)


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_are_those_of_the_processor(tmp_path, monkeypatch, family):
    monkeypatch.setattr(prompts, "SHORTEST", 4)
    make(family, tmp_path)
    asked = [*PROMPTS, *(f"{prompt} Bob finds {prompt}" for prompt in PROMPTS)]  # the last begin as the first do
    requests = [Request(Call("s", prompt, stop=("\n\n",), max_tokens=6), how, 0) for prompt in asked for how in DECODINGS]
    found = []
    for device in ("cpu", NAME):
        queue = Queue(requests)
        with elsewhere():
            TransformersEngine(tmp_path, device=device, batch_size=3).serve(queue)
        found.append(queue.replies)
    assert found[0] == found[1]


@pytest.mark.parametrize(("family", "lora"), [("gpt2", None), ("llama", None), ("llama", Lora(rank=2)), ("t5", None)])
def test_a_student_learns_as_on_the_processor(tmp_path, monkeypatch, family, lora):
    for module in (loop, training_options):
        monkeypatch.setattr(module, "settle_device", lambda device, *_: NAME if device == "auto" else device)
    monkeypatch.setattr(loop, "measure_free", lambda _: None)
    # A device of Python's has no storage, which the writers of files look at.
    monkeypatch.setattr(loop, "save_student", lambda *place, **_: place[2].mkdir(parents=True))
    monkeypatch.setattr(loop, "save_state", lambda *_: None)
    layouts = []
    for function in (loop.read_once, loop.collate_packed):
        note = partial(lambda function, *args, **more: (layouts.append(function.__name__), function(*args, **more))[1], function)
        monkeypatch.setattr(loop, function.__name__, note)
    examples = [
        Example.of("student", "Q: How many coins has Ana?\nA:", f" So the answer is: {i}", problem="p", chain=str(i))
        for i in range(4)
    ]
    config = make(family, tmp_path / "start") / "config.json"
    still = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop", "dropout_rate"), 0.0)  # two layouts drop different numbers
    config.write_text(json.dumps(json.loads(config.read_text()) | still))
    losses = []
    for device in ("cpu", "auto"):
        options = TrainingOptions(
            steps=2, batch_size=2, chains_per_visit=3, learning_rate=1e-2, checks=1, device=device, precision="float32"
        )
        student = StudentOptions(checkpoint=str(tmp_path / "start"), lora=lora)
        with elsewhere():
            result = loop.train(examples, student=student, options=options, out=tmp_path / device, seed=0)
        losses.append([loss for _, loss in result.losses])
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[0][1] != losses[0][0]
    assert layouts == ["read_once", "read_once", "collate_packed", "collate_packed"], "elsewhere one pass takes fewer kernels"
