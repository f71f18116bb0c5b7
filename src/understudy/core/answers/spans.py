"""Locate the parts of a reply (its thought, a new problem, its sentences) by positions in the original text, and split short texts
into words, for comparison without case, articles and punctuation."""

import itertools
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from understudy.core.values import COMMA

SPAN = 400
"""The maximum number of characters to read of one statement or sentence, because an answer is short."""


class Reading(NamedTuple):
    """The result of reading a span: a canonical answer, nothing, or several answers at once (``ambiguous``). Only `NOTHING` is
    false, so ``read(x) or read_otherwise(x)`` tries another way."""

    value: str | None
    status: str = "ok"

    def __bool__(self) -> bool:
        return self.status != "none"


NOTHING = Reading(None, "none")
AMBIGUOUS = Reading(None, "ambiguous")
ABSTAINS = Reading(None, "abstained")

_SEPARATOR = re.compile(r"(?<=[0-9])[.,](?=[0-9])")


def to_point(text: str, form: str) -> str:
    """Return ``text``, with ``1,234.5`` for ``1.234,5`` if ``form`` is `COMMA`. The length stays the same."""
    return _SEPARATOR.sub(lambda sign: "," if sign[0] == "." else ".", text) if form == COMMA else text


_ONE_TO_ONE = str.maketrans("−–—×·÷⁄’‘“”\u00a0\u2007\u2009\u202f\t\r", "---**//''\"\"      ")
_ONE_TO_ONE |= {0xFEE0 + sign: sign for sign in range(0x21, 0x7F)}  # full width


def fold(text: str) -> str:
    """Return ``text`` with plain signs in place of typographic ones. The length stays the same."""
    if text.isascii() and "\t" not in text and "\r" not in text:
        return text  # true of most replies, and translating takes longer than anything else here
    return text.translate(_ONE_TO_ONE)


_SIGNS = {r"\\geq?(?![a-z])|>=": "≥", r"\\leq?(?![a-z])|<=": "≤", r"\\neq?(?![a-z])|!=": "≠", r"\\pm\b": "±"}
_SIGNS |= {r"\\(?:left|right|displaystyle)(?![a-z])|\\[,!;:]": "", r"\\q?quad(?![a-z])": " ", r"\\[dtc]frac(?![a-z])": r"\\frac"}
_SIGNS |= {r"\\cup\b": "∪", r"\\cap\b": "∩", r"\\infty\b": "∞"}
_SIGN_NAMES = [(re.compile(name), sign) for name, sign in _SIGNS.items()]


def to_signs(text: str) -> str:
    """Return ``text`` with signs in place of their names in LaTeX and in programs: ``x \\ge 3`` and ``x >= 3`` -> ``x ≥ 3``."""
    for name, sign in _SIGN_NAMES if "\\" in text or "=" in text else ():
        text = name.sub(sign, text)
    return text


def merge(readings: list[Reading]) -> Reading:
    """Return the value on which all readings with an answer agree; AMBIGUOUS if they disagree, NOTHING if no reading has an
    answer."""
    hits = set(filter(None, readings))
    return AMBIGUOUS if len(hits) > 1 else next(iter(hits), NOTHING)


_FINAL_CHANNEL = r"(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final[^<\n]{0,80}<\|message\|>"
_THOUGHT = r"(?:think(?:ing)?|thought|reason(?:ing)?|reflection|scratchpad|analysis|inner_monologue|seed:think)"
THOUGHT_MARKS = [
    (rf"<\|?{_THOUGHT} ?\|?>", rf"<\|?/{_THOUGHT} ?\|?>|</\|{_THOUGHT}\|>"),  # most models
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>(?:\s{0,4}<\|begin_of_solution\|>)?"),  # Sky-T1
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command A
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    (r"◁think▷", r"◁/think▷"),  # Kimi
    (r"<unused94>(?:thought\n)?", r"<unused95>"),  # MedGemma
    (r"<\|channel\|>(?:analysis|commentary)[^<\n]{0,80}<\|message\|>", _FINAL_CHANNEL),  # gpt-oss
]
"""The marks that begin and end a thought, with the models that write them."""
_THOUGHT_START, _THOUGHT_END = (re.compile("|".join(marks), re.I) for marks in zip(*THOUGHT_MARKS, strict=True))
THOUGHT_MARK = re.compile(f"{_THOUGHT_START.pattern}|{_THOUGHT_END.pattern}", re.I)


def may_have_thought(text: str) -> bool:
    """Return False for most replies without a thought, without the patterns, which take longer than the rest of the reading."""
    return "<" in text or "[" in text or "◁" in text


def find_reply(text: str) -> int | None:
    """Return where the reply begins, after the last thought; None if a thought never ends."""
    if not may_have_thought(text):
        return 0
    start = max((match.end() for match in _THOUGHT_END.finditer(text)), default=0)
    return None if _THOUGHT_START.search(text, start) else start


_END_TOKEN = re.compile(r"\s{0,4}(?:<\|[\w/]{1,24}\|>|</s>|<(?:eos|end_of_turn)>)\s{0,4}$")


def find_end(text: str, start: int, end: int) -> int:
    """Return the end of ``text[begin:end]`` without the tokens with which a model ends a turn."""
    while token := _END_TOKEN.search(text, max(start, end - 40), end):
        end = token.start()
    return end


_RUN_ON = re.compile(r"\n[ ]{0,4}(?:#{1,4} ?|\*\*)?(?:Q|Question|Problem|Exercise|Instruction|Input|User|Human)(?:\*\*)? ?:(?=\s)")
"""The beginning of a new problem. A numbered one ("Q2.") is a sub-question of the same problem and does not count."""


def find_next_problem(text: str, start: int) -> Iterator[int]:
    """Find the places at or after ``start`` where a completion may continue with a new problem, at most five."""
    return (match.start() for match in itertools.islice(_RUN_ON.finditer(text, start), 5))


def restates(text: str, start: int, question: str) -> bool:
    """Return whether the problem that begins at ``start`` is ``question``: it shares at least four fifths of its words."""
    words = split_words(text[start : start + SPAN].lstrip().partition("\n\n")[0].partition(":")[2])
    question_words = set(split_words(question))
    return sum(word in question_words for word in words) * 5 >= len(words) * 4


def keep_one_problem(text: str) -> str:
    """Join each line that looks like a new problem ("Problem: ...") to the line before it."""
    if not _RUN_ON.search(fold(f"{text}\n")):
        return text
    parts: list[str] = []
    for i, line in enumerate(text.split("\n")):
        if i and _RUN_ON.match(fold(f"\n{line}\n")):
            while parts and not parts[-1].strip():
                parts.pop()
            parts += [" ", line.strip()]
        else:
            parts += ["\n", line] if i else [line]
    return "".join(parts)


_SHORT_FORMS = {"mr", "mrs", "ms", "dr", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "approx", "u.s", "u.k"}
_INITIALS = re.compile(r"[A-Za-z.]+\.[A-Za-z]")
NAME_CONTINUES = re.compile(
    r"\s+(?!(?:A|An|And|According|As|At|But|Each|Final|Finally|First|For|From|He|Hence|How|However|I|If|In|It|Let|Next|Now|Of|On|One|"
    r"Since|She|So|Step|That|The|Then|There|Therefore|These|They|This|Thus|To|We|What|When|While|You)\b)[A-Z]"
)
"""What follows the initial of a name: "L. Ron"."""
_INITIAL = re.compile(r"(?<!\bis )(?<!\bbe )(?<!answer |option |choice )(?<!\bare )(?<!\bor )(?<!: )(?<![Vv]itamin )\b[B-HJ-Z]$")
_STOP = re.compile(r"\n|[.!?]+[\"')\]*]{0,3}(?=\s|$)")
_WORD_BEFORE = re.compile(r"([A-Za-z][A-Za-z.]{0,12})$")


def skip(lead: re.Pattern[str], text: str, start: int = 0) -> int:
    """Return where ``text`` continues after a ``lead`` at ``start``; ``start`` itself if there is no lead."""
    match = lead.match(text, start)
    return match.end() if match else start


def find_sentence_end(text: str, start: int, end: int) -> int:
    """Return the end of the sentence that begins at ``start``: after its full stop, or before the line break."""
    for match in _STOP.finditer(text, start, end):
        if match[0] == "\n":
            return match.start()
        word = _WORD_BEFORE.search(text, max(start, match.start() - 14), match.start())
        short = word and (word[1].lower() in _SHORT_FORMS or _INITIALS.fullmatch(word[1]))
        initial = word and _INITIAL.search(text, word.start(), match.start()) and NAME_CONTINUES.match(text, match.end())
        if match[0] == "." and (short or initial):
            continue
        return match.end()
    return end


def take_sentence(span: str) -> str:
    """Return ``span`` up to the end of its first sentence."""
    return span[: find_sentence_end(span, len(span) - len(span.lstrip()), len(span))]


def split_sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return (begin, end) of each sentence in the last 2,000 characters, without blank ones."""
    sentences = []
    position = max(start, end - 2000)
    while position < end:
        stop = max(find_sentence_end(text, position, end), position + 1)
        if text[position:stop].strip(" \n*_#-=~.`"):
            sentences.append((position + len(text[position:stop]) - len(text[position:stop].lstrip()), stop))
        position = stop
    return sentences


_TOKEN = re.compile(
    r"(?:(?<![\w)\]}-])-(?=[0-9∞]|\w\b))?\w+(?:(?:[.'/:-]|(?<=[0-9]),(?=[0-9]{3}(?![0-9])))\w+)*"  # -3
    r"(?:[#+]{1,2}(?![\w(\\√])|(?<=\b\w)-(?![\w.-]))?"  # C#, C++, A-
    r"|(?<!\w)-(?=∞)|[<>=^±¬|&@\u2190-\u22ff♭-♯′]|(?<!\w)[!~](?=\w)|(?<=[\w)}]) ?[+/] ?(?=[\w(√\\-])"  # x > 3, 2/\sqrt{3}
    r"|(?<=[\w)}]) - (?=[0-9(])|(?<=[)}])-(?=[0-9(])"  # x - 3
)
_OPERATORS = frozenset("<>=^+/-±¬|!~") | frozenset(map(chr, range(0x2190, 0x2300)))
_RAISED = re.compile("⁻?[⁰¹²³⁴-⁹]+")


def split_words(text: str) -> list[str]:
    """Return the words, signs and operators of ``text`` in lower case and Unicode's compatible form, without articles, unless
    there are only articles."""
    simple = _RAISED.sub(r"^\g<0>", to_signs(fold(text[:2000])))
    words = [word.strip() for word in _TOKEN.findall(unicodedata.normalize("NFKC", simple).casefold())]
    return (_OPERATORS.isdisjoint(words) and [word for word in words if word not in {"a", "an", "the"}]) or words


def to_canonical(text: str) -> str:
    """Return the words of ``text`` with single spaces between them."""
    return " ".join(split_words(text))


def to_written(text: str) -> str:
    """Return ``text`` as written, without the quotes, blanks and the full stop around it: ``Washington, D.C.`` keeps its own."""
    text = " ".join(text.split()).lstrip(_AROUND)
    core = text.rstrip(_AROUND + ".!?")
    return f"{core}." if _INITIALS.fullmatch(core.rpartition(" ")[2]) and text[len(core) :].startswith(".") else core


_AROUND = "\"'`*_“”‘’ :;,"


def answer_key(answer: str) -> str:
    """Return the form under which answers count as the same: texts by their words, all others as they are."""
    return to_canonical(answer) if any(map(str.isalpha, answer)) else answer.strip("$ ").replace(", ", ",") or answer
