"""A drawing as DXF, for CAD and laser cutters: the outline and each circle on a layer of its own, in stored lengths."""

import io

from sprocket_factory.entities.geometry_drawing import Drawing
from sprocket_factory.entities.geometry_outline import size_of

OUTLINE = "OUTLINE"
PITCH_CIRCLE = "PITCH_CIRCLE"
OUTSIDE_CIRCLE = "OUTSIDE_CIRCLE"
NOTES = "NOTES"

VERSION = "R2000"
"""The oldest that knows polylines with arcs as one thing, which is what most machines read."""

TEXT_HEIGHT = 0.03
LINE_HEIGHT = 0.05
"""Of the larger diameter."""


def draw_dxf(drawing: Drawing) -> bytes:
    """Return the drawing as DXF, the sprocket's centre at the origin, in no particular unit."""
    # It takes half a second and 40 MB to import, which nobody needs who draws nothing.
    from ezdxf import options  # type: ignore[attr-defined]  # noqa: PLC0415 - it does not say what it exports
    from ezdxf.filemanagement import new  # noqa: PLC0415 - as above

    options.write_fixed_meta_data_for_testing = True  # else no two drawings of one sprocket are the same
    sprocket = drawing.sprocket
    size = size_of(sprocket)
    document = new(VERSION)
    document.units = 0
    for layer in (OUTLINE, PITCH_CIRCLE, OUTSIDE_CIRCLE, NOTES):
        document.layers.add(layer)
    space = document.modelspace()
    space.add_circle((0, 0), sprocket.pitch_diameter / 2, {"layer": PITCH_CIRCLE})
    space.add_circle((0, 0), sprocket.outside_diameter / 2, {"layer": OUTSIDE_CIRCLE})
    if drawing.outline.points:
        outline = space.add_lwpolyline([], close=True, dxfattribs={"layer": OUTLINE})
        # All at once: the library appends points one by one, each time with a copy of those before.
        outline.lwpoints.set([(x * size, y * size, 0, 0, bulge) for x, y, bulge in drawing.outline.points])
    for number, line in enumerate(_lines(drawing), 1):
        text = space.add_text(line, height=TEXT_HEIGHT * size, dxfattribs={"layer": NOTES})
        text.set_placement((-size / 2, -size / 2 - number * LINE_HEIGHT * size))
    written = io.StringIO()
    document.write(written)
    return written.getvalue().encode()


def _lines(drawing: Drawing) -> list[str]:
    sprocket = drawing.sprocket
    return [
        drawing.title,
        f"Number of teeth {sprocket.teeth}",
        f"Pitch {sprocket.pitch}",
        f"Pitch diameter {sprocket.pitch_diameter}",
        f"Outside diameter {sprocket.outside_diameter}",
        *drawing.notes,
        *drawing.warnings,
    ]
