"""How the optimizer changes weights, where a study does not say: as the student is, or as a preset says."""

from dataclasses import asdict

import pytest
import torch

from understudy.core.errors import StudyError
from understudy.studies.schema import build
from understudy.training.optimizer import Optimizer, factor
from understudy.training.options import RECIPES, Lora, StudentOptions, TrainingOptions, complete_recipe

SCRATCH = StudentOptions()
PRETRAINED = StudentOptions(checkpoint="somewhere")
ADAPTED = StudentOptions(checkpoint="somewhere", lora=Lora())


@pytest.mark.parametrize(("student", "kind"), [(SCRATCH, "scratch"), (PRETRAINED, "checkpoint"), (ADAPTED, "lora")])
def test_the_values_that_are_not_given_follow_the_student(student, kind):
    assert complete_recipe(TrainingOptions(), student) == RECIPES[kind]


def test_a_checkpoint_is_never_trained_by_muon_or_at_the_rate_of_a_student_from_scratch_unless_it_is_told():
    for kind in ("checkpoint", "lora", "scotd"):
        assert RECIPES[kind].optimizer == "adamw"
        assert RECIPES[kind].learning_rate <= RECIPES["scratch"].learning_rate / 10
    told = complete_recipe(TrainingOptions(optimizer="muon", learning_rate=1e-3), PRETRAINED)
    assert (told.optimizer, told.learning_rate, told.clip) == ("muon", 1e-3, 1.0)


def test_a_preset_gives_the_rest_and_what_is_given_counts():
    found = complete_recipe(TrainingOptions(preset="scotd", clip=2.0), SCRATCH)
    assert (found.optimizer, found.learning_rate, found.eps, found.warmup, found.schedule) == ("adamw", 2e-5, 1e-5, 500, "linear")
    assert found.clip == 2.0


def test_settled_options_say_every_value_and_settle_to_themselves():
    settled = TrainingOptions(warmup=7).settle(PRETRAINED)
    assert asdict(complete_recipe(settled, PRETRAINED)).items() <= asdict(settled).items()
    assert settled.settle(SCRATCH) == settled


def test_warm_up_is_a_share_of_the_steps_or_their_number():
    share, number = (complete_recipe(TrainingOptions(warmup=w, schedule="constant"), SCRATCH) for w in (0.1, 20))
    assert [factor(step, 200, share) for step in (0, 9, 19, 100)] == [1 / 20, 10 / 20, 1, 1]
    assert [factor(step, 200, number) for step in (0, 9, 19, 100)] == [1 / 20, 10 / 20, 1, 1]
    assert [factor(step, 1000, number) for step in (9, 19, 20)] == [10 / 20, 1, 1]


def test_the_optimizer_is_made_as_the_recipe_says():
    model = torch.nn.Linear(3, 2)
    recipe = complete_recipe(TrainingOptions(preset="scotd", betas=(0.8, 0.99), weight_decay=0.1), PRETRAINED)
    (part,) = Optimizer(model, recipe, 10, precision="float32").optimizers
    (group,) = part.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (2e-5, (0.8, 0.99), 1e-5, 0.1)


@pytest.mark.parametrize("wrong", [{"betas": [0.9]}, {"betas": [0.9, 1.0]}, {"eps": 0}, {"preset": "socratic"}, {"clip": -1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(StudyError, match=rf"training\.{next(iter(wrong))}"):
        build(TrainingOptions, wrong, "training")
