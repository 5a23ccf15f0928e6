"""Which columns fit into a terminal, and how a table looks there and in a pipe."""

import io
import os
import pty
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from innosystem.jobs.v1.job_pb2 import JOB_STATUS_FAILED, JOB_STATUS_SUCCEEDED, Job
from tools.cli.commands.jobs.columns import columns_of, error_of
from tools.cli.names import NO_NAMES
from tools.cli.output import Column, Columns, age, field, since
from tools.cli.output.cells import shown_seconds, shown_time
from tools.cli.output.columns import GAP, fitted
from tools.cli.output.text import print_columns

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ID = "01990000-0000-7000-8000-000000000201"
COLUMNS = (
    field("id", usual=36),
    field("status", priority=2, usual=9),
    age("created_at", priority=1),
    field("queue", priority=3),
    Column("error", lambda job, now: job.error.message or "-", priority=1, cut=8),
)


def column(priority: int = 0, cut: int = 0, usual: int = 0) -> Column:
    return Column("x", lambda message, now: "", priority=priority, cut=cut, usual=usual)


def test_all_columns_stay_where_they_fit() -> None:
    assert fitted([column(), column(1), column(2)], [10, 10, 10], 34) == [10, 10, 10]


def test_the_column_of_the_least_importance_is_left_out_first() -> None:
    assert fitted([column(), column(2), column(1)], [10, 10, 10], 33) == [10, 0, 10]


def test_a_small_column_takes_the_place_of_a_large_one() -> None:
    assert fitted([column(usual=10), column(1, usual=30), column(2, usual=8)], [10, 30, 8], 20) == [10, 0, 8]


def test_a_column_is_cut_before_another_is_left_out() -> None:
    assert fitted([column(), column(2), column(1, cut=5)], [10, 10, 100], 34) == [10, 10, 10]


def test_the_columns_depend_on_the_terminal_and_not_on_what_is_in_the_list() -> None:
    columns = [column(usual=10), column(1, usual=10), column(2, usual=10), column(3, cut=10)]
    for widths in ([10, 10, 10, 10], [1, 1, 1, 1], [5, 10, 1, 300]):
        assert [bool(width) for width in fitted(columns, widths, 45)] == [True, True, True, False]
        assert all(fitted(columns, widths, 46))


def test_the_last_column_gives_way_to_a_text_that_is_longer_than_usual() -> None:
    assert fitted([column(usual=10), column(2, usual=10), column(1, usual=10)], [10, 10, 20], 34) == [10, 0, 20]


def test_columns_without_priority_stay_on_the_narrowest_terminal() -> None:
    assert fitted([column(), column(1)], [36, 5], 10) == [36, 0]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(1, 60)), min_size=1, max_size=12),
    st.integers(1, 300),
)
def test_chosen_columns_never_exceed_the_terminal(drawn: list[tuple[int, int, int]], width: int) -> None:
    columns = [column(priority, cut) for priority, cut, _ in drawn]
    full = [length for _, _, length in drawn]
    found = fitted(columns, full, width)
    always = [min(length, one.cut or length) for one, length in zip(columns, full, strict=True) if not one.priority]
    total = sum(length + GAP for length in found if length) - GAP
    assert total <= max(width, sum(length + GAP for length in always) - GAP)
    for one, length, shown in zip(columns, full, found, strict=True):
        assert shown == 0 or min(length, one.cut or length) <= shown <= length


def job(**fields: Any) -> Job:
    made = Job(id=ID, status=JOB_STATUS_SUCCEEDED, queue="default", **fields)
    made.created_at.FromDatetime(datetime.now(UTC) - timedelta(minutes=3, seconds=5))
    return made


OnTerminal = Callable[[Callable[[], None], int], str]


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> OnTerminal:
    """Return what a function prints on a terminal of some columns."""

    def run(show: Callable[[], None], width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        leader, follower = pty.openpty()
        with os.fdopen(follower, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            show()
        shown = b""
        with suppress(OSError):  # the end of what a closed terminal has
            while True:
                shown += os.read(leader, 100_000)
        os.close(leader)
        return shown.decode().replace("\r\n", "\n")

    return run


def plain(text: str) -> str:
    import re

    return re.sub("\x1b\\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_longer_than_the_terminal_and_no_id_is_broken(on_terminal: OnTerminal, width: int) -> None:
    failed = job(error={"type": "ValueError", "message": "日本語 and more " * 20})
    shown = plain(on_terminal(lambda: print_columns([job(), failed], COLUMNS, fit=True), width))
    assert max(map(cell_len, shown.splitlines())) <= width
    assert shown.count(ID) == 2
    assert ("queue" in shown) == (width >= 60)


def test_a_cut_text_ends_in_an_ellipsis_and_stays_on_its_line(on_terminal: OnTerminal) -> None:
    shown = plain(on_terminal(lambda: print_columns([job(error={"message": "a\nb" * 99})], COLUMNS, fit=True), 80))
    assert len(shown.splitlines()) == 3
    assert shown.splitlines()[2].endswith("…")


def test_a_column_that_is_empty_in_every_row_is_there_as_well(on_terminal: OnTerminal) -> None:
    assert "error" in on_terminal(lambda: print_columns([job()], COLUMNS, fit=True), 120)


def test_a_terminal_has_starts_of_ids_and_a_pipe_whole_ones(
    on_terminal: OnTerminal, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job(id="0199f3a2-7c1b-7000-8000-000000000201"), Job(id="0199f3b2-7c1b-7000-8000-000000000201")]
    columns = [field("id", short=True)]
    shown = plain(on_terminal(lambda: print_columns(jobs, columns, fit=True), 80))
    assert shown.split() == ["id", "─" * 11, "0199f3a2-7c", "0199f3b2-7c"]
    print_columns(jobs, columns, fit=True)
    assert jobs[0].id in capsys.readouterr().out
    # As `-o wide` does.
    assert jobs[0].id in on_terminal(lambda: print_columns(jobs, columns, fit=False), 80)


@pytest.mark.parametrize("width", [80, 120])
def test_lists_of_jobs_have_the_same_columns_whatever_is_in_them(on_terminal: OnTerminal, width: int) -> None:
    plainest = job(currency="EUR")
    failed = job(error={"type": "SyntaxError", "message": "invalid " * 20}, attempt=10, max_attempts=10, currency="EUR")
    dear = job(cost_cents=1999, currency="EUR", job_type_id="python.source-stats")
    titles = set()
    for jobs in ([plainest], [failed], [plainest, dear], [failed, dear]):
        columns = columns_of(NO_NAMES).of_table()
        shown = plain(on_terminal(lambda jobs=jobs, columns=columns: print_columns(jobs, columns, fit=True), width))  # type: ignore[misc]
        titles.add(tuple(shown.splitlines()[0].split()))
        assert max(map(cell_len, shown.splitlines())) <= width
    (only,) = titles
    wide = ["billing", "cost", "customer"] if width == 120 else []
    assert sorted(only) == sorted(["id", "type", "status", "try", "age", "error", *wide])


def test_a_cancelled_job_shows_the_reason_and_not_its_status_again() -> None:
    assert error_of(job(error={"type": "CANCELLED", "message": "no longer wanted"})) == "no longer wanted"
    assert error_of(job(error={"type": "CANCELLED"})) == "CANCELLED"
    assert error_of(job(error={"type": "ValueError", "message": "x"})) == "ValueError: x"


def test_times_are_relative_on_a_terminal(on_terminal: OnTerminal) -> None:
    shown = plain(on_terminal(lambda: print_columns([job()], COLUMNS, fit=True), 120))
    assert "age" in shown
    assert "3 m" in shown


def test_statuses_have_colours_on_a_terminal(on_terminal: OnTerminal) -> None:
    jobs = [job(), Job(id=ID, status=JOB_STATUS_FAILED)]
    shown = on_terminal(lambda: print_columns(jobs, COLUMNS, fit=True), 120)
    assert "\x1b[32mSUCCEEDED\x1b[0m" in shown
    assert "\x1b[31mFAILED\x1b[0m" in shown


def test_no_color_is_honoured(on_terminal: OnTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_terminal(lambda: print_columns([job()], COLUMNS, fit=True), 120)
    assert "SUCCEEDED" in shown
    assert "\x1b[3" not in shown


def test_a_pipe_gets_everything_without_colours_and_with_absolute_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    message = "long " * 100 + "end"
    print_columns([job(error={"message": message}, created_at=Timestamp(seconds=1))], COLUMNS, fit=True)
    titles, _, row = capsys.readouterr().out.splitlines()
    assert titles.split() == ["id", "status", "created", "at", "queue", "error"]
    assert message in row
    assert "\x1b" not in row


def test_a_file_that_is_no_terminal_is_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.StringIO()
    monkeypatch.setattr(sys, "stdout", target)
    print_columns([job()], COLUMNS, fit=True)
    assert "created at" in target.getvalue()


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (0.4, "now"),
        (12, "12 s ago"),
        (59.9, "59 s ago"),
        (185, "3 m ago"),
        (7300, "2 h ago"),
        (3 * 86_400, "3 d ago"),
        (-7300, "in 2 h"),
        (-1, "in 1 s"),
    ],
)
def test_times_are_relative_in_their_largest_unit(ago: float, text: str) -> None:
    assert shown_time(NOW - timedelta(seconds=ago), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (59.9, "59.9 s"),
        (60, "1 m"),
        (192, "3 m 12 s"),
        (7500, "2 h 5 m"),
        (9e4, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert shown_seconds(seconds) == text
    assert since(NOW, NOW + timedelta(seconds=seconds)) == text


def test_columns_for_wide_are_not_in_the_table() -> None:
    columns = Columns((field("id"), field("labels", wide=True)))
    assert [each.title for each in columns.of_table()] == ["id"]
