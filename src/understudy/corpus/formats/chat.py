"""Conversations: OpenAI and Hugging Face ``messages``, ShareGPT ``conversations``.

    {"messages": [{"role": "user", "content": "A coin is ..."}, {"role": "assistant", "content": "... So the answer is: no"}]}
    {"conversations": [{"from": "human", "value": "A coin is ..."}, {"from": "gpt", "value": "... So the answer is: no"}]}

The last reply is the chain, and the user's turn before it is its question. Earlier turns, which usually are exemplars, are counted
and stay in the prompt.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from understudy.core.asks import Message, Prompt
from understudy.core.errors import DataError, with_known
from understudy.core.prompt_format import write_question
from understudy.core.thoughts import add_thought
from understudy.corpus.formats.record import FileFormat, LostRow, Read, Record, Row, read_hints

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SHAREGPT = {"system": "system", "human": "user", "user": "user"}
_SHAREGPT |= dict.fromkeys(("gpt", "assistant", "chatgpt", "model"), "assistant")
_TOOLS = ("tool", "function", "function_call", "observation", "ipython")
NO_TEXT = LostRow("with parts that are not text")


class TurnFields(NamedTuple):
    """The field of a conversation, and in each of its turns the fields of role and content."""

    field: str
    role: str
    content: str
    roles: Mapping[str, str]


OPENAI = TurnFields("messages", "role", "content", _ROLES)
HUMAN_GPT = TurnFields("conversations", "from", "value", _SHAREGPT)


def join_parts(content: Any, location: str) -> str | None:
    """Return the text of a message, or the joined texts of its parts; None if a part is not a text (an image).

    Raises DataError for anything else.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise DataError(f"{location}: content must be a text or a list of parts, not {str(content)[:60]!r}")
    if any(part.get("type", "text") != "text" or not isinstance(part.get("text"), str) for part in content):
        return None
    return "".join(part["text"] for part in content)


def read_last_exchange(turns: list[tuple[str, str]], location: str) -> dict[str, Any]:
    """Return the question, reply (``text``), prompt and note of a conversation of (role, text) turns, as arguments of a `Record`.
    Raises DataError if a turn is missing."""
    replies = [index for index, (role, _) in enumerate(turns) if role == "assistant"]
    last = max(replies, default=0)
    questions = [index for index, (role, _) in enumerate(turns[:last]) if role == "user"]
    if not questions:
        raise DataError(f"{location}: the conversation has no reply to a user (its turns: {', '.join(role for role, _ in turns)})")
    earlier = turns[:last]
    prompt = earlier[0][1] if len(earlier) == 1 else "\n".join(f"[{role}]\n{text}" for role, text in earlier)
    note = "with earlier turns, of which the last was read" if len(replies) > 1 or len(questions) > 1 else ""
    return {"question": turns[questions[-1]][1], "text": turns[last][1], "prompt": prompt, "note": note}


def read_turns(turns: Any, location: str, layout: TurnFields = OPENAI) -> list[tuple[str, str]] | LostRow:
    """Return the (role, text) of each turn, or why the row is lost. Turns may have the fields of the other layout (axolotl reads
    both). Raises DataError if ``turns`` is not a conversation."""
    if _has_turns(turns, role=OPENAI.role if layout is HUMAN_GPT else HUMAN_GPT.role):
        layout = (OPENAI if layout is HUMAN_GPT else HUMAN_GPT)._replace(field=layout.field)
    field, speaker_field, text_field, roles = layout
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise DataError(f"{location}: field {field!r} must be a list of {{{speaker_field}, {text_field}}}, not {str(turns)[:60]!r}")
    result = []
    for turn in turns:
        role = turn.get(speaker_field)
        if role in _TOOLS or turn.get("tool_calls"):
            return LostRow("with tool calls")
        if role not in roles:
            raise DataError(f"{location}: unknown {speaker_field} {with_known(str(role), roles)}")
        text = join_parts(turn.get(text_field), location)
        if text is None:
            return NO_TEXT
        result.append((roles[role], add_thought(turn.get("reasoning_content") or turn.get("reasoning"), text)))
    return result


def _has_turns(turns: Any, *, role: str) -> bool:
    return isinstance(turns, list) and bool(turns) and all(isinstance(turn, dict) and role in turn for turn in turns)


def _make_format(name: str, layout: TurnFields, written_roles: Mapping[str, str]) -> FileFormat:
    """Make the format called ``name``, whose turns have the fields of ``layout``. ``written_roles``: our role -> the row's."""

    def fits(rows: Sequence[Row], _names: Mapping[str, str]) -> bool:
        conversations = [row.get(layout.field) for row in rows]
        return all(turns == [] or any(_has_turns(turns, role=kind.role) for kind in (OPENAI, HUMAN_GPT)) for turns in conversations)

    def read(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
        turns = read_turns(row.get(layout.field), location, layout)
        if isinstance(turns, LostRow):
            yield turns
            return
        yield Record(**read_last_exchange(turns, location), **read_hints(row, names, location))

    def pair(prompt: Prompt, completion: str) -> Row:
        prompt_messages = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        turns = [*prompt_messages, Message("assistant", completion)]
        return {layout.field: [{layout.role: written_roles[t.role], layout.content: t.content} for t in turns]}

    return FileFormat(
        name=name,
        needs=f"a list {layout.field!r} of {{{layout.role}, {layout.content}}}",
        fits=fits,
        read=read,
        write=lambda problem, chain: pair(write_question(problem), chain.text),
        pair=pair,
        mapped=False,
        reads=(layout.field,),
    )


MESSAGES = _make_format("messages", OPENAI, {"system": "system", "user": "user", "assistant": "assistant"})
SHAREGPT = _make_format("sharegpt", HUMAN_GPT, {"system": "system", "user": "human", "assistant": "gpt"})
