"""Keys over HTTP: given out, listed without their secrets, revoked."""

from litestar import Router
from litestar.types import ASGIApp

from sprocket_factory.endpoints.answers import Answer, no_content, stored
from sprocket_factory.endpoints.formats import MEDIA_TYPES
from sprocket_factory.endpoints.headers import SECRET
from sprocket_factory.endpoints.listing import answer_list, grammar_of
from sprocket_factory.endpoints.reading import read_body
from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest, delete, get, post
from sprocket_factory.entities.key import (
    KEYS,
    Key,
    KeyWithSecret,
    NewKey,
    add_key,
    find_key,
    no_key,
    remove_key,
)
from sprocket_factory.errors import Conflict, NotFound, Stale
from sprocket_factory.observe import security_log


@get("/", role="admin", gives=list[Key], media_types=MEDIA_TYPES, parameters=grammar_of(KEYS))
async def get_keys(request: ApiRequest) -> ASGIApp:
    """List the keys, without their secrets."""
    return await answer_list(request, KEYS)


@post("/", role="admin", reads=NewKey, gives={201: KeyWithSecret}, headers=SECRET)
async def post_key(request: ApiRequest) -> ASGIApp:
    """Make a key. The answer has its secret, which is never shown again."""
    key = await request.write(add_key, await read_body(request, NewKey))
    security_log.warning("key made", key_id=key.id, role=key.role, by=request.caller.id)
    return stored(key, f"{BASE_PATH}/keys/{key.id}", is_new=True)


@get("/{key_id:str}", role="admin", gives=Key, refuses=(NotFound,))
async def get_key(request: ApiRequest) -> ASGIApp:
    """Return one key, without its secret."""
    return Answer(await find_key(request.database, request.id_in_path("key_id", no_key)))


@delete("/{key_id:str}", role="admin", gives={204: None}, conditional=True, refuses=(NotFound, Stale, Conflict))
async def delete_key(request: ApiRequest) -> ASGIApp:
    """Revoke one key, but not the last of an administrator's. The next request that carries it is refused."""
    key_id = request.id_in_path("key_id", no_key)
    await request.write(remove_key, key_id, request.expected)
    request.callers.forget()
    security_log.warning("key revoked", key_id=key_id, by=request.caller.id)
    return no_content


keys = Router("/keys", route_handlers=[get_keys, post_key, get_key, delete_key])
