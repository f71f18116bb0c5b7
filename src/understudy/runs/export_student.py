"""Export a student to other runtimes, with a model card: as a GGUF file for llama.cpp, LM Studio and Ollama (with Ollama's
Modelfile), or as a directory for CTranslate2."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from understudy.core.asks import Call, SamplePath
from understudy.core.errors import UserError
from understudy.core.tokens import encode_source, find_turn, render_messages
from understudy.core.values import Problem
from understudy.corpus.card import require_terms
from understudy.corpus.store import write_text
from understudy.engines.local.checkpoint import read_config, read_context
from understudy.pipeline.card import read_card
from understudy.pipeline.stages.student import LEARNED
from understudy.reports.documents import open_template
from understudy.sampling.pool import StudyPool

MODEL, MODELFILE, README = "student.gguf", "Modelfile", "README.md"
_QUESTION = "\0question\0"
Format = Literal["gguf", "ctranslate2"]


def export_student(student: Path, to: Path, *, format: Format = "gguf", no_terms: bool = False) -> dict[str, object]:
    """Write the student in the directory ``student`` into the new directory ``to``, which appears whole; return what was written,
    for people. The student must answer in one call. Raises CheckpointError if the runtime would answer otherwise than the student,
    and UserError if the student's card lacks terms or licence, unless ``no_terms``."""
    from understudy.engines.local.ctranslate2_write import write_ctranslate2
    from understudy.engines.local.gguf_write import write_gguf
    from understudy.engines.local.load import load_config, load_tokenizer

    card = read_card(student)
    method = card.make_method()
    if card.students or len(method.roles) > 1 or card.decode.calculator:
        reason = "has a calculator" if card.decode.calculator else f"answers in turns with others ({', '.join(method.roles)})"
        raise UserError(f"{student}: {reason}, which a model file cannot express; serve it instead: understudy serve {student}")
    if to.exists():
        raise UserError(f"--to {to}: already exists; give a new directory")
    if not no_terms:
        require_terms(student, card)
    tokenizer = load_tokenizer(student)
    problem = Problem("question", _QUESTION, card.kind, form=card.form)
    call = next(method.solve(problem, SamplePath(problem.id, 0, card.seed), StudyPool()))
    assert isinstance(call, Call), "one call for one student"
    prompt = render_messages(tokenizer, call.prompt) if not isinstance(call.prompt, str) else call.prompt
    end = find_turn(tokenizer, call.prompt).end if not isinstance(call.prompt, str) else tokenizer.eos_token_id
    values: dict[str, Any] = {"name": student.resolve().name, "card": card, "call": call, "how": card.decode.decoding}
    values |= {"format": format, "prompt": prompt.replace(_QUESTION, "your question"), "model": MODEL}
    to.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as folder:
        directory = Path(folder) / to.name
        directory.mkdir()
        if format == "gguf":
            write_gguf(student, directory / MODEL, end=end)
            # https://docs.ollama.com/modelfile: lets Ollama ask it as its evaluation did.
            values["template"] = prompt.replace("{{", '{{ "{{" }}').replace(_QUESTION, "{{ .Prompt }}")
            values["context"] = read_context(read_config(student))
            write_text(directory / MODELFILE, open_template("modelfile.txt").render(values))
        else:
            ends = write_ctranslate2(student, directory)
            # The program in the card needs this to make the same tokens as the evaluation.
            raw, seq2seq = isinstance(call.prompt, str), load_config(student).is_encoder_decoder
            has_start = raw and not seq2seq and encode_source(tokenizer, "", seq2seq=False) == [tokenizer.bos_token_id]
            values |= {"raw": raw, "seq2seq": seq2seq, "first": repr(tokenizer.bos_token) if has_start else "", "ends": ends}
            values["expression"] = " + question + ".join(map(repr, prompt.split(_QUESTION)))
        write_text(directory / README, open_template("student.txt").render(values))
        if format == "gguf" and (student / LEARNED).is_file():  # a study may start from the file, and asks what it learned from
            shutil.copy(student / LEARNED, directory)
        directory.rename(to)
    model = to / (MODEL if format == "gguf" else "model")
    size = sum(path.stat().st_size for path in (model, *model.rglob("*")) if path.is_file())
    modelfile = {"Modelfile": to / MODELFILE} if format == "gguf" else {}
    style = "raw text" if isinstance(call.prompt, str) else "its chat template"
    return {"model": f"{model} ({size:,} bytes)", **modelfile, "card": to / README, "prompt": style}
