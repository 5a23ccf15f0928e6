"""Submissions beside one that can't be served: a wallet that is locked, and a wallets service that hangs."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
import psycopg
import pytest

from innosystem.client import InnosystemError
from innosystem.jobs.v1 import job_pb2, job_service_pb2
from services import SERVICES
from tests.e2e.stack import Stack, new_job, refusal

CALLS = 120
THREADS = 8


def took(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


def submit(stack: Stack, request: job_service_pb2.CreateJobRequest, seconds: float = 15.0) -> job_pb2.Job:
    return stack.jobs.CreateJob(request, timeout=seconds).job


@pytest.mark.slow
def test_while_one_customers_wallet_is_locked_the_jobs_of_the_others_are_accepted_as_ever(stack: Stack) -> None:
    stack.start(*SERVICES)
    ada, *others = [stack.paying_customer() for _ in range(4)]
    job_type = stack.job_type("echo")
    for customer in (ada, *others):
        submit(stack, new_job(customer, job_type))
    stuck = new_job(ada, job_type)
    with psycopg.connect(stack.database_urls["wallets"]) as session, ThreadPoolExecutor(2 * THREADS) as pool:
        session.execute("SELECT FROM wallets WHERE customer_id = %s FOR UPDATE", [ada])
        trouble = [pool.submit(refusal, partial(submit, stack, new_job(ada, job_type))) for _ in range(THREADS)]
        repeated = pool.submit(refusal, partial(submit, stack, stuck))
        calls = [
            pool.submit(took, partial(submit, stack, new_job(others[number % 3], job_type))) for number in range(CALLS)
        ]
        seconds = [call.result() for call in calls]
        refused = [one.result() for one in [*trouble, repeated]]
    assert p99(seconds) < 1.0
    for error in refused:
        assert isinstance(error, InnosystemError)
        assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ROW_LOCKED")
        assert error.retry_after_seconds
    # The same again, now that nobody has it locked.
    assert submit(stack, stuck).id == stuck.job_id


@pytest.mark.slow
def test_while_the_wallets_service_hangs_free_jobs_and_repeated_calls_are_answered(stack: Stack) -> None:
    stack.start(*SERVICES)
    customer = stack.paying_customer()
    paid, free = stack.job_type("echo"), stack.job_type("echo", standard_cost_cents=0)
    stored = new_job(customer, paid)
    submit(stack, stored)
    submit(stack, new_job(customer, free))
    stack.processes["wallets"].send(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            waiting = [pool.submit(refusal, partial(submit, stack, new_job(customer, paid), 3.0)) for _ in range(6)]
            # Calls that wait for a frozen process show nothing to poll for.
            time.sleep(0.5)
            free_seconds = [took(partial(submit, stack, new_job(customer, free))) for _ in range(5)]
            replay_seconds = [took(partial(submit, stack, stored)) for _ in range(5)]
            assert max(free_seconds) < 1.0
            assert max(replay_seconds) < 1.0
            assert not any(one.done() for one in waiting)
            assert all(one.result() is not None for one in waiting)
    finally:
        stack.processes["wallets"].send(signal.SIGCONT)


@pytest.mark.slow
def test_while_the_customers_service_hangs_jobs_of_customers_who_are_known_are_accepted(stack: Stack) -> None:
    stack.start("customers", "wallets")
    stack.start("jobs", WALLETS_ADDRESS=stack.addresses["wallets"], JOBS_CACHE_TTL_SECONDS="60")
    known, stranger = stack.paying_customer(), stack.paying_customer()
    job_type = stack.job_type("echo")
    submit(stack, new_job(known, job_type))
    stack.processes["customers"].send(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            waiting = [pool.submit(refusal, partial(submit, stack, new_job(stranger, job_type))) for _ in range(6)]
            seconds = [took(partial(submit, stack, new_job(known, job_type))) for _ in range(5)]
            assert max(seconds) < 1.0
            assert not any(one.done() for one in waiting)
            assert {getattr(one.result(), "reason", "accepted") for one in waiting} == {"DEPENDENCY_UNAVAILABLE"}
    finally:
        stack.processes["customers"].send(signal.SIGCONT)
