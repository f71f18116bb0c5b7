"""The verbs `import` (existing chains into a corpus) and `export` (a corpus, or what a run made, for other tools)."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from understudy.cli.arguments import FieldNames, add_json, add_plugins, add_questions
from understudy.cli.table import show_facts
from understudy.core.errors import UserError


def import_(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("chains", metavar="FILE", nargs="+", type=Path, help="files of chains")
    add_questions(parser, required=True)
    parser.add_argument("--format", metavar="NAME", default="", help="their format (default: detected from each file, and shown)")
    parser.add_argument("--to", metavar="CORPUS.parquet", required=True, type=Path, help="the corpus to write")
    fields = "a field of the chains that has another name: problem, question, text, reasoning, answer, teacher, tokens, ..."
    parser.add_argument("--field", action=FieldNames, default={}, dest="fields", metavar="OURS=THEIRS", help=fields)
    prefer = "which answer counts if a chain's text and its row disagree"
    parser.add_argument("--prefer", choices=("text", "recorded"), default="text", help=prefer)
    parser.add_argument("--terms", default="", help="terms under which the teacher's texts may be used, for the corpus's card")
    parser.add_argument("--licence", default="", help="licence of the questions, for the corpus's card")
    parser.add_argument("--skip-bad", action="store_true", help="skip rows that cannot be read; count and show them")
    add_json(parser, "print the report as JSON")
    options = vars(parser.parse_args(argv))
    as_json = options.pop("json")

    from understudy.runs.corpora import import_corpus

    show_facts(f"corpus: {options['to']}", import_corpus(**options), as_json=as_json)


_OF_STUDENTS = ("source", "to", "format", "no_terms")


def export(parser: ArgumentParser, argv: Sequence[str]) -> None:
    source = "a run directory or a corpus (.parquet); for gguf and ctranslate2 a student's directory (runs/NAME/students/ARM)"
    parser.add_argument("source", metavar="SOURCE", type=Path, help=source)
    target_help = "the file to write (its card is written beside it); for a student, a new directory"
    parser.add_argument("--to", metavar="FILE", required=True, type=Path, help=target_help)
    format_ = "chains: jsonl, messages, sharegpt, alpaca, ...; a student: gguf, ctranslate2"
    parser.add_argument("--format", metavar="NAME", required=True, help=format_)
    add_questions(parser, required=False)
    parser.add_argument("--arm", help="for a run: only the chains selected for this arm (default: all of the teacher's)")
    parser.add_argument("--what", choices=("chains", "examples"), default="chains", help="examples: what the student is taught")
    parser.add_argument("--bare", action="store_true", help="write rows without metadata; what they lose is counted")
    parser.add_argument("--no-terms", action="store_true", help="export even if the terms or the licence are not known")
    add_plugins(parser, "the method of the arm or of the student")
    add_json(parser, "print the report as JSON")
    options = vars(parser.parse_args(argv))
    as_json = options.pop("json")

    if options["format"] in ("gguf", "ctranslate2"):
        from understudy.runs.export_student import export_student

        if misplaced := [name for name in options if name not in _OF_STUDENTS and options[name] != parser.get_default(name)]:
            option = misplaced[0].replace("_fields", "-field")
            raise UserError(f"--{option}: applies only to exports of chains; leave it out for a student")
        facts = export_student(options["source"], options["to"], format=options["format"], no_terms=options["no_terms"])
    else:
        from understudy.runs.corpora import export_corpus

        facts = export_corpus(**options)
    show_facts(f"export: {options['to']}", facts, as_json=as_json)
