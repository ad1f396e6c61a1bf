"""The one place where all parts meet."""

import asyncio
from typing import TYPE_CHECKING

from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from sprocket_factory.access.callers import Callers
from sprocket_factory.access.limits import Quotas
from sprocket_factory.access.oidc_claims import read_rules
from sprocket_factory.access.proxies import Proxies
from sprocket_factory.access.sessions import Sessions
from sprocket_factory.database import Database
from sprocket_factory.endpoints.asking import ask_endpoints
from sprocket_factory.endpoints.attainment import attainment
from sprocket_factory.endpoints.board import Board, get_overview_page, get_wall_page
from sprocket_factory.endpoints.board_changes import get_changes_page
from sprocket_factory.endpoints.board_factories import get_factory_page, get_new_factory_page
from sprocket_factory.endpoints.board_files import get_board_file
from sprocket_factory.endpoints.board_keys import get_keys_page
from sprocket_factory.endpoints.board_removals import removals
from sprocket_factory.endpoints.board_sprockets import get_new_sprocket_page, get_sprocket_page, get_sprockets_page
from sprocket_factory.endpoints.changes import changes
from sprocket_factory.endpoints.docs import docs_handlers
from sprocket_factory.endpoints.drawings import drawings
from sprocket_factory.endpoints.events import events
from sprocket_factory.endpoints.events_tail import Feed
from sprocket_factory.endpoints.factories import factories
from sprocket_factory.endpoints.headers import check_public_url, protect_answers, read_origins
from sprocket_factory.endpoints.keys import keys
from sprocket_factory.endpoints.kiosk import get_kiosk
from sprocket_factory.endpoints.me import get_me
from sprocket_factory.endpoints.openapi import describe_api
from sprocket_factory.endpoints.problem_pages import get_problem
from sprocket_factory.endpoints.production import production
from sprocket_factory.endpoints.routing import BASE_PATH, ApiRequest
from sprocket_factory.endpoints.sign_in import sign_in_handlers
from sprocket_factory.endpoints.sprockets import sprockets
from sprocket_factory.endpoints.status import Status, metrics_alone, status_handlers
from sprocket_factory.endpoints.streaming import Listers
from sprocket_factory.entities.instant import SECOND
from sprocket_factory.errors import Unusable
from sprocket_factory.observe import observe_requests
from sprocket_factory.server_limits import Limits
from sprocket_factory.settings import Settings, read_secret

if TYPE_CHECKING:
    from sprocket_factory.access.oidc import Issuer
    from sprocket_factory.access.oidc_sign_in import IssuerSignIn

API: list[HTTPRouteHandler | Router] = [
    sprockets,
    drawings,
    factories,
    production,
    attainment,
    events,
    keys,
    changes,
    get_me,
]
"""What stands under the base path."""

BOARD: list[HTTPRouteHandler | Router] = [
    get_overview_page,
    get_wall_page,
    get_factory_page,
    get_new_factory_page,
    get_sprockets_page,
    get_sprocket_page,
    get_new_sprocket_page,
    *removals,
    get_keys_page,
    get_changes_page,
    get_board_file,
]
"""The pages for people, and what they load."""


def build_app(settings: Settings, database: Database, stopping: asyncio.Event | None = None) -> ASGIApp:
    """Return the whole service as an ASGI application on an open database. `stopping` is set when it is to end."""
    stopping = stopping or asyncio.Event()
    issuer = trusted_issuer(settings)
    sessions = Sessions(
        database, seconds=settings.session_hours * 3600, public_url=settings.public_url, issuer=settings.oidc_issuer
    )
    return observe_requests(
        protect_answers(
            ask_endpoints(route_requests(settings)),
            Proxies(settings.trusted_proxies),
            read_origins(settings.cors_origins),
        ),
        stopping,
        database=database,
        status=Status(database, stopping),
        callers=Callers(database, settings.role_of_anonymous, issuer, settings.max_wrong_keys, sessions),
        sessions=sessions,
        issuer_sign_in=issuer_sign_in(settings, issuer),
        quotas=Quotas(settings.max_requests_per_minute) if settings.max_requests_per_minute else None,
        listers=Listers(database.max_streams, settings.list_seconds),
        feed=Feed(database, settings.max_event_clients),
        allowed_ahead=settings.max_ahead_seconds * SECOND,
        stale_after=settings.stale_after * SECOND,
        board=Board(database),
        running=set(),
    )


def build_metrics_app(database: Database, stopping: asyncio.Event) -> ASGIApp:
    """Return what gives the metrics alone, to whoever reaches it."""
    return metrics_alone(Status(database, stopping))


def check_settings(settings: Settings) -> None:
    """Raise Unusable where a setting cannot work, before anything is made."""
    check_public_url(settings.public_url)
    issuer_sign_in(settings, trusted_issuer(settings))
    Proxies(settings.trusted_proxies)
    read_origins(settings.cors_origins)


def limits_of(settings: Settings) -> Limits:
    """Return what clients may take of the server."""
    return Limits(**{name: getattr(settings, name) for name in Limits._fields})


def route_requests(settings: Settings) -> Litestar:
    """Return what knows every route, and finds the endpoint for a request (endpoints/asking.py)."""
    app = Litestar(
        [
            Router(BASE_PATH, route_handlers=API),
            *BOARD,
            *sign_in_handlers,
            get_kiosk,
            *docs_handlers,
            get_problem,
            *status_handlers,
        ],
        request_class=ApiRequest,
        logging_config=None,
        openapi_config=None,
        request_max_body_size=settings.max_body_bytes,
    )
    app.state.openapi = describe_api(app)
    return app


def trusted_issuer(settings: Settings) -> "Issuer | None":
    """Return the issuer whose access tokens are taken, if the settings name one.

    Raises:
        Unusable: A setting is missing or cannot be used, or what reads tokens is not installed.
    """
    if not settings.oidc_issuer:
        if settings.oidc_audience or settings.oidc_roles:
            raise Unusable("--oidc-audience and --oidc-roles say nothing without --oidc-issuer.")
        if settings.oidc_client_id:
            raise Unusable("--oidc-client-id says nothing without --oidc-issuer.")
        return None
    try:
        from sprocket_factory.access.oidc import Issuer  # noqa: PLC0415 - what it needs is installed where it is used
    except ModuleNotFoundError as error:
        raise Unusable(
            f"--oidc-issuer needs the package {error.name}, which is not installed.",
            hint="Install the service as sprocket-factory[oidc].",
        ) from error
    return Issuer(
        read_rules(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            role_claim=settings.oidc_role_claim,
            roles=settings.oidc_roles,
            factories_claim=settings.oidc_factories_claim,
            token_types=settings.oidc_token_types,
            leeway_seconds=settings.oidc_leeway_seconds,
        )
    )


def issuer_sign_in(settings: Settings, issuer: "Issuer | None") -> "IssuerSignIn | None":
    """Return what lets people sign in by this issuer, if the settings say how. Raises Unusable."""
    if issuer is None or not settings.oidc_client_id:
        return None
    from sprocket_factory.access.oidc_sign_in import IssuerSignIn, read_client  # noqa: PLC0415 - as above

    return IssuerSignIn(
        issuer,
        read_client(
            client_id=settings.oidc_client_id,
            secret=read_secret(settings.oidc_client_secret_file),
            public_url=settings.public_url,
            scopes=settings.oidc_scopes,
            parameters=settings.oidc_sign_in_parameters,
        ),
    )
