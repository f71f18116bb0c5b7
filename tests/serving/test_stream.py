"""A stream of events by itself: what an error does before the first event and after it, and what is taken back."""

import asyncio
import json

import pytest

from understudy.serving.bodies import ApiError
from understudy.serving.stream import Stream


def collect(*told, answer, chat=True):
    """The events of a stream that hears ``told`` texts of its first choice, and then gets ``answer``."""

    async def collect_all():
        stream = Stream("model", chat=chat)
        hear = stream.listen(0, lambda text: {"content": text} if chat else {"text": text})

        async def answering():
            for text in told:
                hear(text)
                await asyncio.sleep(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        events = stream.events(asyncio.ensure_future(answering()), {})
        return [json.loads(event.removeprefix(b"data: ")) async for event in events if event != b"data: [DONE]\n\n"]

    return asyncio.run(collect_all())


def test_an_error_before_the_first_event_is_raised():
    with pytest.raises(ApiError, match="no room"):
        collect(answer=ApiError(429, "no room"))


def test_an_error_after_the_first_event_is_the_last_event():
    first, last = collect("She has", answer=ApiError(503, "the model failed"))
    assert first["choices"][0]["delta"] == {"content": "She has"}
    assert last["error"]["message"] == "the model failed"


def test_a_thought_that_turns_out_to_be_the_answer_is_ended_before_the_answer():
    message = {"role": "assistant", "content": "So the answer is: 4. Check."}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}}
    events = collect("<think>\nSo the answer is: 4.", answer=whole)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text == "<think>\nSo the answer is: 4.\n</think>\n\nSo the answer is: 4. Check."


def test_a_thought_that_turns_out_shorter_while_it_is_written_says_nothing_twice():
    message = {"role": "assistant", "content": "<think>\nA.\n</think>\n\nSo the answer is: 4"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}}
    events = collect("<think>\nA. B.", "<think>\nC.", answer=whole)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert text == "<think>\nA. B.\n</think>\n\nSo the answer is: 4"


def test_texts_that_say_nothing_new_make_no_event():
    whole = {"choices": [{"index": 0, "text": "a b", "finish_reason": "stop"}], "usage": {}}
    assert [event["choices"][0]["text"] for event in collect("a", "a", "a b", answer=whole, chat=False)] == ["a", " b", ""]
