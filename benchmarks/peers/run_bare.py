"""The ceiling: a pool of workers over one aiohttp session, JSON in and out, nothing else. ``uvloop``: on that event loop."""

import asyncio
import json
import sys

import aiohttp
from workload import MAX_TOKENS, TEMPERATURE, Spec, main


async def ask(spec: Spec, prompts: list[str]) -> list[str]:
    replies = [""] * len(prompts)
    left = iter(enumerate(prompts))
    url = f"{spec.url}/chat/completions"

    async def work(session: aiohttp.ClientSession) -> None:
        for i, prompt in left:
            body = {
                "model": spec.model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": MAX_TOKENS,
                "temperature": TEMPERATURE,
            }
            async with session.post(url, data=json.dumps(body).encode()) as answer:
                found = json.loads(await answer.read())
                assert answer.status == 200
            replies[i] = found["choices"][0]["message"]["content"]

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Content-Type": "application/json"},
    ) as session:
        await asyncio.gather(*(work(session) for _ in range(spec.concurrency)))
    return replies


def run(spec: Spec, prompts: list[str]) -> list[str]:
    if "uvloop" in sys.argv:
        import uvloop

        return uvloop.run(ask(spec, prompts))
    return asyncio.run(ask(spec, prompts))


main(run)
