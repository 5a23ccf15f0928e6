"""Charts of the bench."""

from xml.etree import ElementTree

import pytest

from tools.bench.report.svg import Chart, draw

SVG = "{http://www.w3.org/2000/svg}"
CHART = Chart("Jobs & more", "jobs a call", "jobs a second", (1, 10, 100), {"a <b>": (0, 450, 900), "c": (1, 2, 3)})


def points(drawn: str) -> list[list[tuple[float, float]]]:
    """The corners of each line."""
    lines = ElementTree.fromstring(drawn).findall(f"{SVG}polyline")
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.attrib["points"].split())] for line in lines]


def test_a_chart_is_xml_that_shows_all_texts() -> None:
    texts = {element.text for element in ElementTree.fromstring(draw(CHART)).iter(f"{SVG}text")}
    assert {"Jobs & more", "jobs a call", "jobs a second", "a <b>", "c", "1", "10", "100", "0", "1,000"} <= texts


def test_lines_go_up_with_their_values_and_stay_inside() -> None:
    first, second = points(draw(CHART))
    assert [x for x, _ in first] == [x for x, _ in second] == sorted(x for x, _ in first)
    heights = [y for _, y in first]
    assert heights == sorted(heights, reverse=True)
    assert heights[1] - heights[2] == pytest.approx(heights[0] - heights[1], abs=0.2)
    assert all(40 <= y <= 290 for y in heights)


@pytest.mark.parametrize("largest", [0.0, 0.003, 1.0, 5.0, 99.9, 100.0, 12_345.0])
def test_every_largest_value_has_room(largest: float) -> None:
    [line] = points(draw(Chart("t", "x", "y", (1,), {"a": (largest,)})))
    assert 40 <= line[0][1] <= 290


def test_what_can_not_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="a has 1 values at 2 places"):
        draw(Chart("t", "x", "y", (1, 2), {"a": (1,)}))
    with pytest.raises(ValueError, match="needs places"):
        draw(Chart("t", "x", "y", (), {}))
