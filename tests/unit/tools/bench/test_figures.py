"""How figures come from runs, and what is written of them."""

import json
from pathlib import Path

import pytest

from tools.bench.plan import QUICK, WHOLE
from tools.bench.report import report
from tools.bench.report.figures import KEYS, MEASURES, percentile, ratios, selected, slope_per_minute


def test_the_keys_are_those_that_are_promised() -> None:
    promised = (
        "p1_jobs_per_second p1_over_dramatiq p1_over_sql p2_jobs_per_second p2_over_dramatiq p3_deducts_per_second"
        " p3_over_echo p3_hot_over_p3 p4_ms_p50 p4_ms_p99 p5_ms_p99 p6_ratio p7_mb_max p8_us"
    )
    assert set(promised.split()) <= KEYS.keys()
    assert {figure.measure for figure in KEYS.values()} == set(MEASURES)
    assert all(key.startswith(f"{figure.measure.lower()}_") for key, figure in KEYS.items())


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (99.1, 100), (100, 100)]
)
def test_a_percentile_is_the_value_of_its_rank(percent: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_a_percentile_of_one_value_is_that_value_and_of_none_an_error() -> None:
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_slope_is_that_of_the_nearest_line() -> None:
    assert slope_per_minute([(0, 100), (60, 102), (120, 104)]) == pytest.approx(2)
    assert slope_per_minute([(5, 1), (6, 3), (7, 1), (8, 3)]) == pytest.approx(24)
    assert slope_per_minute([(0, 50), (600, 50)]) == 0


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_a_slope_needs_two_times(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two times"):
        slope_per_minute(points)


def test_ratios_are_there_when_both_sides_are() -> None:
    measured = {"p1_jobs_per_second": 5000.0, "p2_jobs_per_second": 1500.0}
    assert ratios(measured, sql=10_000, dramatiq=1000) == {
        "p1_over_sql": 0.5,
        "p1_over_dramatiq": 5,
        "p2_over_dramatiq": 1.5,
    }
    assert ratios(measured, sql=10_000, dramatiq=None) == {"p1_over_sql": 0.5}
    assert ratios({}, sql=10_000, dramatiq=1000) == {}


def test_measures_are_selected_by_name_in_any_case() -> None:
    assert selected([]) == frozenset(MEASURES)
    assert selected(["p1,P4", " p8 "]) == {"P1", "P4", "P8"}
    with pytest.raises(ValueError, match="P0, P9: the measures are P1, "):
        selected(["P9,P1,P0"])


def test_more_or_less_reaches_a_target_as_the_figure_has_it() -> None:
    assert KEYS["p1_over_sql"].reached(0.4) is True
    assert KEYS["p1_over_sql"].reached(0.39) is False
    assert KEYS["p4_ms_p50"].reached(5) is True
    assert KEYS["p4_ms_p50"].reached(5.1) is False
    assert KEYS["p1_jobs_per_second"].reached(1) is None


def test_the_table_has_what_was_measured_with_target_and_verdict() -> None:
    figures = {"p8_us": 61.0, "p4_ms_p50": 4.236, "p1_jobs_per_second": 12_345.6, "taskiq_jobs_per_second": 1140.0}
    assert report.rows(figures) == [
        ["P1", "jobs in batches of 200, end to end", "12,346 jobs/s", "", ""],
        ["P4", "pickup on an idle system, median", "4.24 ms", "at most 5 ms", "reached"],
        ["P8", "the layers' CPU time a unary call", "61.00 us", "at most 60 us", "missed"],
    ]
    assert report.others(figures) == [["taskiq jobs per second", "1,140"]]


def test_the_document_is_written_with_rounded_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    report.write(file, {"p6_ratio": 1 / 3, "runs": {"p6": [2 / 3, 1]}, "machine": {"cpus": 2, "name": None}})
    assert json.loads(file.read_text()) == {
        "p6_ratio": 0.3333,
        "runs": {"p6": [0.6667, 1]},
        "machine": {"cpus": 2, "name": None},
    }


def test_the_quick_plan_has_the_same_sizes_only_smaller() -> None:
    quick, whole = QUICK.settings(), WHOLE.settings()
    same = {name for name in whole if quick[name] == whole[name]}
    assert same == {"batch", "batch_callers", "callers"}
    assert all(quick[name] < whole[name] for name in whole.keys() - same)
