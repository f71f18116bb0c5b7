"""Understudy: the driver, an endpoint and the ledger, each request and each reply durable, as the chains of a study are sampled.

``chains``: `sample` of the chains stage itself, which makes problems into prompts and replies into chains as well.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from workload import MAX_TOKENS, TEMPERATURE, Spec, main

from understudy.core.asks import Call, Decoding, Flow
from understudy.core.asks import Path as SamplePath
from understudy.core.values import Problem
from understudy.engines.endpoint import EndpointEngine
from understudy.engines.together import ended
from understudy.sampling.ledger import Ledger


def flow(prompt: str) -> Flow[str]:
    reply = yield Call("teacher", prompt, max_tokens=MAX_TOKENS)
    return reply.text


def flows(prompts: list[str]) -> Iterator[tuple[SamplePath, Flow[str]]]:
    for i, prompt in enumerate(prompts):
        yield SamplePath(str(i)), flow(prompt)


def requests(spec: Spec, prompts: list[str]) -> list[str]:
    engine = EndpointEngine(spec.url, spec.model, api="chat")
    replies = [""] * len(prompts)
    with Ledger(Path(spec.work) / "ledger.sqlite") as store:
        asked = ended(
            flows(prompts),
            {"teacher": engine},
            store=store,
            decoding={"teacher": Decoding(TEMPERATURE)},
            seed=0,
            on_end=lambda _: None,
            concurrency=spec.concurrency,
        )
        for done in asked:
            assert done.error is None, done.error
            replies[int(done.path.problem)] = done.value or ""
    return replies


def chains(spec: Spec, prompts: list[str]) -> list[str]:
    from understudy.sampling.pool import StudyPool
    from understudy.studies.jobs.chains import sample
    from understudy.studies.options import Teacher

    problems = [Problem(id=str(i), question=prompt, kind="number", answer="42", split="train") for i, prompt in enumerate(prompts)]
    teacher = Teacher(
        engine="endpoint", url=(spec.url,), model=spec.model, api="chat", samples=1, temperature=TEMPERATURE,
        concurrency=spec.concurrency, method="scotd", options={"format": {"style": "messages"}},
    )  # fmt: skip
    arguments = {"seed": 0, "judged_by": "answer", "teacher": asdict(teacher)}
    made = sample(
        problems, teacher, arguments, pool=StudyPool(), ledger=Path(spec.work) / "ledger.sqlite", progress=lambda *_: None
    )
    assert not made.errors, made.errors[0]
    return [chain.text for chain in made.chains]


if __name__ == "__main__":
    main(chains if "chains" in sys.argv else requests)
