"""Understudy: the driver, an endpoint and the ledger, each request and each reply durable, as the chains of a study are sampled.

``chains``: `sample` as the chains stage calls it, which makes problems into prompts and replies into chains as well. ``command``:
`understudy sample STUDY.toml` itself, from a file of questions to a file of chains; ``command cores``: where it may use both cores.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from workload import MAX_TOKENS, TEMPERATURE, Spec, main

from understudy.core.asks import Call, Decoding, Flow, SamplePath
from understudy.core.values import Problem
from understudy.corpus.spool import Spool
from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.options import Endpoint
from understudy.flows.cast import Cast
from understudy.flows.run import run_flows
from understudy.sampling.ledger import Ledger


def flow(prompt: str) -> Flow[str]:
    reply = yield Call("teacher", prompt, max_tokens=MAX_TOKENS)
    return reply.text


def flows(prompts: list[str]) -> Iterator[tuple[SamplePath, Flow[str]]]:
    for i, prompt in enumerate(prompts):
        yield SamplePath(str(i)), flow(prompt)


def requests(spec: Spec, prompts: list[str]) -> list[str]:
    engine = EndpointEngine(Endpoint(spec.url, spec.model, api="chat", concurrency=spec.concurrency, n=1))
    replies = [""] * len(prompts)
    with Ledger(Path(spec.work) / "ledger.sqlite") as store:
        cast = Cast({"teacher": engine}, {"teacher": Decoding(TEMPERATURE)}, store=store)
        for done in run_flows(flows(prompts), cast):
            assert done.error is None, done.error
            replies[int(done.path.problem)] = done.value or ""
    return replies


def chains(spec: Spec, prompts: list[str]) -> list[str]:
    return [chain.text for chain in sample_chains(spec, prompts)]


def sample_chains(spec: Spec, prompts: list[str]) -> Spool:
    from understudy.checks.answer import same_answer
    from understudy.checks.judge import judge
    from understudy.core.prompt_format import PromptFormat
    from understudy.methods.scotd import SCoTD
    from understudy.sampling.account import Account
    from understudy.sampling.pool import StudyPool
    from understudy.sampling.sample import Sampling, sample

    problems = [Problem(id=str(i), question=prompt, kind="number", answer="42", split="train") for i, prompt in enumerate(prompts)]
    engine = EndpointEngine(Endpoint((spec.url,), spec.model, api="chat", concurrency=spec.concurrency, n=1))
    method, pool = SCoTD(format=PromptFormat(style="messages"), max_tokens=MAX_TOKENS), StudyPool()
    sampling = Sampling(
        problems,
        lambda problem, path: method.sample(problem, path, pool),
        lambda problem, chain: judge(problem, chain, same_answer),
        decoding=Decoding(TEMPERATURE),
    )
    with Ledger(Path(spec.work) / "ledger.sqlite") as store, Account(store, sampling.total) as account:
        account.begin()
        made = sample(sampling, engine, account, lambda *_: None)
    assert not made.failures, made.failures[0]
    return made.chains


def command(spec: Spec, prompts: list[str]) -> list[str]:
    import pyarrow.parquet as pq

    from understudy.cli import main as understudy

    work = Path(spec.work)
    for split, questions in (("train", prompts), ("dev", ["Who?"]), ("test", ["What?"])):
        rows = ({"id": f"{split}-{i}", "question": question, "answer": 42} for i, question in enumerate(questions))
        (work / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (work / "study.toml").write_text(f"""
        study.name = "sampling"
        task = {{ name = "files", train = "train.jsonl", dev = "dev.jsonl", test = "test.jsonl", kind = "number" }}
        [teacher]
        engine = "endpoint"
        url = "{spec.url}"
        model = "{spec.model}"
        api = "chat"
        samples = 1
        temperature = {TEMPERATURE}
        concurrency = {spec.concurrency}
        options.format.style = "messages"
        [[arms]]
        name = "all"
        method = "scotd"
    """)
    assert understudy(["sample", str(work / "study.toml")]) == 0
    (found,) = work.glob("runs/sampling/stages/chains-*/chains.parquet")
    columns = pq.read_table(found, columns=["problem", "text"]).to_pydict()
    by_problem = dict(zip(columns["problem"], columns["text"], strict=True))
    return [by_problem[f"train-{i}"] for i in range(len(prompts))]


if __name__ == "__main__":
    main(next((subject for name, subject in {"chains": chains, "command": command}.items() if name in sys.argv), requests))
