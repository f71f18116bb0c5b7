"""Real server programs on loopback, each with a small random model: what they send is read, whatever they do not honour.

`transformers serve` comes with the development dependencies. llama.cpp's server is built from source, so it is tested only
where UNDERSTUDY_LLAMA_CPP names a Python that has `llama-cpp-python[server]` and `gguf`.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import ask_one, open_endpoint, read_keys
from checkpoints import TEXTS, make, real_tokenizer
from command import understudy
from transformers import GenerationConfig

from understudy.core.asks import Call, Decoding, Message, Request
from understudy.engines.remote.probe import probe
from understudy.sampling.ledger import Ledger

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@contextmanager
def running(command, log, *, ready, timeout=120, **env):
    """``command`` with the port at its end, until ``ready`` answers; ended by its id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as out:
        server = subprocess.Popen([*command, "--port", str(port)], stdout=out, stderr=out, env={**os.environ, **env})
    try:
        deadline = time.monotonic() + timeout
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=2):
                    break
            except OSError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    tokenizer = real_tokenizer("qwen2", TEXTS)
    tokenizer.chat_template = CHATML
    model = make("qwen2", folder / "model", context=256, tokenizer=tokenizer)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    GenerationConfig(do_sample=True, **ids).save_pretrained(model)
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(model), "--host", "127.0.0.1", "--device", "cpu"]
    with running(command, folder / "log", ready="/health", HF_HUB_CACHE=str(folder), HF_HUB_OFFLINE="1") as url:
        yield url, str(model)


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory):
    python = os.environ.get("UNDERSTUDY_LLAMA_CPP")
    if not python:
        pytest.skip("UNDERSTUDY_LLAMA_CPP names no Python with llama-cpp-python[server] and gguf")
    folder = tmp_path_factory.mktemp("llama")
    model = folder / "tiny.gguf"
    subprocess.run([python, str(Path(__file__).with_name("gguf_model.py")), str(model)], check=True, timeout=60)
    command = [python, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1", "--n_ctx", "256"]
    with running([*command, "--chat_format", "chatml"], folder / "log", ready="/v1/models") as url:
        yield url, "tiny"


def ask(engine, *requests):
    async def all_of_them():
        async with engine as opened:
            return await asyncio.gather(*(ask_one(opened, request) for request in requests))

    return asyncio.run(all_of_them())


def call(prompt, path=0, **more):
    return Request(Call("teacher", prompt, max_tokens=12, **more), Decoding(1.0), path)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_transformers_serve_answers_with_a_draw_of_its_own_on_each_path(transformers_serve, api):
    url, model = transformers_serve
    prompt = "Q: How many?\nA:" if api == "completions" else (Message("system", "Be brief."), Message("user", "How many?"))
    engine = open_endpoint(url, model, api=api, timeout=60)
    replies = ask(engine, *(call(prompt, path) for path in (0, 1, 2)))
    assert len({reply.text for reply in replies}) == 3
    # One at a time: requests at once share one random generator there.
    (first,), (again,), (other,) = (ask(engine, call(prompt, path)) for path in (0, 0, 1))
    assert first.text == again.text != other.text, "the seed of a path is honoured"
    assert all(1 <= reply.tokens <= 12 and reply.prompt_tokens > 3 for reply in replies)
    assert all(reply.finish in ("stop", "length") for reply in replies)


def test_transformers_serve_leaves_the_stop_string_and_it_is_cut_here(transformers_serve):
    url, model = transformers_serve
    (whole,) = ask(open_endpoint(url, model), call("Q: How many?\nA:"))
    stop = whole.text.strip()[2:4]
    (cut,) = ask(open_endpoint(url, model), call("Q: How many?\nA:", stop=(stop,)))
    assert (cut.text, cut.finish) == (whole.text[: whole.text.index(stop)], "stop")


def probed(url, model, api, tmp_path):
    """What a probe finds, without which model it was; a second one asks nothing."""
    found = []
    for _ in range(2):
        engine = open_endpoint(url, model, api=api, timeout=60, identity=api)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            found.append(probe(engine, engine.addresses, ledger)[engine.build_url(engine.addresses[0])])
            assert ledger.spent.requests == len(read_keys(ledger)) == 5
    assert found[0] == found[1]
    assert found[0].pop("model") != "unknown"
    return found[0]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_what_transformers_serve_does_is_found_by_a_probe(transformers_serve, tmp_path, api):
    found = probed(*transformers_serve, api, tmp_path)
    expected = {"n": "one", "logprobs": "none", "stop": "kept", "temperature": "draws", "seed": "honoured", "usage": "given"}
    assert found == expected


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_what_llama_cpp_does_is_found_by_a_probe(llama_cpp, tmp_path, api):
    found = probed(*llama_cpp, api, tmp_path)
    logprobs = "given" if api == "completions" else "none"  # in a chat it wants to be told how many alternatives
    expected = {"n": "one", "logprobs": logprobs, "stop": "removed", "temperature": "draws", "seed": "honoured", "usage": "given"}
    assert found == expected


STUDY = """
[study]
name = "s"
[task]
name = "diary"
train = 4
dev = 2
test = 2
longer_test = 0
[teacher]
engine = "endpoint"
url = "URL"
model = "MODEL"
samples = 2
api = "API"
concurrency = 2
options = { max_tokens = 8 }
[[arms]]
name = "a"
method = "scotd"
"""


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_study_samples_from_transformers_serve_and_buys_nothing_twice(transformers_serve, tmp_path, api):
    sample_twice(*transformers_serve, tmp_path, api)


def sample_twice(url, model, tmp_path, api):
    (tmp_path / "s.toml").write_text(STUDY.replace("URL", url).replace("MODEL", model).replace("API", api))
    ran = understudy("sample", "s.toml", cwd=tmp_path)
    assert (ran.code, "8 chains for 4 problems" in ran.out) == (0, True), ran.out + ran.err
    dry = understudy("sample", "s.toml", "--dry-run", "--set", "teacher.samples=3", cwd=tmp_path)
    assert "12 chains, 8 already in the ledger, 4 to ask for" in dry.out, dry.out


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_llama_cpp_answers_with_a_draw_of_its_own_on_each_path_and_honours_seed_and_stop(llama_cpp, api):
    url, model = llama_cpp
    prompt = "Q: How many?\nA:" if api == "completions" else (Message("system", "Be brief."), Message("user", "How many?"))
    engine = open_endpoint(url, model, api=api, timeout=60)
    replies = [ask(engine, call(prompt, path))[0] for path in (0, 1, 2, 0)]
    assert len({reply.text for reply in replies[:3]}) == 3
    assert replies[3].text == replies[0].text
    # It counts the tokens of the text that it sends, which may be more than were drawn.
    assert all(reply.tokens >= 1 and reply.prompt_tokens > 3 and reply.finish in ("stop", "length") for reply in replies)
    stop = replies[0].text.strip()[2:4]
    (cut,) = ask(engine, call(prompt, 0, stop=(stop,)))
    assert (cut.text, cut.finish) == (replies[0].text[: replies[0].text.index(stop)], "stop")


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_study_samples_from_llama_cpp_and_buys_nothing_twice(llama_cpp, tmp_path, api):
    sample_twice(*llama_cpp, tmp_path, api)
