"""What is read in a shorter way is read as the whole patterns and the parser read it."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from understudy.core.answers import markers, number
from understudy.core.answers.arithmetic import write_number

WORDS = [
    "answer",
    "Answers",
    "ANSWER:",
    "options",
    "adoption",
    "so,",
    "the",
    "x",
    "foo.",
    "**",
    "\u017fo",
    "opt\u0131on",
    "\u0130n",
    "é",
]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", "  ", "\n", "", ", ", "\t"]))).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)


@given(TEXTS)
def test_telling_words_are_those_that_the_pattern_finds(text):
    assert [m.span() for m in markers._find_words(text, 0, len(text))] == [m.span() for m in markers._WORD.finditer(text)]


@given(TEXTS)
def test_what_stands_before_a_telling_word_is_found_as_in_the_whole_window(text):
    window = text[-90:]
    whole = markers._BEFORE.search(window)
    short = markers._BEFORE.search(window, len(window) - len(markers._SIGN.split(window)[-1]))
    assert (whole.span(), whole.groupdict()) == (short.span(), short.groupdict())


@given(st.from_regex(number._WHOLE, fullmatch=True), st.booleans())
def test_a_whole_number_alone_is_what_the_parser_reads(span, strict):
    found = number._read_run(span, len(span) - len(span.lstrip()))
    assert number.read(span, strict=strict) == number._read_rest(span, found)
    assert (
        number.read(span, strict=strict).value == write_number(Fraction(int(span.strip().rstrip(".")))) == write_number(found.value)
    )
