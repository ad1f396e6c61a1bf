"""What the standard gives for a sprocket's teeth and pitch, beside what is stored. It advises; it never refuses."""

import math
from typing import Any

import pytest

from harness import Client, a_sprocket
from sprocket_factory.entities.geometry import STANDARD_PITCH_INCHES

DIAMETERS = ("pitch_diameter", "outside_diameter")

SMALLEST, LARGEST = 5e-324, 1e6


def geometry_of(engineer: Client, teeth: int, pitch: float, *diameters: float) -> Any:
    """Store a sprocket with this pitch diameter and outside diameter, and return what is said of it."""
    pitch_diameter, outside_diameter = diameters
    new = {"teeth": teeth, "pitch": pitch, "pitch_diameter": pitch_diameter, "outside_diameter": outside_diameter}
    stored = engineer.post("/sprockets", json=new).json()
    return engineer.get(f"/sprockets/{stored['id']}/geometry").json()


def expected_diameters(teeth: int, pitch: float) -> tuple[float, float]:
    """Return the pitch diameter and the outside diameter by the formulas of the standard."""
    half = math.radians(180 / teeth)
    return pitch / math.sin(half), pitch * (0.6 + math.cos(half) / math.sin(half))


@pytest.mark.parametrize(
    ("teeth", "pitch", "stored", "decimals"), [(20, 25.4, (162.37, 175.61), 2), (5, 1, (1.7013, 1.9764), 4)]
)
def test_the_worked_values_come_out(
    engineer: Client, teeth: int, pitch: float, stored: tuple[float, float], decimals: int
) -> None:
    """N 20, P 25.4 gives PD 162.37 and OD 175.61; N 5, P 1 gives 1.7013 and 1.9764; and what is stored so fits."""
    told = geometry_of(engineer, teeth, pitch, *stored)
    expected = [told[name]["expected"] for name in DIAMETERS]

    assert [*stored] == [round(diameter, decimals) for diameter in expected]
    assert "fits" == told["verdict"]


def test_every_member_is_there_in_order(engineer: Client) -> None:
    """The standard, both diameters as they are stored, expected and apart, and the verdict."""
    told = geometry_of(engineer, 5, 1, 5, 6)
    expected = {
        name: {
            "stored": stored,
            "expected": pytest.approx(diameter),
            "deviation": pytest.approx((stored - diameter) / diameter),
        }
        for name, stored, diameter in zip(DIAMETERS, (5.0, 6.0), expected_diameters(5, 1), strict=True)
    }

    assert {"standard": "ASME B29.1"} | expected | {"verdict": "deviates"} == told
    assert ["standard", *DIAMETERS, "verdict"] == list(told)
    assert ["stored", "expected", "deviation"] == list(told["pitch_diameter"])


@pytest.mark.parametrize("chain", STANDARD_PITCH_INCHES)
@pytest.mark.parametrize("teeth", [3, 17, 10_000])
def test_what_the_standard_gives_fits(engineer: Client, chain: str, teeth: int) -> None:
    """A sprocket by the formulas fits, for every chain of the standard and in inches as in millimetres."""
    pitch = STANDARD_PITCH_INCHES[chain] * 25.4
    told = geometry_of(engineer, teeth, pitch, *expected_diameters(teeth, pitch))

    assert "fits" == told["verdict"]
    assert pytest.approx(0, abs=1e-12) == told["pitch_diameter"]["deviation"]


@pytest.mark.parametrize(
    ("pitch_factor", "outside_factor", "verdict"),
    [
        (1.0009, 1.0, "fits"),
        (0.9991, 1.0, "fits"),
        (1.0011, 1.0, "deviates"),
        (0.9989, 1.0, "deviates"),
        (1.0, 1.009, "fits"),
        (1.0, 0.991, "fits"),
        (1.0, 1.011, "deviates"),
        (1.0, 0.989, "deviates"),
        (1.0011, 1.011, "deviates"),
    ],
)
def test_the_verdict_allows_a_thousandth_and_a_hundredth(
    engineer: Client, pitch_factor: float, outside_factor: float, verdict: str
) -> None:
    """The pitch diameter fits within 0.1 %, and the outside diameter, which is approximate, within 1 %."""
    pitch_diameter, outside_diameter = expected_diameters(20, 25.4)
    told = geometry_of(engineer, 20, 25.4, pitch_diameter * pitch_factor, outside_diameter * outside_factor)

    assert verdict == told["verdict"]
    assert pytest.approx(pitch_factor - 1, abs=1e-9) == told["pitch_diameter"]["deviation"]
    assert pytest.approx(outside_factor - 1, abs=1e-9) == told["outside_diameter"]["deviation"]


@pytest.mark.parametrize("teeth", [3, 10_000])
@pytest.mark.parametrize("pitch", [SMALLEST, LARGEST])
@pytest.mark.parametrize("diameter", [SMALLEST, LARGEST])
def test_whatever_can_be_stored_can_be_compared(engineer: Client, teeth: int, pitch: float, diameter: float) -> None:
    """The smallest and the largest lengths give numbers, never null."""
    told = geometry_of(engineer, teeth, pitch, diameter, diameter)
    numbers = [value for name in DIAMETERS for value in told[name].values()]

    assert [float] * 6 == [type(number) for number in numbers]
    assert all(math.isfinite(number) for number in numbers)


def test_it_is_that_of_what_is_stored_now(engineer: Client) -> None:
    """A change of the sprocket changes it, and with it the version by which a reader knows it."""
    engineer.post("/sprockets", json=a_sprocket())
    before = engineer.get("/sprockets/1/geometry")
    known = engineer.get("/sprockets/1/geometry", headers={"If-None-Match": before.headers["ETag"]})
    engineer.patch("/sprockets/1", json={"pitch_diameter": 150})
    after = engineer.get("/sprockets/1/geometry", headers={"If-None-Match": before.headers["ETag"]})

    assert [200, 304, 200] == [answer.status_code for answer in (before, known, after)]
    assert ["fits", "deviates"] == [answer.json()["verdict"] for answer in (before, after)]
