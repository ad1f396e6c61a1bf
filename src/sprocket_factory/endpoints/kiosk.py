"""The link of a screen on the wall: whoever opens it looks at the board from then on, and can do nothing else.

The link holds a viewer's key. It is exchanged at once, so that the key stands in no address that is shown or sent on.
"""

from litestar.enums import HttpMethod
from litestar.types import ASGIApp

from sprocket_factory.access.callers import OPEN
from sprocket_factory.endpoints.answers import SeeOther
from sprocket_factory.endpoints.headers import NOWHERE, PRIVATE
from sprocket_factory.endpoints.pages import BOARD, page
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.endpoints.sign_in import let_in
from sprocket_factory.errors import Forbidden, NotFound, WrongCredentials

WALL = "/board/wall"

UNTOLD = tuple(
    {b"referrer-policy": (b"referrer-policy", b"no-referrer"), PRIVATE[0]: NOWHERE}.get(header[0], header)
    for header in BOARD
)
"""For what lies at an address that is itself a secret."""


@page("/board/kiosk/{key:str}", role=OPEN, headers=UNTOLD)
async def get_kiosk(request: ApiRequest) -> ASGIApp:
    """Let a screen look at the board. Raises NotFound, Forbidden and TooMany."""
    try:
        holder = await request.callers.find_by_key(request.scope, request.scope["path_params"]["key"])
        if holder.role != "viewer":
            raise Forbidden("The link of a screen takes a viewer's key, and no other.", hint="Make one.")
        if request.scope["method"] == HttpMethod.HEAD:  # who shows what a link leads to is no screen
            return SeeOther(WALL)
        if await _is_somebody(request):
            return SeeOther(WALL)
        return await let_in(request, request.sessions.of_key(holder, is_screen=True), WALL, "link")
    except WrongCredentials:
        raise NotFound("This link leads nowhere, or nowhere any more.", hint="An administrator gives it out.") from None


async def _is_somebody(request: ApiRequest) -> bool:
    """Return whether somebody has signed in there, who is not to become a screen: a link may be anybody's."""
    session = await request.sessions.find(request.scope)
    return session is not None and not session.is_screen
