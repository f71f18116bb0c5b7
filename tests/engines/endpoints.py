"""Servers on loopback that do with a request what real programs do with it, with a model that goes on with random digits."""

import random

from aiohttp import web
from loopback import Server


def serving(**behaviour):
    """A server on which a `Program` runs."""
    program = Program(**behaviour)
    return Server(program.answer, probed=program.answer)


class Program:
    """Answers in both APIs. ``n``: honoured, one, copies, refused; ``stop``: removed, kept, ignored; ``draws``: otherwise it is
    greedy at any temperature; ``seed``: honoured, or a draw is another one each time; ``logprobs``, ``usage``: given or not."""

    def __init__(self, *, n="honoured", stop="removed", draws=True, seed=True, logprobs=True, usage=True, says=None):
        self.n, self.stop, self.draws, self.seed = n, stop, draws, seed
        self.logprobs, self.usage, self.says = logprobs, usage, says

    def answer(self, path, body, _n):
        n = body.get("n", 1)
        if n > 1 and self.n == "refused":
            return web.json_response({"error": {"message": "Only n=1 is supported", "param": "n"}}, status=400)
        choices = [
            self.choice(path, body, 0 if self.n == "copies" else i) | {"index": i} for i in range(1 if self.n == "one" else n)
        ]
        usage = {"prompt_tokens": 40, "completion_tokens": 24 * len(choices)}
        return {"model": "m-7", "choices": choices} | ({"usage": usage} if self.usage else {})

    def choice(self, path, body, i):
        text, finish = self.drawn(body, i), "length"
        for stop in body.get("stop", ()):
            if stop in text and self.stop != "ignored":
                text, finish = text[: text.index(stop) + (len(stop) if self.stop == "kept" else 0)], "stop"
        chat = path == "chat/completions"
        values = [-2.0] * 24
        logprobs = {"content": [{"logprob": v} for v in values]} if chat else {"token_logprobs": values}
        said = {"message": {"content": text}} if chat else {"text": text}
        return said | {"finish_reason": finish, "logprobs": logprobs if self.logprobs else None}

    def drawn(self, body, i):
        if self.says is not None:
            return self.says
        if not self.draws or body["temperature"] == 0:
            return " 4 7 1 9 2 8 3 5 0 6"
        chance = random.Random(f"{body['seed']} {i}" if self.seed and "seed" in body else None)
        return "".join(f" {chance.randrange(10)}" for _ in range(12))


PROGRAMS = {
    "vllm": {},
    "transformers serve": {"n": "one", "stop": "kept", "logprobs": False},
    "transformers serve without do_sample": {"n": "one", "stop": "kept", "logprobs": False, "draws": False},
    "llama.cpp": {"n": "one"},
    "one that refuses n": {"n": "refused", "seed": False},
    "one that copies": {"n": "copies", "stop": "ignored", "usage": False},
}
"""What each of them does otherwise than asked."""
