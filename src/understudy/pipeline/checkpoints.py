"""The checkpoints that a study starts from or asks: found, and looked at before anything is sampled or trained."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

from understudy.core.errors import CheckpointError, StudyError
from understudy.engines.local.checkpoint import files_of, find_checkpoint, has_chat_template, look_at
from understudy.pipeline.card import CARD
from understudy.studies.options import Arm
from understudy.studies.study import Study
from understudy.training.options import StudentOptions


def started(study: Study, arm: Arm, student: StudentOptions, where: str) -> StudentOptions:
    """``student`` with its checkpoint as a directory that was looked at. Raises StudyError, naming its table ``where``, where
    it cannot be used."""
    if student.checkpoint is None:
        return student
    if student.lora is not None and importlib.util.find_spec("peft") is None:
        raise StudyError(f"{where}.lora needs peft, which is not installed: pip install 'understudy[lora]'")
    directory = checkpoint_of(study, student.checkpoint, f"{where}.checkpoint", chats=study.method(arm).format.style == "messages")
    return replace(student, checkpoint=str(directory))


def checkpoint_of(study: Study, name: str, where: str, *, chats: bool) -> Path:
    """The directory that the study calls ``name``: a path or a model of the hub. ``chats``: it is asked with messages."""
    try:
        directory = find_checkpoint(name, study.root)
        look_at(directory)
    except CheckpointError as error:
        raise StudyError(f"{where} = {name!r}: {error}") from error
    if chats and not has_chat_template(directory):
        raise StudyError(
            f"{where} = {name!r}: {directory} has no chat template (chat_template.jinja, or in tokenizer_config.json), and the "
            'format is style = "messages"; use style = "raw", or take a model that was tuned for chats'
        )
    return directory


def deciding_files(directory: Path) -> list[Path]:
    """The files of a checkpoint that a stage depends on: what decides its replies, and its card."""
    return [*files_of(directory), *(path for path in [directory / CARD] if path.is_file())]
