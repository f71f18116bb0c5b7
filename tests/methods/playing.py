"""Methods played through: by scripted engines, and by students that say exactly what the examples teach."""

from understudy.core.asks import Reply, SamplePath
from understudy.core.values import Chain, Problem, Step
from understudy.engines.scripted import ScriptedEngine
from understudy.flows.cast import Cast
from understudy.flows.drive import drive
from understudy.sampling.pool import StudyPool

EMPTY = StudyPool()
ROLES = ("teacher", "student", "rationale", "answer", "planner", "decomposer", "solver")

SUM = Problem("p", "What is 2 + 3?", "number", "5")
CHOICE = Problem("c", "Which is cold?", "option", "B", choices=("the sun", "ice"))
CLAIM = Problem("y", "Is ice cold?", "yes_no", "yes")
COINS = Problem("n", "Ana has 4 coins, finds 3 and loses 5. How many has she?", "number", "2")
STEPS = (Step("She has 4 + 3 = 7.", "How many has she then?"), Step("That leaves 7 - 5 = 2.", "How many are left?"))
SOCRATIC = Chain("n", 0, "", "She has 4 + 3 = 7. That leaves 7 - 5 = 2.", "2", "marker", "t", steps=STEPS)


def chain(problem, rationale, answer, path=0):
    return Chain(problem.id, path, f"{rationale} {answer}", rationale, answer, "marker", "t")


def play(flow, script="", *, problem="p", folds=None, index=0):
    """The value of ``flow`` and what it asked. ``script``: a function of the request, one reply for everything, or replies in
    order. ``folds``: role -> what each of its fold models says."""
    engine = ScriptedEngine(_script(script))
    models = {role: [ScriptedEngine(_script(said), identity=said) for said in texts] for role, texts in (folds or {}).items()}
    (done,) = drive([(SamplePath(problem, index), flow)], Cast(dict.fromkeys(ROLES, engine), folds=models))
    assert done.error is None, done.error
    return done.value, [request.ask for request in engine.asked]


def _script(said):
    if isinstance(said, str | Reply):
        return lambda _: said
    replies = iter(said) if isinstance(said, list) else None
    return (lambda _: next(replies)) if replies else said


def texts(examples, role=None):
    """(what is read, what is learned) of ``examples``; messages one after the other."""
    return [
        (e.source or "|".join(m.content for m in e.messages), "".join(s.text for s in e.target))
        for e in examples
        if role in (None, e.role)
    ]


def asked(calls):
    """(role, prompt) of every call."""
    return [(c.role, c.prompt if isinstance(c.prompt, str) else "|".join(m.content for m in c.prompt)) for c in calls]


def made(method, problem, chains, pool=EMPTY, **more):
    """The examples of ``method`` of these ``chains``."""
    return play(method.examples(problem, chains, pool), problem=problem.id, **more)[0]


def solved(method, problem, script, pool=EMPTY, index=0):
    """The solution of ``method``, and what it asked."""
    return play(method.solve(problem.blind(), SamplePath(problem.id, index), pool), script, problem=problem.id, index=index)


def taught(method, examples):
    """A script for students who have learned ``examples`` by heart."""
    parts = getattr(method, "parts", {"student": "student"})
    known = {}
    for example in examples:
        known.setdefault((example.role, example.messages or example.source), "".join(s.text for s in example.target))
    return lambda request: known[parts[request.ask.role], request.ask.prompt]
