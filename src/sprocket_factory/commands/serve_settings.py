"""What `serve` asks of its settings before anything is made. The doctor asks the same, and tells all of it at once."""

from collections.abc import Callable, Sequence

from sprocket_factory.app import check_settings
from sprocket_factory.database.addresses import is_postgresql, path_of
from sprocket_factory.errors import Unusable
from sprocket_factory.observe_logs import read_levels
from sprocket_factory.observe_traces import check_installed
from sprocket_factory.server import Tls, check_tls, find_address
from sprocket_factory.settings import Settings, read_secret

MAX_PORT = 65535


def check_database(settings: Settings) -> None:
    """Raise Unusable where the address is none, or its database cannot be served by so many workers."""
    if is_postgresql(settings.database_url):
        return
    path_of(settings.database_url)
    if settings.workers > 1:
        raise Unusable(
            f"One process serves an SQLite file, not {settings.workers}: it puts the writes in their order.",
            hint="Leave --workers out, or point --database-url at PostgreSQL.",
        )


def check_secrets(settings: Settings) -> None:
    """Raise Unusable where a file with a secret cannot be read."""
    for file in (settings.database_password_file, settings.oidc_client_secret_file):
        read_secret(file)


def anybody_writes(settings: Settings) -> bool:
    """Return whether callers without a key may write."""
    return settings.anonymous_role not in {"none", "viewer"}


def check_address(settings: Settings) -> None:
    """Raise Unusable where there is no such host, or whoever reaches it may write."""
    find_address(settings.host, settings.port, anybody_writes=anybody_writes(settings))


def metrics_ports(settings: Settings) -> Sequence[int]:
    """Return where the workers give their metrics alone: a port for each, or none. Raises Unusable."""
    first = settings.metrics_port
    ports = range(first, first + settings.workers) if first else range(0)
    if ports and ports[-1] > MAX_PORT:
        raise Unusable(f"There is no port {ports[-1]}.", hint="Each worker takes one: choose a lower --metrics-port.")
    return ports


def tls_of(settings: Settings) -> Tls | None:
    """Return the files that HTTPS needs; None where it is not wanted. Raises Unusable."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Unusable("HTTPS needs both --tls-cert and --tls-key.", hint="Give both, or neither.")
    if not settings.tls_cert:
        return None
    tls = Tls(settings.tls_cert, settings.tls_key)
    check_tls(tls)
    return tls


def check_log(settings: Settings) -> None:
    """Raise Unusable where the levels of loggers cannot be read, or what sends traces is not installed."""
    read_levels(settings.log_levels)
    if settings.traces:
        check_installed()


CHECKS: Sequence[Callable[[Settings], object]] = (
    check_settings,
    check_database,
    check_secrets,
    check_address,
    metrics_ports,
    tls_of,
    check_log,
)
"""Each raises Unusable."""
