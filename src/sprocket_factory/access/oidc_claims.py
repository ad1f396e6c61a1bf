"""What the claims of a token say of whom it stands for, by the rules that the settings lay down."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from sprocket_factory.access.callers import RANKS, Caller
from sprocket_factory.entities.instant import LATEST, SECOND
from sprocket_factory.entities.key import LIMITABLE, ROLES, FactoryIds, Role
from sprocket_factory.entities.name import MAX_NAME_LENGTH, check_name
from sprocket_factory.errors import Forbidden, Invalid, Unusable, WrongCredentials

ACCESS_TOKEN = "at+jwt"  # noqa: S105 - the name of a type (RFC 9068)
ANY_TOKEN = "jwt"  # noqa: S105 - as above (RFC 7519)

Claims = Mapping[str, Any]

NAMES = ("preferred_username", "name", "sub")
"""Where a name is looked for. `client_id` says through which program somebody came, and not who."""

WORDS = frozenset({"scope", "scp"})
"""Claims whose text is a list of words (RFC 6749, section 3.3)."""

MARKS_OF_OTHERS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens (OpenID Connect Core, sections 2 and 3) and of tokens about events (RFC 8417)."""

MARKS_OF_KINDS = {"typ": "bearer", "token_use": "access"}
"""Claims that say what a token is for at Keycloak and at Cognito, and what they say of an access token."""

CLIENTS = ("client_id", "azp", "appid")
"""Claims that name the program a token was issued to."""


class Rules(NamedTuple):
    """Which tokens are taken, and what they give."""

    issuer: str
    audience: str
    role_claim: str
    roles: tuple[tuple[str, Role], ...]
    """Pairs of what the claim says and the role that it gives."""
    factories_claim: str
    types: frozenset[str]
    leeway_seconds: int


class Subject(Struct):
    """What every token has to say."""

    # Printable ASCII, as OpenID Connect Core has it (section 2), so that it can stand in any record.
    sub: Annotated[str, Meta(pattern=r"\A[!-~]([ -~]{0,253}[!-~])?\Z")]
    exp: Annotated[float, Meta(ge=0, le=LATEST // SECOND)]


def read_rules(  # noqa: PLR0913 - one for each setting
    *,
    issuer: str,
    audience: str,
    role_claim: str,
    roles: str,
    factories_claim: str,
    token_types: str,
    leeway_seconds: int,
) -> Rules:
    """Return the rules that settings lay down. Raises Unusable."""
    if not audience:
        raise Unusable(
            "--oidc-issuer needs --oidc-audience.",
            hint="Without it a token that was given to any other service of the issuer would be good here.",
        )
    return Rules(
        issuer, audience, role_claim, _read_roles(roles), factories_claim, _read_types(token_types), leeway_seconds
    )


def _read_roles(text: str) -> tuple[tuple[str, Role], ...]:
    pairs: list[tuple[str, Role]] = []
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        role = next((role for role in ROLES if role == name), None)
        if role is None or not value:
            raise Unusable(
                f"--oidc-roles cannot be read at {part.strip()!a}.",
                hint="It is like viewer=floor,operator=press-team, with a role before each =, and names what gives it.",
            )
        pairs.append((value, role))
    return tuple(pairs)


def _read_types(text: str) -> frozenset[str]:
    types = frozenset(part.strip().lower() for part in text.split(","))
    if not types <= {ACCESS_TOKEN, ANY_TOKEN}:
        raise Unusable(f"--oidc-token-types cannot be {text!a}.", hint="It is at+jwt, or at+jwt,JWT, or JWT.")
    return types


def check_kind(claims: Claims, type_: str) -> None:
    """Raise WrongCredentials unless this is an access token for whoever carries it.

    A token of the type at+jwt says so itself. One of the type JWT may be anything that the issuer signs, so it has to
    look like an access token, and not like another one: an ID token above all, which tells a program who signed in,
    and which more people see than may use this service in his name.
    """
    if "cnf" in claims:
        raise WrongCredentials("it is bound to a key that its sender would have to prove (RFC 7800)")
    if type_ == ACCESS_TOKEN:
        return
    is_another = MARKS_OF_OTHERS & claims.keys() or any(
        name in claims and str(claims[name]).lower() != kind for name, kind in MARKS_OF_KINDS.items()
    )
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    clients = [claims[name] for name in CLIENTS if name in claims]
    is_for_access = WORDS & claims.keys() or (clients and not any(client in audiences for client in clients))
    if is_another or not is_for_access:
        raise WrongCredentials("it does not look like an access token")


def caller_of(claims: Claims, rules: Rules) -> Caller:
    """Return for whom a token with these claims stands.

    Raises:
        WrongCredentials: It does not say whom, or until when.
        Forbidden: It gives no role, or its role cannot be limited as it says.
    """
    try:
        subject = msgspec.convert(claims, Subject)
    except msgspec.ValidationError as error:
        raise WrongCredentials(f"its claims are not what they have to be: {error}") from error
    role = _role(claims, rules)
    return Caller(
        f"oidc:{rules.issuer}#{subject.sub}",
        _name(claims, subject.sub),
        role,
        _factory_ids(claims, rules, role),
        int(subject.exp * SECOND),
    )


def _claim(claims: Claims, name: str) -> Any:
    """Return the claim of this name; if there is none, what lies at the end of the names between its dots."""
    if name in claims:  # as a name that is an address, with dots of its own
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _role(claims: Claims, rules: Rules) -> Role:
    said = _claim(claims, rules.role_claim)
    if isinstance(said, str):
        said = said.split() if rules.role_claim in WORDS else [said]
    given = [role for value, role in rules.roles if isinstance(said, list) and value in said]
    if not given:
        raise Forbidden(
            "This token gives no role here.", hint=f"Its claim {rules.role_claim} has to name one that is known."
        )
    return max(given, key=RANKS.__getitem__)


def _factory_ids(claims: Claims, rules: Rules, role: Role) -> frozenset[int] | None:
    """Return for which factories alone the caller may write, or None for all."""
    if not rules.factories_claim:
        return None
    said = _claim(claims, rules.factories_claim)
    if role not in LIMITABLE:
        if said is not None:
            raise Forbidden(f"This token limits the role {role} to factories, and that one cannot be limited.")
        return None
    if said is None:  # closed by default: a claim that was forgotten opens nothing
        return frozenset()
    try:
        # Some issuers can give texts alone.
        return frozenset(msgspec.convert(said if isinstance(said, list) else [said], FactoryIds, strict=False))
    except msgspec.ValidationError as error:
        raise Forbidden(
            "This token is limited to factories that cannot be read.",
            hint=f"Its claim {rules.factories_claim} has to be a list of ids.",
        ) from error


def _name(claims: Claims, sub: str) -> str:
    for claim in NAMES:
        said = claims.get(claim)
        try:
            return check_name(said.strip() if isinstance(said, str) else "", "A caller's name")
        except Invalid:
            continue  # with the next claim
    return sub[:MAX_NAME_LENGTH].strip()
