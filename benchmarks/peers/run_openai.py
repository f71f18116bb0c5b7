"""The openai SDK: AsyncOpenAI behind a semaphore, over aiohttp, which its README names for concurrency."""

import asyncio

from openai import AsyncOpenAI, DefaultAioHttpClient
from workload import MAX_TOKENS, TEMPERATURE, Spec, main


async def ask(spec: Spec, prompts: list[str]) -> list[str]:
    free = asyncio.Semaphore(spec.concurrency)

    async with AsyncOpenAI(base_url=spec.url, api_key="none", http_client=DefaultAioHttpClient()) as client:

        async def one(prompt: str) -> str:
            async with free:
                answer = await client.chat.completions.create(
                    model=spec.model,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=MAX_TOKENS,
                    temperature=TEMPERATURE,
                )
            return answer.choices[0].message.content

        return await asyncio.gather(*map(one, prompts))


main(lambda spec, prompts: asyncio.run(ask(spec, prompts)))
