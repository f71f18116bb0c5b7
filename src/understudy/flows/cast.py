"""Who plays which role, and how: everything a driver needs besides the flows themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy.core.asks import Call, Decoding
from understudy.core.errors import EngineError
from understudy.core.protocols import Engine, ReplyStore
from understudy.core.values import digest


@dataclass(frozen=True)
class Cast:
    """The engines that play the roles: ``engines`` maps each role to its engine.

    ``decoding`` maps a role to the decoding of its calls that name none; a role that is missing is greedy. ``folds`` maps a role
    to its fold models, which answer the calls ``out_of_fold``. ``store`` is asked for every reply first and gets every new reply.
    ``seed`` is recorded with the replies.
    """

    engines: Mapping[str, Engine]
    decoding: Mapping[str, Decoding] = field(default_factory=dict)
    folds: Mapping[str, Sequence[Engine]] = field(default_factory=dict)
    store: ReplyStore | None = None
    seed: int = 0

    def engine(self, call: Call, problem: str) -> Engine:
        """Return the engine that answers ``call`` of a flow of ``problem``. Raises EngineError if nobody plays its role."""
        if call.out_of_fold:
            if call.role not in self.folds:
                raise EngineError(f"a flow called the role {call.role!r} out of fold, but this role has no fold models")
            models = self.folds[call.role]
            return models[assign_fold(problem, len(models))]
        if call.role not in self.engines:
            raise EngineError(f"no engine plays the role {call.role!r} (roles: {', '.join(self.engines) or 'none'})")
        return self.engines[call.role]


def assign_fold(problem: str, n_folds: int) -> int:
    """Return the fold that holds ``problem`` out: a stable hash of its id. The k-th model of a role was not trained on fold k."""
    return int(digest(["fold", problem]), 16) % n_folds
