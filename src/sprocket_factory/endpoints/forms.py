"""What a form on a page of ours sends."""

from urllib.parse import parse_qsl

from sprocket_factory.endpoints.parameters import check_parameters
from sprocket_factory.endpoints.reading import media_type_of, read_whole
from sprocket_factory.endpoints.routing import ApiRequest
from sprocket_factory.errors import TooLarge, Unreadable

FORM = ("application/x-www-form-urlencoded",)

MAX_FORM_BYTES = 16 * 1024


async def read_form(request: ApiRequest, *known: str) -> dict[str, str]:
    """Return the fields of a form by name; one that is not there is empty.

    Raises:
        UnsupportedMediaType: It is no form.
        TooLarge: It has more than MAX_FORM_BYTES.
        Unreadable: It is no UTF-8.
        Invalid: A field is not one of these, or is there twice.
    """
    media_type_of(request, FORM)
    try:
        body = await read_whole(request, MAX_FORM_BYTES)
        given = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except TooLarge as refusal:
        raise TooLarge(f"A form has up to {MAX_FORM_BYTES:,} bytes here.") from refusal
    except UnicodeDecodeError:
        raise Unreadable("The form is not in UTF-8.") from None
    return dict.fromkeys(known, "") | check_parameters(given, known)
