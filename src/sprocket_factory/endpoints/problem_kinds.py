"""The one table of problems: which refusal becomes which status, what it means, and what to do about it.

`/problems/{slug}`, docs/errors.md and the API's description are all made from it.
"""

import msgspec

from sprocket_factory import errors


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: what its type is called, its status and title; and for people, what it means and asks for."""

    slug: str
    status: int
    title: str
    meaning: str
    remedy: str


KINDS: dict[type[errors.Refusal], Kind] = {
    errors.Unreadable: Kind(
        "unreadable",
        400,
        "What was sent cannot be read",
        "The body is no JSON, no CSV or no UTF-8, it is nested too deeply, or it ended before it was whole.",
        "Look at the place that the detail names. Bodies are UTF-8; NaN and Infinity are no JSON.",
    ),
    errors.Unauthenticated: Kind(
        "unauthenticated",
        401,
        "Who asks is not known",
        "The request carries no key and no access token, or one that is not valid here: mistyped, expired, revoked. It"
        " is not said which.",
        "Send it as `Authorization: Bearer <key>`, once. An administrator gives out new keys, the issuer new tokens.",
    ),
    errors.Forbidden: Kind(
        "forbidden",
        403,
        "This key may not do that",
        "The role of the key or token does not allow it, it is limited to other factories, or it is a token that gives"
        " no role here. Or a cookie came with it, and no page of this service did. Nothing of it was done.",
        "GET /me says what it may do. An administrator can give out one that may do more. A program sends a key.",
    ),
    errors.NotFound: Kind(
        "not-found",
        404,
        "There is no such thing",
        "Nothing is at this path: the id or the time in it is that of nothing, or malformed.",
        "List what there is, and take the id from there. An id is never used again, so what was removed stays 404.",
    ),
    errors.NotAcceptable: Kind(
        "not-acceptable",
        406,
        "None of the accepted media types can be given",
        "The header Accept leaves nothing that can be given here.",
        "Lists come as JSON, NDJSON and CSV, attainment as SVG too, single things as JSON, drawings as SVG and DXF."
        " Where there is a choice, format=csv and the like outdo Accept.",
    ),
    errors.Stalled: Kind(
        "stalled",
        408,
        "What was sent did not come in time",
        "The request began and did not go on, or came more slowly than the server waits for. Nothing of it was stored,"
        " and the connection ends.",
        "Send it again over a better line, in smaller parts if need be. A POST that carries an Idempotency-Key cannot"
        " count twice.",
    ),
    errors.Conflict: Kind(
        "conflict",
        409,
        "What is stored says otherwise",
        "A record of this factory and time is stored with other values, a factory has this name already or still has"
        " production, a key is the last of an administrator's, or the first request with this Idempotency-Key is still"
        " running.",
        "The detail says what is stored. PUT replaces a record; for many, on_conflict=replace or skip decides.",
    ),
    errors.Stale: Kind(
        "stale",
        412,
        "What is stored is another version",
        "What If-Match or If-None-Match expects is not what is stored: somebody else was first.",
        "Read it again, make the change to what is there now, and send that with its ETag.",
    ),
    errors.TooLarge: Kind(
        "too-large",
        413,
        "What was sent is over a limit",
        "The body is larger than the server reads. One JSON object has up to 2 MiB, an array of records up to 16 MiB;"
        " the server's own limit is a setting. Or more trailers follow a chunked body than are passed over.",
        "Send many records as text/csv or application/x-ndjson, in several requests if need be.",
    ),
    errors.UnsupportedMediaType: Kind(
        "unsupported-media-type",
        415,
        "What was sent is of a kind not read here",
        "The Content-Type is missing or none that this path reads, its charset is not UTF-8, or the body is"
        " compressed.",
        "Send Content-Type: application/json, or for production text/csv or application/x-ndjson, without"
        " Content-Encoding.",
    ),
    errors.Invalid: Kind(
        "invalid",
        422,
        "What was sent breaks a rule",
        "It can be read, but a member, a row, a parameter or a header is unknown, missing, or not what it must be."
        " Nothing of it is stored.",
        "`errors` names each place and what is wrong there: a JSON pointer into the body or the name of a parameter,"
        " and for many records the row, counted from 1. The first 100 are listed; `errors_total` counts all. Only once"
        " 100,000 things are wrong with records, the rest is not looked at, and `detail` says by which row that was.",
    ),
    errors.TooMany: Kind(
        "too-many",
        429,
        "This was asked too often",
        "Too many wrong keys came from this address within a minute; a right one is let through all the same. Or this"
        " caller has made all the requests that the operator allows within a minute: `RateLimit-Policy` says how many.",
        "Wait as long as `Retry-After` says. If it was the key, look at it.",
    ),
    errors.Busy: Kind(
        "busy",
        503,
        "Others were first",
        "Another write holds the database, as many lists as are allowed are being read, by all or by this caller, or"
        " the service has as many requests under way as it takes.",
        "Send the same again after Retry-After seconds. Nothing of this request was stored.",
    ),
    errors.TooSlow: Kind(
        "too-slow",
        503,
        "It takes too long to find",
        "The filters and the order of this list would make the server look at too many rows.",
        "Narrow it down by factory_id and time, or sort by the key, which is how rows are found fastest.",
    ),
    errors.Unavailable: Kind(
        "unavailable",
        503,
        "What the service needs does not answer",
        "The storage cannot be reached just now, nor can the issuer of an access token, or the service is stopping.",
        "Send the same again after Retry-After seconds. A POST that carries an Idempotency-Key cannot count twice.",
    ),
    errors.OutcomeUnknown: Kind(
        "outcome-unknown",
        503,
        "Nobody can say whether it was stored",
        "The connection to the database was lost while this was being made durable, and the database could not be"
        " asked afterwards. It is stored whole, or not at all.",
        "Send it again with the same Idempotency-Key, which cannot count twice. PUT, and a record that is sent again,"
        " are safe without one. Otherwise look whether it is there.",
    ),
    errors.StorageFull: Kind(
        "storage-full",
        507,
        "The storage cannot take more",
        "The disk of the database is full or read-only. Reading goes on; nothing of this request was stored.",
        "Tell the operator. Writing goes on by itself as soon as there is room.",
    ),
}

KINDS[errors.WrongCredentials] = KINDS[errors.Unauthenticated]

METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed",
    405,
    "This method does not work here",
    "The path exists, but not with this method.",
    "The header Allow names the methods that work.",
)
INTERNAL = Kind(
    "internal",
    500,
    "Something went wrong here",
    "The service met something that nobody foresaw. What happened stands in its log, and nowhere else.",
    "Tell the operator the request_id. A request that may be repeated can be sent again.",
)

ALL_KINDS = sorted({*KINDS.values(), METHOD_NOT_ALLOWED, INTERNAL}, key=lambda kind: (kind.status, kind.slug))
