"""A drawing as SVG, for people: light or dark as their screen is, told to who cannot see it, and without a script."""

from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

from sprocket_factory.endpoints.headers import picture_headers
from sprocket_factory.endpoints.pages import pages
from sprocket_factory.entities.geometry_drawing import Drawing
from sprocket_factory.entities.geometry_outline import Point, size_of

STYLE = files("sprocket_factory.board").joinpath("drawing.css").read_text(encoding="utf-8")

PICTURE = picture_headers(STYLE)

WIDTH = 1000
CENTRE_X, CENTRE_Y = 500, 480
RADIUS = 360
"""That of the larger circle, in the units of the picture; whatever the sprocket's own are."""

LINE_HEIGHT = 28
FIRST_LINE = 985


class _Line(NamedTuple):
    y: int
    text: str
    kind: str


def draw_svg(drawing: Drawing) -> bytes:
    """Return the drawing as a picture of its own."""
    sprocket = drawing.sprocket
    size = size_of(sprocket)
    pitch_radius = sprocket.pitch_diameter / size * RADIUS
    outside_radius = sprocket.outside_diameter / size * RADIUS
    texts = [(text, "note") for text in drawing.notes] + [(text, "warning") for text in drawing.warnings]
    lines = [_Line(FIRST_LINE + LINE_HEIGHT * place, *line) for place, line in enumerate(texts)]
    picture = pages.get_template("drawing.svg").render(
        drawing=drawing,
        sprocket=sprocket,
        style=STYLE,
        width=WIDTH,
        height=FIRST_LINE + LINE_HEIGHT * len(lines),
        x=CENTRE_X,
        y=CENTRE_Y,
        pitch_radius=pitch_radius,
        outside_radius=outside_radius,
        outline=" ".join(_path(drawing.outline.points)),
        at="{:.4f}".format,
        lines=lines,
    )
    return picture.encode()


def _path(points: list[Point]) -> Iterator[str]:
    """Give the commands of the outline, in the coordinates of the picture, whose y-axis points down."""
    corners = [(CENTRE_X + 2 * RADIUS * point.x, CENTRE_Y - 2 * RADIUS * point.y, point.bulge) for point in points]
    for place, (x, y, _) in enumerate(corners):
        before = corners[place - 1]
        if place == 0:
            yield f"M{x:.4f} {y:.4f}"
        else:
            yield _step(before, (x, y))
    if corners:
        yield _step(corners[-1], corners[0][:2]) + "Z"


def _step(before: tuple[float, float, float], to: tuple[float, float]) -> str:
    """Return the command that leads from one corner to the next, by a line or by an arc."""
    x, y, bulge = before
    if not bulge:
        return f"L{to[0]:.4f} {to[1]:.4f}"
    chord = ((to[0] - x) ** 2 + (to[1] - y) ** 2) ** 0.5
    radius = chord * (1 + bulge**2) / (4 * abs(bulge))
    return f"A{radius:.4f} {radius:.4f} 0 {int(abs(bulge) > 1)} {int(bulge < 0)} {to[0]:.4f} {to[1]:.4f}"
