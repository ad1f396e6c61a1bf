"""The product with all that observes it taken out: no request id, no log line, no metrics, no timing of the database.

What is left is the product's own code, so what it takes less is what observing costs.
"""

from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from sprocket_factory import observe, observe_statements


class Unnoted:
    """Notes nothing."""

    __slots__ = ()

    def __init__(self, *_anything: Any, **_more: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def leave_alone(app: ASGIApp, *_anything: object, **state: object) -> ASGIApp:
    """Give a request its state and the answer its headers, and do nothing else."""

    async def unobserved(scope: Scope, receive: Receive, send: Send) -> None:
        own: dict[str, Any] = {"request_id": "", "headers": (), "more_headers": (), **state}
        scope["state"] = own

        async def send_alone(message: Message) -> None:
            if message["type"] == "http.response.start":
                own["answered"] = message["status"]
                message["headers"] = [*message["headers"], *own["headers"], *own["more_headers"]]
            await send(message)

        await app(scope, receive, send_alone)

    return unobserved


observe.observe_requests = leave_alone
for name in ("read_noted", "list_noted", "write_noted"):
    setattr(observe_statements, name, Unnoted)

if __name__ == "__main__":
    from sprocket_factory.commands import main  # only now: it takes what it finds

    main()
