"""A completion as server-sent events: the new text of each choice, as it is written."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial

import orjson

from understudy.serving.bodies import ApiError
from understudy.serving.replies import CLOSE, OPEN, JsonObject, make_head

Fields = Mapping[str, str]
"""The texts of a choice so far: ``content`` and ``reasoning_content`` of a chat, ``text`` of a completion."""


class Stream:
    """The events of one completion by ``model``, a chat or not."""

    def __init__(self, model: str, *, chat: bool) -> None:
        self.head, self.chat = make_head("chat.completion.chunk" if chat else "text_completion", model), chat
        self.sent: dict[tuple[int, str], str] = {}
        self.loop, self.updates = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Callable[[], Fields]] | None]()

    def listen(self, index: int, read: Callable[[str], Fields]) -> Callable[[str], None]:
        """Return what an engine calls, from any thread, with the text so far of choice ``index``; ``read`` makes fields of it."""

        def hear(text: str) -> None:
            with suppress(RuntimeError):  # the server has ended
                self.loop.call_soon_threadsafe(self.updates.put_nowait, (index, partial(read, text)))

        return hear

    async def events(self, answering: asyncio.Task[JsonObject], options: Mapping[str, bool]) -> AsyncIterator[bytes]:
        """Yield the events until ``answering`` ends, then the rest of its answer, and the usage if ``options`` ask for it. Raises
        ApiError if that fails before the first event; later an error is an event. Ending this iterator cancels ``answering``."""
        answering.add_done_callback(lambda _: self.updates.put_nowait(None))
        try:
            while (update := await self.updates.get()) is not None:
                index, read = update
                if added := self._find_added(index, read()):
                    yield self._write([self._make_choice(index, added)])
            done = answering.result()
        except ApiError as error:
            if not self.sent:
                raise
            yield b"data: " + orjson.dumps(error.body) + b"\n\n"
            return
        finally:
            answering.cancel()
        for choice in done["choices"]:
            added = self._find_added(choice["index"], choice["message"] if self.chat else {"text": choice["text"]})
            rest = {name: value for name, value in choice.items() if name not in ("message", "text")}
            yield self._write([self._make_choice(choice["index"], added) | rest])
        if options.get("include_usage"):
            yield self._write([], usage=done["usage"])
        yield b"data: [DONE]\n\n"

    def _find_added(self, index: int, fields: Fields) -> dict[str, str]:
        """Return what ``fields`` have beyond what was sent of the choice, and count it as sent."""
        added = {name: rest for name, text in fields.items() if (rest := _find_rest(self.sent.get((index, name), ""), text))}
        self.sent |= {(index, name): fields[name] for name in added}
        return added

    def _make_choice(self, index: int, added: Mapping[str, str]) -> JsonObject:
        text = {"delta": added} if self.chat else {"text": added.get("text", "")}
        return {"index": index, **text, "logprobs": None, "finish_reason": None}

    def _write(self, choices: list[JsonObject], **fields: object) -> bytes:
        return b"data: " + orjson.dumps(self.head | {"choices": choices} | fields) + b"\n\n"


def _find_rest(sent: str, text: str) -> str:
    """Return what ``text`` has beyond what was ``sent``. If the complete reply turns out to state its answer elsewhere, the thought
    that was sent ends here, and the answer follows."""
    if text.startswith(sent):
        return text[len(sent) :]
    complete = (CLOSE in text or not text.startswith(OPEN)) and not sent.startswith(text)  # an engine that began again lags behind
    return CLOSE + text.rpartition(CLOSE)[2] if complete and sent.startswith(OPEN) else ""
