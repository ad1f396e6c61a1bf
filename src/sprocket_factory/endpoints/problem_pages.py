"""What each problem means and asks for: as a page for whoever follows a problem's type, and as a document."""

from collections.abc import Iterator

from litestar.types import ASGIApp

from sprocket_factory.access.callers import OPEN
from sprocket_factory.endpoints.answers import Answer
from sprocket_factory.endpoints.headers import PAGE
from sprocket_factory.endpoints.pages import HTML, HTML_ALONE, pages
from sprocket_factory.endpoints.problem_kinds import ALL_KINDS
from sprocket_factory.endpoints.routing import ApiRequest, get
from sprocket_factory.errors import NotFound, shown

INTRODUCTION = """\
# Problems

Every refusal is `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`, `detail`,
`instance` and `request_id`, and with `errors` where a body, a parameter or a header is wrong. A program goes by
`type`; a person reads `detail`. Each type is also a page of the running service. Where a browser asks for a page, or
for an address that leads nowhere, a page says the same.

<!-- Made by bin/docs from endpoints/problem_kinds.py. -->
"""


@get("/problems/{slug:str}", role=OPEN, media_types=HTML_ALONE, headers=PAGE)
async def get_problem(request: ApiRequest) -> ASGIApp:
    """Return the page of one problem. Raises NotFound."""
    slug = request.scope["path_params"]["slug"]
    for kind in ALL_KINDS:
        if kind.slug == slug:
            page = pages.get_template("problem.html").render(kind=kind)
            return Answer(page.encode(), media_type=HTML)
    raise NotFound(f"There is no problem {shown(slug)}.", hint="docs/errors.md lists them all.")


def as_markdown() -> str:
    """Return docs/errors.md."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for kind in ALL_KINDS:
        yield f"## {kind.status} `/problems/{kind.slug}`\n\n**{kind.title}.** {kind.meaning}\n\n{kind.remedy}\n"
