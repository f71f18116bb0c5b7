"""import and export: chains that somebody already has, into a corpus; a corpus or what a run made, for other tools."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from understudy.cli.arguments import FieldNames, add_json, add_questions
from understudy.cli.table import tell
from understudy.core.errors import UserError


def import_(parser: ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument("chains", metavar="FILE", nargs="+", type=Path, help="files of chains")
    add_questions(parser, required=True)
    parser.add_argument("--format", metavar="NAME", default="", help="of the chains; without it, read off each file, and said")
    parser.add_argument("--to", metavar="CORPUS.parquet", required=True, type=Path, help="the corpus to write")
    fields = "field of a chain where the names differ: problem, question, text, reasoning, answer, teacher, tokens, logprob, ..."
    parser.add_argument("--field", action=FieldNames, default={}, dest="fields", metavar="OURS=THEIRS", help=fields)
    prefer = "whose answer counts where text and row differ"
    parser.add_argument("--prefer", choices=("text", "recorded"), default="text", help=prefer)
    parser.add_argument("--terms", default="", help="under what terms the teacher's texts may be used: for the corpus's card")
    parser.add_argument("--licence", default="", help="of the questions: for the corpus's card")
    parser.add_argument("--skip-bad", action="store_true", help="count and show rows that cannot be read, and go on")
    add_json(parser, "the report as JSON")
    wanted = vars(parser.parse_args(argv))
    as_json = wanted.pop("json")

    from understudy.runs.corpora import import_corpus

    tell(f"corpus: {wanted['to']}", import_corpus(**wanted), as_json=as_json)


_OF_STUDENTS = ("source", "to", "format", "no_terms")


def export(parser: ArgumentParser, argv: Sequence[str]) -> None:
    source = "a run directory or a corpus (.parquet); for gguf and ctranslate2 a student's directory (runs/NAME/students/ARM)"
    parser.add_argument("source", metavar="SOURCE", type=Path, help=source)
    to = "the file to write; its card is written beside it. For a student, a new directory"
    parser.add_argument("--to", metavar="FILE", required=True, type=Path, help=to)
    format_ = "chains: jsonl, messages, sharegpt, alpaca, ...; a student: gguf, ctranslate2"
    parser.add_argument("--format", metavar="NAME", required=True, help=format_)
    add_questions(parser, required=False)
    parser.add_argument("--arm", help="of a run: the chains selected for this arm (default: all of the teacher's)")
    parser.add_argument("--what", choices=("chains", "examples"), default="chains", help="examples: what the student is taught")
    parser.add_argument("--bare", action="store_true", help="rows without metadata; what they lose is counted")
    parser.add_argument("--no-terms", action="store_true", help="export although terms or licence are not known")
    add_json(parser, "the report as JSON")
    wanted = vars(parser.parse_args(argv))
    as_json = wanted.pop("json")

    if wanted["format"] in ("gguf", "ctranslate2"):
        from understudy.runs.export_student import export_student

        if of_chains := [name for name in wanted if name not in _OF_STUDENTS and wanted[name] != parser.get_default(name)]:
            option = of_chains[0].replace("_fields", "-field")
            raise UserError(f"--{option}: says which chains are exported; leave it out for a student")
        said = export_student(wanted["source"], wanted["to"], format=wanted["format"], no_terms=wanted["no_terms"])
    else:
        from understudy.runs.corpora import export_corpus

        said = export_corpus(**wanted)
    tell(f"export: {wanted['to']}", said, as_json=as_json)
