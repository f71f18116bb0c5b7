"""curator: LLM over its online OpenAI backend, its limits far away, its cache (a directory of this run's own) as it comes.

It counts tokens with tiktoken, which fetches its tables from the internet at run time and ends the run where it cannot: here it is
given something that divides by four instead, which costs it less time.
"""

import os

os.environ |= {"TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

import logging

import tiktoken
from workload import MAX_TOKENS, TEMPERATURE, Spec, main


class Quarter:
    def encode(self, text: str, **_: object) -> range:
        return range(len(text) // 4)


tiktoken.get_encoding = lambda _: Quarter()

from bespokelabs import curator  # noqa: E402

logging.getLogger("curator").setLevel(logging.ERROR)


class Asked(curator.LLM):
    def prompt(self, row: dict) -> str:
        return row["prompt"]

    def parse(self, row: dict, response: str) -> dict:
        return {"i": row["i"], "reply": response}


def run(spec: Spec, prompts: list[str]) -> list[str]:
    llm = Asked(
        model_name=spec.model,
        backend="openai",
        generation_params={"max_tokens": MAX_TOKENS, "temperature": TEMPERATURE},
        backend_params={
            "base_url": spec.url,
            "api_key": "none",
            "max_concurrent_requests": spec.concurrency,
            "max_requests_per_minute": 10**9,
            "max_tokens_per_minute": 10**12,
        },
    )
    answer = llm([{"i": i, "prompt": prompt} for i, prompt in enumerate(prompts)], working_dir=spec.work)
    replies = [""] * len(prompts)
    for row in answer.dataset:
        replies[row["i"]] = row["reply"]
    return replies


main(run)
