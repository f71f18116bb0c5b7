"""Ask an engine for one reply, as most tests do."""


async def ask_one(engine, request):
    """The reply to one request."""
    answer = await engine.replies([request])
    return answer.replies[0]
