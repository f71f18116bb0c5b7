"""A model answers and learns on a device that is not the processor: nothing of it stays behind, and the results are the same."""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

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
        self.replies[ticket] = reply

    def fail(self, ticket, error):
        raise error


@pytest.fixture(scope="module")
def apart():
    """Calls a function in another process: autograd counts the devices when a process first goes backward, and later tests would
    have this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


def test_the_device_refuses_what_lies_on_another(apart):
    apart(check_refusal)


def check_refusal():
    with elsewhere():
        there = torch.ones(3, device=NAME)
        assert (there * 2).tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="on one device"):
            there + torch.ones(3)


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_are_those_of_the_processor(apart, tmp_path, family):
    make(family, tmp_path)
    here, there = (apart(ask, tmp_path, device) for device in ("cpu", NAME))
    assert [text for text, _ in there] == [text for text, _ in here]
    assert [logprob for _, logprob in there] == pytest.approx([logprob for _, logprob in here], abs=1e-4)


def ask(checkpoint, device):
    """The text of each reply, and the sum of its log-probabilities."""
    asked = [*PROMPTS, *(f"{prompt} Bob finds {prompt}" for prompt in PROMPTS)]  # the last begin as the first do
    queue = Queue([Request(Call("s", prompt, stop=("\n\n",), max_tokens=6), how, 0) for prompt in asked for how in DECODINGS])
    with pytest.MonkeyPatch.context() as patch, elsewhere():
        patch.setattr(prompts, "SHORTEST", 4)
        TransformersEngine(checkpoint, device=device, batch_size=3).serve(queue)
    return [(reply.text, sum(reply.logprobs)) for _, reply in sorted(queue.replies.items())]


@pytest.mark.parametrize(("family", "lora"), [("gpt2", None), ("llama", None), ("llama", Lora(rank=2)), ("t5", None)])
def test_a_student_learns_as_on_the_processor(apart, tmp_path, family, lora):
    config = make(family, tmp_path / "start") / "config.json"
    still = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop", "dropout_rate"), 0.0)  # two layouts drop different numbers
    config.write_text(json.dumps(json.loads(config.read_text()) | still))
    (here, here_layouts), (there, there_layouts) = (apart(learn, tmp_path, lora, device) for device in ("cpu", "auto"))
    assert there == pytest.approx(here, abs=1e-4)
    assert here[1] != here[0]
    assert here_layouts == ["read_once", "read_once"]
    assert there_layouts == ["collate_packed", "collate_packed"], "elsewhere one pass takes fewer kernels"


def learn(directory, lora, device):
    """The losses of two steps, and the function that laid out each. The device "auto" is elsewhere."""
    layouts = []
    examples = [
        Example.of("student", "Q: How many coins has Ana?\nA:", f" So the answer is: {i}", problem="p", chain=str(i))
        for i in range(4)
    ]
    options = TrainingOptions(
        steps=2, batch_size=2, chains_per_visit=3, learning_rate=1e-2, checks=1, device=device, precision="float32"
    )
    student = StudentOptions(checkpoint=str(directory / "start"), lora=lora)
    with pytest.MonkeyPatch.context() as patch:
        for module in (loop, training_options):
            patch.setattr(module, "settle_device", lambda device, *_: NAME if device == "auto" else device)
        patch.setattr(loop, "measure_free", lambda _: None)
        # A device of Python's has no storage, which the writers of files look at.
        patch.setattr(loop, "save_student", lambda *place, **_: place[2].mkdir(parents=True))
        patch.setattr(loop, "save_state", lambda *_: None)
        for function in (loop.read_once, loop.collate_packed):
            note = partial(
                lambda function, *args, **more: (layouts.append(function.__name__), function(*args, **more))[1], function
            )
            patch.setattr(loop, function.__name__, note)
        with elsewhere():
            result = loop.train(examples, student=student, options=options, out=directory / device, seed=0)
    return [loss for _, loss in result.losses], layouts
