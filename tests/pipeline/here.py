"""A stage run in this process, as a worker would run it."""

from understudy.pipeline.run import finish_stage
from understudy.pipeline.stage import Context


def perform(stage, run):
    """What the stage says of itself; it is done in ``run`` afterwards."""
    stage.directory(run).mkdir(parents=True, exist_ok=True)
    summary = stage.run(Context(run))
    finish_stage(stage, summary, 0.0, run)
    return summary


def stages_of(plan, arm, what):
    """(seed, name) -> the stages of ``plan`` that are ``what`` to the arm."""
    return {(place.seed, place.name): stage for place, stage in plan.places.items() if (place.arm, place.what) == (arm, what)}
