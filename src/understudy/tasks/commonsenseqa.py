"""CommonsenseQA: five options, one right by common sense (Talmor et al. 2019, arXiv 1811.00937). MIT licence.

    {"answerKey": "A", "id": "0a1b", "question": {"question_concept": "umbrella", "choices": [{"label": "A", "text": "rain"},
     {"label": "B", "text": "sunday"}, {"label": "C", "text": "music"}, {"label": "D", "text": "sleep"}, {"label": "E", "text":
     "salt"}], "stem": "What would make somebody open an umbrella?"}}

Get: tau-nlp.org/commonsenseqa (train_rand_split.jsonl, dev_rand_split.jsonl; test_rand_split_no_answers.jsonl), or
huggingface.co/datasets/tau/commonsense_qa (the question is a text, the choices are lists of labels and texts, next to
question_concept; the loading script of `datasets` has both). Splits: 9,741 train, 1,221 dev. The published test has no answers, so
the published dev is test, as in the papers, and `dev` questions are held out of train.
"""

from dataclasses import dataclass

from understudy.core.values import Problem
from understudy.tasks.data_sets import AtLeastOne, FilePatterns, PublishedRow, PublishedSet, hub


@dataclass(frozen=True)
class CommonsenseQA(PublishedSet):
    """CommonsenseQA: answers of kind ``option``. Test is the published dev, because the published test has no answers."""

    dev: AtLeastOne = 1000
    """The number of questions held out of train by seed."""

    def layouts(self) -> list[FilePatterns]:
        return [{"train": ["train_rand_split.jsonl"], "test": ["dev_rand_split.jsonl"]}, hub(train="train", test="validation")]

    def problem(self, row: PublishedRow) -> Problem:
        return row.labelled_question(concept="question_concept")
