"""Open an endpoint, ask an engine for one reply, and look into a ledger, as most tests do."""

from understudy.engines.remote.endpoint import EndpointEngine
from understudy.engines.remote.options import Endpoint


def open_endpoint(url, model="tiny", *, wait=1.0, **options):
    """The engine of the server at ``url``; one request asks it for one reply, where ``options`` do not say otherwise."""
    return EndpointEngine(Endpoint(url, model, **{"n": 1} | options), wait=wait)


async def ask_one(engine, request):
    """The reply to one request."""
    answer = await engine.replies([request])
    return answer.replies[0]


def read_keys(ledger):
    """The keys of the committed replies."""
    with ledger.reading() as reader:
        return [key for (key,) in reader.execute("SELECT key FROM replies")]
