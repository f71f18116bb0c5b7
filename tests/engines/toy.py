"""A toy method with everything a driver has to carry: two roles, an out-of-fold stage, a retry, a list of calls, a vote."""

from understudy.core.asks import Call, Decoding, Reply
from understudy.core.values import Solution
from understudy.core.vote import vote
from understudy.flows.cast import assign_fold

PLANNER, SOLVER = ("planner-0", "planner-1"), "solver"


def toy(problem, path):
    """Plan out of fold (again where the plan is empty), solve three ways by its double, vote."""
    attempt = 0
    while True:
        plan = yield Call("planner", f"plan {problem}", attempt=attempt, out_of_fold=True, decoding=Decoding(1.0))
        if plan.text or attempt == 3:
            break
        attempt += 1
    double = str(2 * int(plan.text or 0))
    replies = yield [Call("solver", f"solve {problem} by {double}, {i}", decoding=Decoding(0.7)) for i in range(3)]
    solutions = [
        Solution(problem, i, reply.text, reply.text, "marker", tokens=reply.tokens, logprob=-1.0) for i, reply in enumerate(replies)
    ]
    winner = vote(solutions).answer
    return Solution(problem, path.index, f"{plan.text} {double} {winner}", winner, "vote", logprob=-0.25 * len(winner))


def plan_reply(fold):
    """Fold ``fold`` of the planner: empty at the first attempt for every third problem."""

    def say(request):
        number = int(request.ask.prompt.split()[1].split("-")[1])
        empty = number % 3 == 0 and request.ask.attempt == 0
        return Reply("" if empty else f"{number + 10 * request.path + fold}", tokens=1)

    return say


def solve_reply(request):
    words = request.ask.prompt.split()
    return Reply(words[3].rstrip(",") if words[4] != "2" else "other", tokens=2)


def expected(problem, path):
    number = int(problem.split("-")[1])
    planned = number + 10 * path + assign_fold(problem, 2)
    answer = str(2 * planned)
    return f"{planned} {answer} {answer}", -0.25 * len(answer)
