"""What a drawing of a sprocket shows, whatever it is drawn with: what is stored, and what is said of it."""

from sys import float_info
from typing import NamedTuple

from sprocket_factory.entities.geometry import Compared, geometry_of
from sprocket_factory.entities.geometry_outline import ROLLER_DIAMETER, Outline, outline_of
from sprocket_factory.entities.sprocket import Sprocket


class Drawing(NamedTuple):
    """A drawing, to be drawn to scale."""

    sprocket: Sprocket
    outline: Outline
    title: str
    notes: list[str]
    """What was assumed, and whatever else somebody has to know who works by the drawing."""
    warnings: list[str]
    """How it deviates from the standard, and why there is no outline."""


def drawing_of(sprocket: Sprocket) -> Drawing:
    """Return the drawing of a sprocket."""
    outline = outline_of(sprocket)
    geometry = geometry_of(sprocket)
    notes = []
    if outline.points:
        roller = f"{ROLLER_DIAMETER * sprocket.pitch:.6g}"
        notes.append(f"The roller diameter is not stored: {roller} is assumed, {ROLLER_DIAMETER} of the pitch.")
        notes.append("The flanks are straight lines, not the tooth form of the standard.")
    warnings = []
    if geometry.verdict == "fits":
        notes.append(f"The diameters fit {geometry.standard}.")
    else:
        warnings.append(f"The diameters deviate from {geometry.standard}:")
        warnings.append(_deviation("pitch diameter", geometry.pitch_diameter))
        warnings.append(_deviation("outside diameter", geometry.outside_diameter))
    if outline.refusal:
        warnings.append(f"Only the circles are drawn: {outline.refusal}.")
    return Drawing(sprocket, outline, f"Sprocket {sprocket.id}", notes, warnings)


def _deviation(name: str, compared: Compared) -> str:
    percent = min(compared.deviation * 100, float_info.max)
    return f"{name} {compared.stored} where {compared.expected:.6g} is expected ({percent:+.3g} %)"
