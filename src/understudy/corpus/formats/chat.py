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
from understudy.core.prompt_format import question_text
from understudy.core.thoughts import with_thought
from understudy.corpus.formats.record import FileFormat, LostRow, Read, Record, Row, hints

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SHAREGPT = {"system": "system", "human": "user", "user": "user"}
_SHAREGPT |= dict.fromkeys(("gpt", "assistant", "chatgpt", "model"), "assistant")
_TOOLS = ("tool", "function", "function_call", "observation", "ipython")
NO_TEXT = LostRow("with parts that are not text")
EARLIER = "with earlier turns, of which the last was read"


class TurnFields(NamedTuple):
    """The field of a conversation, and in each of its turns the fields of role and content."""

    field: str
    role: str
    content: str
    roles: Mapping[str, str]


OPENAI = TurnFields("messages", "role", "content", _ROLES)
HUMAN_GPT = TurnFields("conversations", "from", "value", _SHAREGPT)


def text_parts(content: Any, where: str) -> str | None:
    """Return the text of a message, or the joined texts of its parts; None if a part is not a text (an image).

    Raises DataError for anything else.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise DataError(f"{where}: content must be a text or a list of parts, not {str(content)[:60]!r}")
    if any(part.get("type", "text") != "text" or not isinstance(part.get("text"), str) for part in content):
        return None
    return "".join(part["text"] for part in content)


def last_exchange(turns: list[tuple[str, str]], where: str) -> tuple[str, str, str, str]:
    """Return (question, reply, prompt, note) of a conversation of (role, text) turns. Raises DataError if a turn is missing."""
    replies = [at for at, (role, _) in enumerate(turns) if role == "assistant"]
    last = max(replies, default=0)
    questions = [at for at, (role, _) in enumerate(turns[:last]) if role == "user"]
    if not questions:
        raise DataError(f"{where}: the conversation has no reply to a user (its turns: {', '.join(role for role, _ in turns)})")
    before = turns[:last]
    prompt = before[0][1] if len(before) == 1 else "\n".join(f"[{role}]\n{text}" for role, text in before)
    return turns[questions[-1]][1], turns[last][1], prompt, EARLIER if len(replies) > 1 or len(questions) > 1 else ""


def turns_of(found: Any, where: str, layout: TurnFields = OPENAI) -> list[tuple[str, str]] | LostRow:
    """Return the (role, text) of each turn, or why the row is lost. Turns may have the fields of the other layout (axolotl reads
    both). Raises DataError if ``found`` is not a conversation."""
    if _has_turns(found, role=OPENAI.role if layout is HUMAN_GPT else HUMAN_GPT.role):
        layout = (OPENAI if layout is HUMAN_GPT else HUMAN_GPT)._replace(field=layout.field)
    field, speaker_field, text_field, roles = layout
    if not isinstance(found, list) or not found or not all(isinstance(turn, dict) for turn in found):
        raise DataError(f"{where}: field {field!r} must be a list of {{{speaker_field}, {text_field}}}, not {str(found)[:60]!r}")
    turns = []
    for turn in found:
        role = turn.get(speaker_field)
        if role in _TOOLS or turn.get("tool_calls"):
            return LostRow("with tool calls")
        if role not in roles:
            raise DataError(f"{where}: unknown {speaker_field} {with_known(str(role), roles)}")
        text = text_parts(turn.get(text_field), where)
        if text is None:
            return NO_TEXT
        turns.append((roles[role], with_thought(turn.get("reasoning_content") or turn.get("reasoning"), text)))
    return turns


def _has_turns(turns: Any, *, role: str) -> bool:
    return isinstance(turns, list) and bool(turns) and all(isinstance(turn, dict) and role in turn for turn in turns)


def _conversation(name: str, layout: TurnFields, written_roles: Mapping[str, str]) -> FileFormat:
    """Make the format called ``name``, whose turns have the fields of ``layout``. ``written_roles``: our role -> the row's."""

    def fits(rows: Sequence[Row], _names: Mapping[str, str]) -> bool:
        conversations = [row.get(layout.field) for row in rows]
        return all(turns == [] or any(_has_turns(turns, role=each.role) for each in (OPENAI, HUMAN_GPT)) for turns in conversations)

    def read(row: Row, names: Mapping[str, str], where: str) -> Iterator[Read]:
        turns = turns_of(row.get(layout.field), where, layout)
        if isinstance(turns, LostRow):
            yield turns
            return
        question, text, prompt, note = last_exchange(turns, where)
        yield Record(text=text, question=question, prompt=prompt, note=note, **hints(row, names, where))

    def pair(prompt: Prompt, completion: str) -> Row:
        asked = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        turns = [*asked, Message("assistant", completion)]
        return {layout.field: [{layout.role: written_roles[t.role], layout.content: t.content} for t in turns]}

    return FileFormat(
        name=name,
        needs=f"a list {layout.field!r} of {{{layout.role}, {layout.content}}}",
        fits=fits,
        read=read,
        write=lambda problem, chain: pair(question_text(problem), chain.text),
        pair=pair,
        mapped=False,
        reads=(layout.field,),
    )


MESSAGES = _conversation("messages", OPENAI, {"system": "system", "user": "user", "assistant": "assistant"})
SHAREGPT = _conversation("sharegpt", HUMAN_GPT, {"system": "system", "user": "human", "assistant": "gpt"})
