"""A student for other runtimes, with a model card: a GGUF file for llama.cpp, LM Studio and Ollama, with Ollama's Modelfile, or a
directory for CTranslate2."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from understudy.core.asks import Call, SamplePath
from understudy.core.errors import UserError
from understudy.core.tokens import assistant_turn, encode_source, render_messages
from understudy.core.values import Problem
from understudy.engines.local.checkpoint import context_of, read_config
from understudy.pipeline.cache import write_text
from understudy.pipeline.card import Card, read_card
from understudy.sampling.pool import StudyPool

MODEL, MODELFILE, README = "student.gguf", "Modelfile", "README.md"
_QUESTION = "\0question\0"
Format = Literal["gguf", "ctranslate2"]


def export_student(student: Path, to: Path, *, format: Format = "gguf", no_terms: bool = False) -> dict[str, object]:
    """Write the student in the directory ``student`` (one that is asked once for an answer) into the new directory ``to``, which
    appears whole; what was written, for people. Raises CheckpointError where the runtime would not answer as it does, and UserError
    where the student's card lacks terms or licence, unless ``no_terms``."""
    from understudy.engines.local.ctranslate2_write import write_ctranslate2
    from understudy.engines.local.gguf_write import write_gguf
    from understudy.engines.local.load import load_config, load_tokenizer

    card = read_card(student)
    method = card.make_method()
    if card.students or len(method.roles) > 1 or card.decode.calculator:
        what = "has a calculator" if card.decode.calculator else f"answers in turns with others ({', '.join(method.roles)})"
        raise UserError(f"{student}: {what}, which a model file cannot say; serve it: understudy serve {student}")
    if to.exists():
        raise UserError(f"--to {to}: is there already; give a new directory")
    if not ((card.terms and card.licence) or no_terms):
        lacks = " and ".join(name for name, said in (("terms", card.terms), ("licence", card.licence)) if not said)
        raise UserError(
            f"{student}: its card lacks {lacks}, which whoever gets the file must know. Set them in the study's [corpus] and "
            "run it again; --no-terms exports without them"
        )
    tokenizer = load_tokenizer(student)
    call = _first_call(method, card)
    chats = not isinstance(call.prompt, str)
    prompt = render_messages(tokenizer, call.prompt) if not isinstance(call.prompt, str) else call.prompt
    end = assistant_turn(tokenizer, call.prompt).end if not isinstance(call.prompt, str) else tokenizer.eos_token_id
    to.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as folder:
        written = Path(folder) / to.name
        written.mkdir()
        if format == "gguf":
            write_gguf(student, written / MODEL, end=end)
            write_text(written / MODELFILE, _write_modelfile(prompt, call, card, context_of(read_config(student))))
            ask = _ask_llama_cpp(student.name, prompt, call, card)
        else:
            ends = write_ctranslate2(student, written)
            ask = _ask_ctranslate2(prompt, call, card, tokenizer, ends, seq2seq=load_config(student).is_encoder_decoder)
        write_text(written / README, _write_readme(student.name, ask, card))
        written.rename(to)
    model = to / (MODEL if format == "gguf" else "model")
    size = sum(path.stat().st_size for path in (model, *model.rglob("*")) if path.is_file())
    modelfile = {"Modelfile": to / MODELFILE} if format == "gguf" else {}
    style = "its chat template" if chats else "raw text"
    return {"model": f"{model} ({size:,} bytes)", **modelfile, "card": to / README, "prompt": style}


def _first_call(method: Any, card: Card) -> Call:
    """What the student is asked for a question."""
    problem = Problem("question", _QUESTION, card.kind, form=card.form)
    call = next(method.solve(problem, SamplePath(problem.id, 0, card.seed), StudyPool()))
    assert isinstance(call, Call), "one call for one student"
    return call


def _write_modelfile(prompt: str, call: Call, card: Card, context: int | None) -> str:
    """https://docs.ollama.com/modelfile: how Ollama asks it as its evaluation did."""
    template = prompt.replace("{{", '{{ "{{" }}').replace(_QUESTION, "{{ .Prompt }}")
    facts = {
        "temperature": card.decode.decoding.temperature,
        "num_predict": call.max_tokens,
        **({} if context is None else {"num_ctx": context}),
    }
    lines = [f"FROM ./{MODEL}", f'TEMPLATE """{template}"""', *(f"PARAMETER {name} {value:g}" for name, value in facts.items())]
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in call.stop]
    lines += [f'LICENSE """{card.licence}"""'] if card.licence else []
    return "\n".join(lines) + "\n"


def _ask_llama_cpp(name: str, prompt: str, call: Call, card: Card) -> str:
    stops = ", ".join(f"`{json.dumps(stop, ensure_ascii=False)}`" for stop in call.stop) or "its end token"
    return f"""A GGUF file in float32:

    ollama create {name} -f {MODELFILE} && ollama run {name} "your question"

With llama.cpp, give it this prompt, without a token before it, at temperature {card.decode.decoding.temperature:g}, up to \
{call.max_tokens} tokens, and stop at {stops}:

    {_indent(prompt.replace(_QUESTION, "your question"))}

llama.cpp is tested to read the same tokens (of text in Unicode's form NFC) and to give the same greedy answer as the student in
float32; quantised further, it may answer otherwise."""


def _ask_ctranslate2(prompt: str, call: Call, card: Card, tokenizer: Any, ends: list[str], *, seq2seq: bool) -> str:
    """A program that makes the tokens that its evaluation made."""
    raw, how = isinstance(call.prompt, str), card.decode.decoding
    begins = raw and not seq2seq and encode_source(tokenizer, "", seq2seq=False) == [tokenizer.bos_token_id]
    drawn = f"sampling_topk=0, sampling_topp={how.top_p:g}, sampling_temperature={how.temperature:g}"
    options = ", ".join(
        [
            "beam_size=1, max_input_length=0" if seq2seq else "include_prompt_in_result=False",
            f"{'max_decoding_length' if seq2seq else 'max_length'}={call.max_tokens}",
            drawn if how.temperature else "sampling_topk=1",
            f"end_token={ends}",
        ]
    )
    frame = f", add_special_tokens={seq2seq}, split_special_tokens=True" if raw else ""
    lines = [
        "import ctranslate2, transformers",
        "",
        'question = "your question"',
        f"prompt = {' + question + '.join(map(repr, prompt.split(_QUESTION)))}",
        'tokenizer = transformers.AutoTokenizer.from_pretrained(".")',
        f"tokens = {f'[{tokenizer.bos_token!r}] + ' if begins else ''}tokenizer.tokenize(prompt{frame})",
        f'model = ctranslate2.{"Translator" if seq2seq else "Generator"}("model")',
        f"said = model.{'translate' if seq2seq else 'generate'}_batch([tokens], {options})",
        f"ids = {'tokenizer.convert_tokens_to_ids(said[0].hypotheses[0])' if seq2seq else 'said[0].sequences_ids[0]'}",
        "text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)",
        *([f"for stop in {list(call.stop)}:", "    text = text.partition(stop)[0]"] if call.stop else []),
        "print(text)",
    ]
    return f"""For CTranslate2, in float32. With `pip install ctranslate2 transformers`, in this directory:

    {_indent(chr(10).join(lines))}

When this was written, CTranslate2 was asked for the log-probabilities of a short text: they were those of transformers in float32.
In int8, it may answer otherwise."""


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")


def _write_readme(name: str, ask: str, card: Card) -> str:
    votes, beams = card.decode.votes, card.decode.beams
    voted = f" Its arm takes the majority of {votes} sampled answers, which one call does not do." if votes > 1 else ""
    voted += f" Its arm searches with {beams} beams, which this does not do." if beams > 1 else ""
    lineage = "\n".join(f"- {what}: `{folder}`" for what, folder in card.lineage.items())
    return f"""# {name}

A small model that was taught to reason step by step by Understudy, with the method `{card.method}`.

## Ask it

{ask}

Its answers are of the kind "{card.kind}".{voted} `understudy serve` and transformers run the directory that it was made of.

## Where it comes from

- first weights: {card.weights or "see the run's report"}
- trained with seed {card.seed} on {card.training_device or "a processor"} in {card.training_precision or card.precision}
- the teacher's texts, terms: {card.terms or "not stated"}
- questions, licence: {card.licence or "not stated"}

{lineage}
"""
