"""Who moved money, and who changed jobs and queues by hand, is in the audit trail (D11, ADR 0053)."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest
from psycopg.rows import dict_row

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from tests.support.rpc.jobs_stack import JobsStack, WalletsServer

SERVICE = "jobs"

Caused = Callable[[str, str], list[dict[str, Any]]]


@pytest.fixture
def caused(database_url: str, wallets_server: WalletsServer) -> Caused:
    """Read what a request wrote to the audit trail of a service, by its ID: `caused("wallets", request_id)`."""

    def read(service: str, request_id: str) -> list[dict[str, Any]]:
        url = wallets_server.url if service == "wallets" else database_url
        with psycopg.connect(url, row_factory=dict_row) as connection:
            query = "SELECT * FROM audit_log WHERE request_id = %s ORDER BY id"
            return connection.execute(query, [request_id]).fetchall()

    return read


def named() -> dict[str, Any]:
    """Return the metadata of a request with an ID of its own."""
    return {"metadata": (("x-request-id", str(uuid4())),)}


def id_of(request: dict[str, Any]) -> str:
    return str(request["metadata"][0][1])


def check_origin(entries: list[dict[str, Any]], method: str) -> None:
    assert {entry["method"] for entry in entries} == {method}
    assert all(entry["actor"] for entry in entries)
    assert all(entry["transaction_id"] for entry in entries)


def credit_of(customer_id: str, key: str) -> wallets_pb.CreditRequest:
    return wallets_pb.CreditRequest(customer_id=customer_id, currency="EUR", amount_cents=7, idempotency_key=key)


def test_a_credit_is_written_down_once_however_often_it_is_sent(world: JobsStack, caused: Caused) -> None:
    request, key = named(), str(uuid4())
    customer_id = world.customer()
    written = world.wallets.Credit(credit_of(customer_id, key), **request).transaction
    assert world.wallets.Credit(credit_of(customer_id, key), **request).replayed
    [entry] = caused("wallets", id_of(request))
    check_origin([entry], "/innosystem.wallets.v1.WalletService/Credit")
    assert (entry["entity_type"], str(entry["entity_id"])) == ("wallet_transactions", written.id)
    assert (entry["action"], entry["after"]["amount_cents"]) == ("CREATE", 7)


def test_credits_that_share_a_transaction_are_each_their_callers(world: JobsStack, caused: Caused) -> None:
    requests = [named() for _ in range(8)]
    customer_id = world.customer()
    calls = [world.wallets.Credit.future(credit_of(customer_id, str(uuid4())), **one) for one in requests]
    written = [call.result().transaction.id for call in calls]
    found = [caused("wallets", id_of(one)) for one in requests]
    assert [[str(entry["entity_id"]) for entry in entries] for entries in found] == [[one] for one in written]


def test_a_refused_credit_leaves_nothing(world: JobsStack, caused: Caused) -> None:
    request = named()
    with pytest.raises(grpc.RpcError):
        world.wallets.Credit(credit_of(str(uuid4()), str(uuid4())), **request)
    assert caused("wallets", id_of(request)) == []


def deduct_of(customer_id: str, job_id: str = "", hold_id: str = "") -> wallets_pb.DeductRequest:
    key = f"job:{job_id}" if job_id else str(uuid4())
    return wallets_pb.DeductRequest(
        customer_id=customer_id, currency="EUR", amount_cents=5, idempotency_key=key, job_id=job_id, hold_id=hold_id
    )


def test_a_refund_is_written_down_and_the_charge_of_a_job_is_not(world: JobsStack, caused: Caused) -> None:
    charge, batch, refund = named(), named(), named()
    customer_id = world.customer()
    charged = world.wallets.Deduct(deduct_of(customer_id, str(uuid4())), **charge).transaction
    world.wallets.BatchDeduct(
        wallets_pb.BatchDeductRequest(requests=[deduct_of(customer_id, str(uuid4())) for _ in range(3)]), **batch
    )
    world.wallets.Refund(
        wallets_pb.RefundRequest(transaction_id=charged.id, amount_cents=4, idempotency_key=str(uuid4())), **refund
    )
    assert caused("wallets", id_of(charge)) == caused("wallets", id_of(batch)) == []
    [entry] = caused("wallets", id_of(refund))
    check_origin([entry], "/innosystem.wallets.v1.WalletService/Refund")
    assert (entry["after"]["amount_cents"], entry["after"]["refunds_transaction_id"]) == (4, charged.id)


def test_a_deduction_that_is_for_no_job_is_written_down(world: JobsStack, caused: Caused) -> None:
    alone, batch = named(), named()
    customer_id = world.customer()
    deducted = world.wallets.Deduct(deduct_of(customer_id), **alone).transaction
    [entry] = caused("wallets", id_of(alone))
    check_origin([entry], "/innosystem.wallets.v1.WalletService/Deduct")
    assert (str(entry["entity_id"]), entry["after"]["amount_cents"]) == (deducted.id, -5)
    requests = [deduct_of(customer_id), deduct_of(customer_id, str(uuid4()))]
    results = world.wallets.BatchDeduct(wallets_pb.BatchDeductRequest(requests=requests), **batch).results
    [entry] = caused("wallets", id_of(batch))
    check_origin([entry], "/innosystem.wallets.v1.WalletService/BatchDeduct")
    assert str(entry["entity_id"]) == results[0].response.transaction.id


def test_a_hold_that_a_hand_places_is_written_down_once_and_those_of_jobs_are_not(
    world: JobsStack, caused: Caused
) -> None:
    alone, again, batch = named(), named(), named()

    def hold() -> wallets_pb.PlaceHoldRequest:
        return wallets_pb.PlaceHoldRequest(
            hold_id=str(uuid4()), job_id=str(uuid4()), customer_id=customer_id, currency="EUR", amount_cents=5
        )

    customer_id = world.customer()
    placed = world.wallets.PlaceHold(asked := hold(), **alone).hold
    assert world.wallets.PlaceHold(asked, **again).replayed
    world.wallets.BatchPlaceHolds(wallets_pb.BatchPlaceHoldsRequest(requests=[hold(), hold()]), **batch)
    [entry] = caused("wallets", id_of(alone))
    check_origin([entry], "/innosystem.wallets.v1.WalletService/PlaceHold")
    assert (entry["entity_type"], str(entry["entity_id"])) == ("holds", placed.id)
    assert (entry["action"], entry["after"]["amount_cents"]) == ("CREATE", 5)
    assert caused("wallets", id_of(again)) == caused("wallets", id_of(batch)) == []


def test_a_hold_that_a_hand_releases_is_written_down(world: JobsStack, caused: Caused) -> None:
    request = named()
    job, _ = world.running(customer_id=world.customer())
    world.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=job.hold_id), **request)
    [entry] = caused("wallets", id_of(request))
    check_origin([entry], "/innosystem.wallets.v1.WalletService/ReleaseHold")
    assert (entry["before"]["state"], entry["after"]["state"]) == ("ACTIVE", "RELEASED")


def test_a_write_off_is_written_down_by_both_services(world: JobsStack, caused: Caused) -> None:
    request = named()
    job, lease_id = world.running(customer_id=world.customer(5))
    world.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=job.hold_id))
    spent = wallets_pb.DeductRequest(
        customer_id=job.customer_id, currency=job.currency, amount_cents=5, idempotency_key="elsewhere"
    )
    world.wallets.Deduct(spent)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    declined = pb.JobSettlement(job_id=job.id, declined=pb.ChargeDeclined(reason="INSUFFICIENT_FUNDS"))
    world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[declined]))
    world.jobs.WriteOffJob(pb.WriteOffJobRequest(job_id=job.id, reason="never paid"), **request)
    [entry] = caused("jobs", id_of(request))
    check_origin([entry], "/innosystem.jobs.v1.JobService/WriteOffJob")
    assert (entry["before"]["billing_status"], entry["after"]["billing_status"]) == ("DECLINED", "CHARGED")
    lines = caused("wallets", id_of(request))
    check_origin(lines, "/innosystem.wallets.v1.WalletService/WriteOff")
    assert [line["after"]["amount_cents"] for line in lines] == [5, -5]


def test_a_job_that_is_cancelled_and_run_again_is_written_down_each_time_without_its_payload(
    world: JobsStack, caused: Caused
) -> None:
    cancel, again, retry = named(), named(), named()
    job = world.job(input_json='"the payload"')
    asked = pb.CancelJobRequest(job_id=job.id, reason="by mistake")
    world.jobs.CancelJob(asked, **cancel)
    world.jobs.CancelJob(asked, **again)
    world.released(job.id)
    world.jobs.RetryJob(pb.RetryJobRequest(job_id=job.id), **retry)
    [cancelled] = caused("jobs", id_of(cancel))
    check_origin([cancelled], "/innosystem.jobs.v1.JobService/CancelJob")
    assert (cancelled["before"]["status"], cancelled["after"]["status"]) == ("PENDING", "CANCELLED")
    assert cancelled["after"]["error_message"] == "by mistake"
    assert "the payload" not in str(cancelled)
    assert caused("jobs", id_of(again)) == []
    [retried] = caused("jobs", id_of(retry))
    check_origin([retried], "/innosystem.jobs.v1.JobService/RetryJob")
    assert (retried["before"]["status"], retried["after"]["status"]) == ("CANCELLED", "PENDING")


def test_jobs_that_are_cancelled_by_a_filter_have_an_entry_each_in_one_transaction(
    world: JobsStack, caused: Caused
) -> None:
    request = named()
    customer_id = world.customer()
    jobs = [world.job(customer_id=customer_id) for _ in range(3)]
    wanted = pb.JobFilter(filter=f'customer_id = "{customer_id}"')
    world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(filter=wanted), **request)
    entries = caused("jobs", id_of(request))
    check_origin(entries, "/innosystem.jobs.v1.JobService/BatchCancelJobs")
    assert {str(entry["entity_id"]) for entry in entries} == {job.id for job in jobs}
    assert len({entry["transaction_id"] for entry in entries}) == 1


def test_a_queue_that_is_paused_and_resumed_has_a_history(world: JobsStack, caused: Caused) -> None:
    pause, resume, queue = named(), named(), f"queue-{uuid4()}"
    world.jobs.PauseQueue(pb.PauseQueueRequest(queue=queue), **pause)
    world.jobs.ResumeQueue(pb.ResumeQueueRequest(queue=queue), **resume)
    [paused], [resumed] = caused("jobs", id_of(pause)), caused("jobs", id_of(resume))
    check_origin([paused], "/innosystem.jobs.v1.JobService/PauseQueue")
    check_origin([resumed], "/innosystem.jobs.v1.JobService/ResumeQueue")
    assert paused["entity_id"] == resumed["entity_id"]
    assert paused["after"] == {"id": str(paused["entity_id"]), "name": queue, "paused": True}
    assert (resumed["before"]["paused"], resumed["after"]["paused"]) == (True, False)


def test_a_job_of_somebody_else_is_in_no_trail_because_it_ran(world: JobsStack, caused: Caused) -> None:
    request = named()
    job, lease_id = world.running(customer_id=world.customer())
    completion = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1")
    done = world.jobs.CompleteJobs(pb.CompleteJobsRequest(completions=[completion]), **request)
    assert done.results
    assert world.get(job.id).status == job_pb2.JOB_STATUS_SUCCEEDED
    assert caused("jobs", id_of(request)) == []
