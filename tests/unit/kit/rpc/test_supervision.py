"""What a supervisor decides: whether a process that has ended is started again, and the settings of each."""

import signal

import pytest

from services.kit.rpc.serving.supervision import (
    PAUSE_SECONDS,
    PAUSE_SECONDS_MAX,
    STEADY_SECONDS,
    GiveUp,
    Restarts,
    StartAgain,
    has_stopped_well,
    process_settings,
)
from services.kit.settings import ServerSettings


def settings(metrics: str = "") -> ServerSettings:
    return ServerSettings(listen_address="127.0.0.1:0", metrics_listen_address=metrics)


@pytest.mark.parametrize("status", [-signal.SIGKILL, 1, 0])
def test_a_process_that_ends_by_itself_is_restarted_quickly(status: int) -> None:
    assert Restarts().after(status, served_seconds=5, complete=True) == StartAgain(PAUSE_SECONDS)


def test_pauses_grow_up_to_a_limit_as_long_as_a_process_does_not_last() -> None:
    restarts = Restarts()

    decisions = [restarts.after(1, served_seconds=0, complete=True) for _ in range(12)]

    pauses = [one.pause_seconds for one in decisions if isinstance(one, StartAgain)]
    assert pauses[:3] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS]
    assert pauses == sorted(pauses)
    assert len(pauses) == 12
    assert pauses[-1] == PAUSE_SECONDS_MAX


def test_a_process_that_served_for_long_is_restarted_quickly_despite_earlier_failures() -> None:
    restarts = Restarts(failures=7)

    assert restarts.after(-9, served_seconds=STEADY_SECONDS, complete=True) == StartAgain(PAUSE_SECONDS)


@pytest.mark.parametrize("complete", [False, True])
def test_a_startup_error_ends_all_at_any_time(complete: bool) -> None:
    assert Restarts().after(2, served_seconds=0, complete=complete) == GiveUp(2)


@pytest.mark.parametrize(("status", "whole"), [(1, 1), (130, 130), (-signal.SIGKILL, 1), (0, 1)])
def test_before_all_have_served_an_end_of_one_ends_all_and_never_with_0(status: int, whole: int) -> None:
    assert Restarts().after(status, served_seconds=0, complete=False) == GiveUp(whole)


def test_a_stopped_process_may_end_by_the_signal_only_before_it_serves() -> None:
    assert has_stopped_well(0, ready=True)
    assert has_stopped_well(-signal.SIGTERM, ready=False)
    assert not has_stopped_well(-signal.SIGTERM, ready=True)
    assert not has_stopped_well(-signal.SIGKILL, ready=False)
    assert not has_stopped_well(1, ready=True)


def test_all_processes_listen_on_the_given_address_and_share_the_port() -> None:
    own = process_settings(settings(), "JOBS_", 2, "127.0.0.1:7000")

    assert own == {"JOBS_LISTEN_ADDRESS": "127.0.0.1:7000", "JOBS_REUSE_PORT": "true"}


@pytest.mark.parametrize(
    ("set_to", "number", "own"),
    [
        ("127.0.0.1:9464", 1, "127.0.0.1:9464"),
        ("127.0.0.1:9464", 3, "127.0.0.1:9466"),
        ("[::]:9464", 2, "[::]:9465"),
        ("127.0.0.1:0", 2, "127.0.0.1:0"),
        ("nonsense", 2, "nonsense"),
    ],
)
def test_each_process_has_a_port_of_its_own_for_metrics(set_to: str, number: int, own: str) -> None:
    found = process_settings(settings(set_to), "JOBS_", number, "127.0.0.1:7000")

    assert found["JOBS_METRICS_LISTEN_ADDRESS"] == own
