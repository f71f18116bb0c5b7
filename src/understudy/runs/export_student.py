"""A student for other runtimes: a GGUF file for llama.cpp, LM Studio and Ollama, with Ollama's Modelfile and a model card."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from understudy.core.asks import Call
from understudy.core.asks import Path as SamplePath
from understudy.core.errors import UserError
from understudy.core.tokens import assistant_turn, render_messages
from understudy.core.values import Problem
from understudy.engines.local.checkpoint import context_of, read_config
from understudy.pipeline.cache import write_text
from understudy.pipeline.card import Card, read_card
from understudy.sampling.pool import StudyPool

MODEL, MODELFILE, README = "student.gguf", "Modelfile", "README.md"
_QUESTION = "\0question\0"


def export_student(student: Path, to: Path, *, no_terms: bool = False) -> dict[str, object]:
    """Write the student in the directory ``student`` (one that is asked once for an answer) into the new directory ``to``, which
    appears whole; what was written, for people. Raises CheckpointError where llama.cpp would not answer as it does, and UserError
    where the student's card lacks terms or licence, unless ``no_terms``."""
    from understudy.engines.local.gguf_write import write_gguf
    from understudy.engines.local.load import load_tokenizer

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
        write_gguf(student, written / MODEL, end=end)
        write_text(written / MODELFILE, _write_modelfile(prompt, call, card, context_of(read_config(student))))
        write_text(written / README, _write_readme(student.name, prompt, call, card))
        written.rename(to)
    size = (to / MODEL).stat().st_size
    style = "its chat template" if chats else "raw text"
    return {"model": f"{to / MODEL} ({size:,} bytes)", "Modelfile": to / MODELFILE, "card": to / README, "prompt": style}


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


def _write_readme(name: str, prompt: str, call: Call, card: Card) -> str:
    votes = card.decode.votes
    voted = f" Its arm takes the majority of {votes} sampled answers, which one call does not do." if votes > 1 else ""
    stops = ", ".join(f"`{json.dumps(stop, ensure_ascii=False)}`" for stop in call.stop) or "its end token"
    lineage = "\n".join(f"- {what}: `{folder}`" for what, folder in card.lineage.items())
    return f"""# {name}

A small model that was taught to reason step by step by Understudy, with the method `{card.method}`, as a GGUF file in float32.

## Ask it

    ollama create {name} -f {MODELFILE} && ollama run {name} "your question"

With llama.cpp, give it this prompt, without a token before it, at temperature {card.decode.decoding.temperature:g}, up to \
{call.max_tokens} tokens, and stop at {stops}:

    {prompt.replace(_QUESTION, "your question").replace(chr(10), chr(10) + "    ")}

Its answers are of the kind "{card.kind}".{voted} llama.cpp is tested to read the same tokens and to give the same greedy answer
as the student in float32; quantised further, it may answer otherwise. `understudy serve` and transformers run the directory that it
was made of.

## Where it comes from

- first weights: {card.weights or "see the run's report"}
- trained with seed {card.seed} on {card.training_device or "a processor"} in {card.training_precision or card.precision}
- the teacher's texts, terms: {card.terms or "not stated"}
- questions, licence: {card.licence or "not stated"}

{lineage}
"""
