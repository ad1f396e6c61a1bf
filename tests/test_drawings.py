"""The drawing of a sprocket, measured: what is stored, to scale, as SVG for people and as DXF for machine tools."""

import io
import math
import re
import subprocess
import sys
import threading
import time
from base64 import b64encode
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import httpx
import pytest
from ezdxf.document import Drawing
from ezdxf.filemanagement import read as read_dxf

from harness import Client, a_sprocket, clean_environment
from sprocket_factory.endpoints.draughtsman import draughtsman

SVG, DXF = "image/svg+xml", "image/vnd.dxf"

NAMESPACE = "{http://www.w3.org/2000/svg}"

ROLLER = 0.625
"""Of the pitch: what is assumed of a roller's diameter."""

SMALLEST, LARGEST = 5e-324, 1e6

MAX_BYTES = 3_000_000
MAX_CPU_SECONDS = 10
"""The largest drawing takes a thirtieth of it; one whose cost grew with the square of its teeth would take minutes."""


class Measures(NamedTuple):
    """What is stored of a sprocket."""

    teeth: int
    pitch: float
    pitch_diameter: float
    outside_diameter: float


def standard(teeth: int, pitch: float) -> Measures:
    """Return a sprocket by the formulas of the standard."""
    half = math.pi / teeth
    return Measures(teeth, pitch, pitch / math.sin(half), pitch * (0.6 + 1 / math.tan(half)))


SEATED = {
    "of the standard": Measures(20, 25.4, 162.37, 175.61),
    "five teeth": Measures(5, 1, 1.7013, 1.9764),
    "what a factory starts from": Measures(5, 1, 5, 6),
    "three teeth": standard(3, 12.7),
    "five hundred teeth": standard(500, 12.7),
    "long teeth": Measures(12, 20, 100, 140),
    "short teeth": Measures(30, 1, 100, 100.5),
    "tiny": standard(17, 1e-6),
    "huge": Measures(3, 1000, LARGEST, LARGEST),
}
"""Where there is room for the rollers."""

OVERLAPPING = {
    "much too small": Measures(20, 25.4, 100, 110),
    "touching": Measures(6, 1, 1.25, 2),
    "smallest teeth": Measures(3, LARGEST, SMALLEST, SMALLEST),
    "largest pitch": Measures(10_000, LARGEST, LARGEST, LARGEST),
    "no pitch circle to be seen": Measures(3, SMALLEST, SMALLEST, LARGEST),
}

UNCUT = {"outside within the seats": Measures(12, 20, 100, 80), "inside out": Measures(12, 20, 100, SMALLEST)}

LOST = OVERLAPPING | UNCUT


def made(engineer: Client, measures: Measures) -> str:
    """Store a sprocket and return its path."""
    return f"/sprockets/{engineer.post('/sprockets', json=measures._asdict()).json()['id']}"


def drawn(engineer: Client, measures: Measures, format_: str) -> httpx.Response:
    """Store a sprocket and return its drawing."""
    answer = engineer.get(f"{made(engineer, measures)}/drawing", params={"format": format_})
    assert 200 == answer.status_code, answer.text
    return answer


class Picture:
    """A drawing as SVG, measured."""

    def __init__(self, answer: httpx.Response) -> None:
        self.root = ET.fromstring(answer.content)  # noqa: S314 - of our own making
        self.texts = ["".join(text.itertext()) for text in self.root.iter(f"{NAMESPACE}text")]
        self.outlines = [
            path.get("d", "") for path in self.root.iter(f"{NAMESPACE}path") if path.get("class") == "body"
        ]

    def circle(self, name: str) -> tuple[float, float, float]:
        """Return the centre and the radius of the circle of this name."""
        (found,) = (one for one in self.root.iter(f"{NAMESPACE}circle") if name in one.get("class", "").split())
        x, y, radius = (float(found.get(attribute, "")) for attribute in ("cx", "cy", "r"))
        return x, y, radius

    def child(self, name: str) -> Any:
        """Return the only element of this name that stands at the top."""
        (found,) = self.root.findall(f"{NAMESPACE}{name}")
        return found


def opened(answer: httpx.Response) -> Drawing:
    """Return a drawing as DXF, as a program that reads it sees it."""
    return read_dxf(io.StringIO(answer.text))


def diameters(drawing: Drawing) -> dict[str, float]:
    """Return the diameters of the circles by their layer."""
    return {circle.dxf.layer: 2 * circle.dxf.radius for circle in drawing.modelspace().query("CIRCLE")}


def outlines(drawing: Drawing) -> list[Any]:
    """Return the polylines of a drawing."""
    return list(drawing.modelspace().query("LWPOLYLINE"))


def notes(drawing: Drawing) -> list[str]:
    """Return what is written on a drawing."""
    return [text.dxf.text for text in drawing.modelspace().query("TEXT")]


def seats(drawing: Drawing) -> list[tuple[float, float, float]]:
    """Return the arcs of the outline that are hollow: where each has its centre, and its radius."""
    (outline,) = outlines(drawing)
    hollow = [place for place, bulge in enumerate(outline.get_points("b")) if bulge[0] < 0]
    parts = list(outline.virtual_entities())
    return [(parts[place].dxf.center.x, parts[place].dxf.center.y, parts[place].dxf.radius) for place in hollow]


@pytest.mark.parametrize("measures", SEATED.values(), ids=SEATED)
def test_a_dxf_has_the_stored_diameters(engineer: Client, measures: Measures) -> None:
    """PD and OD measured in the drawing are those that are stored, and no auditor objects to anything."""
    drawing = opened(drawn(engineer, measures, "dxf"))
    auditor = drawing.audit()

    assert {
        "PITCH_CIRCLE": measures.pitch_diameter,
        "OUTSIDE_CIRCLE": measures.outside_diameter,
    } == diameters(drawing)
    assert ([], []) == (auditor.errors, auditor.fixes)


@pytest.mark.parametrize("measures", SEATED.values(), ids=SEATED)
def test_a_dxf_has_one_closed_outline_on_its_own_layer(engineer: Client, measures: Measures) -> None:
    """A laser follows it once around, counterclockwise, and it reaches from the seats to the outside circle."""
    (outline,) = outlines(opened(drawn(engineer, measures, "dxf")))
    corners = [(x, y) for x, y in outline.get_points("xy")]
    others = corners[1:] + corners[:1]
    area = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, others, strict=True)) / 2
    angles = [
        math.atan2(x * next_y - next_x * y, x * next_x + y * next_y)
        for (x, y), (next_x, next_y) in zip(corners, others, strict=True)
    ]

    assert ("OUTLINE", True) == (outline.dxf.layer, outline.closed)
    assert pytest.approx(measures.outside_diameter / 2) == max(math.hypot(*corner) for corner in corners)
    assert area > 0
    assert all(angle > 0 for angle in angles)
    assert pytest.approx(2 * math.pi) == sum(angles)


@pytest.mark.parametrize("measures", SEATED.values(), ids=SEATED)
def test_a_dxf_seats_as_many_rollers_as_there_are_teeth(engineer: Client, measures: Measures) -> None:
    """Each seat is centred on the pitch circle, as far from the next as any other, and as large as a roller."""
    found = seats(opened(drawn(engineer, measures, "dxf")))
    scale = measures.outside_diameter
    directions = sorted(math.atan2(y, x) for x, y, _ in found)
    steps = [later - earlier for earlier, later in pairwise(directions)]

    assert measures.teeth == len(found)
    assert [pytest.approx(measures.pitch_diameter / 2, abs=1e-9 * scale)] * len(found) == [
        math.hypot(x, y) for x, y, _ in found
    ]
    assert [pytest.approx(ROLLER * measures.pitch / 2, abs=1e-9 * scale)] * len(found) == [size for *_, size in found]
    assert [pytest.approx(2 * math.pi / measures.teeth, abs=1e-6)] * len(steps) == steps


@pytest.mark.parametrize("measures", SEATED.values(), ids=SEATED)
def test_a_picture_is_to_scale(engineer: Client, measures: Measures) -> None:
    """The circles have one centre and the proportion of the stored diameters; there are as many seats as teeth."""
    picture = Picture(drawn(engineer, measures, "svg"))
    *pitch_centre, pitch_radius = picture.circle("pitch")
    *outside_centre, outside_radius = picture.circle("outside")
    (outline,) = picture.outlines
    radius = ROLLER * measures.pitch / measures.pitch_diameter * pitch_radius
    hollow = [float(size) for size in re.findall(r"A(\S+) \S+ 0 \d 1 ", outline)]

    assert pitch_centre == outside_centre
    assert pytest.approx(measures.pitch_diameter / measures.outside_diameter, rel=1e-5) == pitch_radius / outside_radius
    assert [pytest.approx(radius, abs=1e-3)] * measures.teeth == hollow
    assert outline.endswith("Z")


@pytest.mark.parametrize("format_", ["svg", "dxf"])
@pytest.mark.parametrize("measures", [SEATED["of the standard"], SEATED["what a factory starts from"]])
def test_the_dimensions_are_written_on_it(engineer: Client, format_: str, measures: Measures) -> None:
    """Teeth, pitch and both diameters as they are stored, and the diameter that was assumed of the rollers."""
    written = written_on(drawn(engineer, measures, format_))

    for value in (measures.teeth, float(measures.pitch), measures.pitch_diameter, measures.outside_diameter):
        assert str(value) in written
    assert f"{ROLLER * measures.pitch:.6g} is assumed, 0.625 of the pitch" in written


@pytest.mark.parametrize("format_", ["svg", "dxf"])
def test_it_says_whether_the_diameters_fit(engineer: Client, format_: str) -> None:
    """A drawing that deviates says so, and by how much; one that fits does not."""
    fitting = written_on(drawn(engineer, SEATED["of the standard"], format_))
    deviating = written_on(drawn(engineer, SEATED["what a factory starts from"], format_))

    assert "The diameters fit ASME B29.1." in fitting
    assert "deviate" not in fitting
    assert "The diameters deviate from ASME B29.1:" in deviating
    assert "pitch diameter 5.0 where 1.7013 is expected (+194 %)" in deviating
    assert "outside diameter 6.0 where 1.97638 is expected (+204 %)" in deviating


@pytest.mark.parametrize(("name", "measures"), LOST.items(), ids=LOST)
def test_where_no_seats_can_be_cut_only_the_circles_are_drawn(engineer: Client, name: str, measures: Measures) -> None:
    """Nobody cuts by an outline that crosses itself: there is none, and the drawing says why."""
    why = "overlap" if name in OVERLAPPING else "not cut the outside circle"
    picture = Picture(drawn(engineer, measures, "svg"))
    drawing = opened(drawn(engineer, measures, "dxf"))
    note = f"Only the circles are drawn: the roller seats would {why}."

    assert ([], []) == (picture.outlines, outlines(drawing))
    assert [True, True] == [note in picture.texts, note in notes(drawing)]
    assert {"PITCH_CIRCLE", "OUTSIDE_CIRCLE"} == diameters(drawing).keys()
    assert ([], []) == (drawing.audit().errors, drawing.audit().fixes)
    assert "nan" not in ET.tostring(picture.root, encoding="unicode")
    assert "inf" not in " ".join(map(str, picture.circle("pitch")))


def test_a_picture_is_told_to_who_cannot_see_it(engineer: Client) -> None:
    """It is an image with a title, and a description that says all that is written on it."""
    picture = Picture(drawn(engineer, SEATED["what a factory starts from"], "svg"))
    labels = [picture.child(name) for name in ("title", "desc")]

    assert "img" == picture.root.get("role")
    assert picture.root.get("aria-labelledby") == " ".join(label.get("id") for label in labels)
    assert "Sprocket 1" == labels[0].text
    assert "5 teeth, pitch 1.0, pitch diameter 5.0, outside diameter 6.0." in labels[1].text
    assert "The diameters deviate from ASME B29.1:" in labels[1].text


def test_a_picture_is_light_or_dark_and_runs_nothing(engineer: Client) -> None:
    """Its one style goes by the reader's screen; nothing else is allowed to run or to load, and nothing asks to."""
    answer = drawn(engineer, SEATED["of the standard"], "svg")
    picture = Picture(answer)
    style = picture.child("style").text
    digest = b64encode(sha256(style.encode()).digest()).decode()
    attributes = {name for element in picture.root.iter() for name in element.attrib}

    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert (
        f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
        == answer.headers["Content-Security-Policy"]
    )
    assert [] == [element.tag for element in picture.root.iter() if element.tag == f"{NAMESPACE}script"]
    assert set() == {name for name in attributes if name.startswith("on") or "href" in name or name == "style"}
    assert "url(" not in style


@pytest.mark.parametrize(
    ("accept", "parameters", "media_type"),
    [
        (None, {}, SVG),
        ("*/*", {}, SVG),
        ("image/*", {}, SVG),
        (SVG, {}, SVG),
        (DXF, {}, DXF),
        (f"{SVG};q=0.5, {DXF}", {}, DXF),
        ("text/html, image/svg+xml, */*;q=0.8", {}, SVG),
        (SVG, {"format": "dxf"}, DXF),
        (DXF, {"format": "svg"}, SVG),
        ("text/html", {"format": "dxf"}, DXF),
    ],
)
def test_the_format_is_what_is_asked_for(
    engineer: Client, accept: str | None, parameters: dict[str, str], media_type: str
) -> None:
    """The parameter outdoes the header, and without either a drawing is for people."""
    path = made(engineer, SEATED["of the standard"])
    headers = {} if accept is None else {"Accept": accept}
    answer = engineer.get(f"{path}/drawing", headers=headers, params=parameters)

    assert (200, media_type) == (answer.status_code, answer.headers["Content-Type"])
    assert "accept" == answer.headers["Vary"]


@pytest.mark.parametrize(
    ("place", "parameters", "accept", "status"),
    [
        ("drawing", {"format": "png"}, "*/*", 422),
        ("drawing", {"format": ""}, "*/*", 422),
        ("drawing", {"format": "SVG"}, "*/*", 422),
        ("drawing", [("format", "svg"), ("format", "svg")], "*/*", 422),
        ("drawing", {"scale": "2"}, "*/*", 422),
        ("drawing", {}, "application/json", 406),
        ("drawing", {}, "image/png", 406),
        ("drawing", {}, "image/svg+xml;q=0", 406),
        ("geometry", {"format": "svg"}, "*/*", 422),
        ("geometry", {}, SVG, 406),
    ],
)
def test_what_cannot_be_given_is_refused(
    engineer: Client, place: str, parameters: Any, accept: str, status: int
) -> None:
    """422 for a parameter that is none, 406 where nothing that is accepted can be drawn."""
    path = made(engineer, SEATED["of the standard"])
    answer = engineer.get(f"{path}/{place}", params=parameters, headers={"Accept": accept})

    assert status == answer.status_code


@pytest.mark.parametrize("place", ["geometry", "drawing"])
@pytest.mark.parametrize(
    "sprocket_id", ["1", "0", "-1", "01", "1_000", "9223372036854775808", "abc", "%00", "1.0", "%D9%A1"]
)
def test_fault_25_what_is_not_there_has_neither(viewer: Client, place: str, sprocket_id: str) -> None:
    """An unknown sprocket and a malformed id are 404."""
    assert 404 == viewer.get(f"/sprockets/{sprocket_id}/{place}").status_code


@pytest.mark.parametrize("place", ["geometry", "drawing"])
def test_fault_24_both_are_only_read(engineer: Client, place: str) -> None:
    """HEAD is GET without the body, OPTIONS names what works, and any other method is 405."""
    path = f"{made(engineer, SEATED['of the standard'])}/{place}"
    whole, head = engineer.get(path), engineer.head(path)
    others = [engineer.request(method, path) for method in ("POST", "PUT", "PATCH", "DELETE")]
    alike = ("Content-Type", "Content-Length", "ETag")
    options = engineer.options(path)
    allowed = [sorted(answer.headers["Allow"].split(", ")) for answer in (*others, options)]

    assert (200, b"") == (head.status_code, head.content)
    assert [whole.headers[name] for name in alike] == [head.headers[name] for name in alike]
    assert [405, 405, 405, 405, 204] == [answer.status_code for answer in (*others, options)]
    assert [["GET", "HEAD", "OPTIONS"]] * 5 == allowed


@pytest.mark.parametrize("format_", ["svg", "dxf"])
def test_the_same_sprocket_has_the_same_drawing(engineer: Client, format_: str) -> None:
    """Who has it is told so, until the sprocket changes: no date and no random number is in it."""
    path = f"{made(engineer, SEATED['of the standard'])}/drawing?format={format_}"
    first, second = engineer.get(path), engineer.get(path)
    known = engineer.get(path, headers={"If-None-Match": first.headers["ETag"]})
    engineer.put(path.partition("/drawing")[0], json=a_sprocket(teeth=21))
    changed = engineer.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert first.content == second.content
    assert [(304, b""), 200] == [(known.status_code, known.content), changed.status_code]
    assert first.content != changed.content


@pytest.mark.parametrize(
    ("format_", "seat"), [("svg", r"A\S+ \S+ 0 \d 1 "), ("dxf", r"\n 42\r?\n-")], ids=["svg", "dxf"]
)
def test_ten_thousand_teeth_are_drawn(engineer: Client, format_: str, seat: str) -> None:
    """The most that can be stored take a bounded size and time."""
    before = time.process_time()
    answer = drawn(engineer, standard(10_000, 12.7), format_)
    used = time.process_time() - before

    assert 10_000 == len(re.findall(seat, answer.text))
    assert len(answer.content) < MAX_BYTES
    assert used < MAX_CPU_SECONDS


def test_others_are_served_while_something_is_drawn(engineer: Client) -> None:
    """A drawing takes its time in a thread of its own."""
    path = made(engineer, SEATED["of the standard"])
    release = threading.Event()
    draughtsman.submit(release.wait, 20)
    answers: list[httpx.Response] = []
    with Client(engineer.address) as viewer:
        drawing = threading.Thread(target=lambda: answers.append(viewer.get(f"{path}/drawing")))
        drawing.start()
        meanwhile = [engineer.get(path).status_code for _ in range(20)]
        unfinished = len(answers)
        release.set()
        drawing.join()

    assert [200] * 20 == meanwhile
    assert 0 == unfinished
    assert [200] == [answer.status_code for answer in answers]


def test_the_library_for_dxf_is_not_loaded_by_who_draws_nothing() -> None:
    """The service starts without it: it takes half a second and 40 MB."""
    program = "import sys, sprocket_factory.app; print('ezdxf' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, text=True, check=True
    )

    assert "False" == done.stdout.strip()


def written_on(answer: httpx.Response) -> str:
    """Return all that is written on a drawing."""
    is_picture = answer.headers["Content-Type"] == SVG
    return "\n".join(Picture(answer).texts if is_picture else notes(opened(answer)))


@pytest.mark.parametrize("extension", ["svg", "dxf"])
def test_a_drawing_that_is_saved_has_a_name(engineer: Client, extension: str) -> None:
    """A machine tool's folder of drawings tells them apart."""
    engineer.post("/sprockets", json=a_sprocket())
    answer = engineer.get("/sprockets/1/drawing", params={"format": extension})

    assert f'inline; filename="sprocket-1.{extension}"' == answer.headers["Content-Disposition"]
