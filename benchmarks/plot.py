"""Draw lines over two logarithmic axes as an SVG, so that no library is needed to look at what grows how."""

import math
from collections.abc import Iterator, Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 70, 330, 60, 50
# Told apart without colour as well: each line bears its name.
COLOURS = ("#0072b2", "#009e73", "#cc79a7", "#b37400", "#3b82b5", "#d55e00", "#000000")
# Names of lines that end close to one another are moved apart by so many pixels.
APART = 17
STYLE = "font-family: system-ui, sans-serif; font-size: 13px"

Point = tuple[float, float]


class Line(msgspec.Struct, frozen=True):
    """A line with its name at its end. One that is not `ours` is dashed."""

    name: str
    points: Sequence[Point]
    ours: bool = True


class Axis(msgspec.Struct, frozen=True):
    """A logarithmic axis from one power of ten to another, and where it begins and ends in pixels."""

    low: int
    high: int
    begin: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        return self.begin + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.begin)


def span(values: Sequence[float], begin: float, end: float) -> Axis:
    """Return the axis of whole powers of ten that holds these values."""
    return Axis(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))), begin, end)


def show_power(power: int) -> str:
    """Return ten to this power of seconds in words."""
    unit, below = ("s", 0) if power >= 0 else ("ms", 3) if power >= -3 else ("µs", 6)  # noqa: PLR2004
    return f"{10 ** (power + below):,} {unit}"


def draw_grid(x: Axis, y: Axis) -> Iterator[str]:
    """Give a line and a label for each power of ten."""
    for power in range(x.low, x.high + 1):
        at = x.place(10.0**power)
        yield f'<path d="M{at:.1f} {y.begin:.1f}V{y.end:.1f}" stroke="#ddd"/>'
        yield f'<text x="{at:.1f}" y="{y.begin + 20:.1f}" text-anchor="middle">{10**power:,}</text>'
    for power in range(y.low, y.high + 1):
        at = y.place(10.0**power)
        yield f'<path d="M{x.begin:.1f} {at:.1f}H{x.end:.1f}" stroke="#ddd"/>'
        yield f'<text x="{x.begin - 8:.1f}" y="{at + 4:.1f}" text-anchor="end">{show_power(power)}</text>'


def place_names(wanted: Sequence[float]) -> list[float]:
    """Return where names stand that want to stand here, in this order, so that none covers another."""
    placed: dict[int, float] = {}
    lowest = -math.inf
    for number in sorted(range(len(wanted)), key=lambda number: wanted[number]):
        lowest = placed[number] = max(wanted[number], lowest + APART)
    return [placed[number] for number in range(len(wanted))]


def draw_lines(lines: Sequence[Line], x: Axis, y: Axis) -> Iterator[str]:
    """Give each line, its points and its name."""
    names = place_names([y.place(line.points[-1][1]) for line in lines])
    for number, (line, name_at) in enumerate(zip(lines, names, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x.place(across), y.place(up)) for across, up in line.points]
        path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
        dashes = "" if line.ours else ' stroke-dasharray="6 4"'
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        for (across, up), (records, seconds) in zip(places, line.points, strict=True):
            told = escape(f"{line.name}: {records:,} records, {seconds * 1e3:,.4g} ms")
            yield f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3.5" fill="{colour}"><title>{told}</title></circle>'
        end_across, end_up = places[-1]
        label = x.end + 14
        lead = f"M{end_across + 5:.1f} {end_up:.1f}L{label - 3:.1f} {name_at:.1f}"
        yield f'<path d="{lead}" stroke="{colour}" opacity="0.4"/>'
        yield f'<text x="{label:.1f}" y="{name_at + 4:.1f}" fill="{colour}">{escape(line.name)}</text>'


def draw(title: str, across: str, lines: Sequence[Line]) -> str:
    """Return the SVG of these lines: seconds, upwards, over numbers, across."""
    points = [point for line in lines for point in line.points]
    x = span([number for number, _ in points], LEFT, WIDTH - RIGHT)
    y = span([seconds for _, seconds in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" style="{STYLE}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="30" font-size="17" font-weight="600">{escape(title)}</text>',
        *draw_grid(x, y),
        f'<text x="{(x.begin + x.end) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>',
        *draw_lines(lines, x, y),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
