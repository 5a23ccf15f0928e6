"""Spans of calls and transactions, for services that run under OpenTelemetry (D4, C6)."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from innosystem.customers.v1 import customer_service_pb2 as pb
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import EtagMismatch
from tests.integration.kit.rpc.serving import Context, Gate, running
from tests.support.until import until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
METHOD = "innosystem.customers.v1.CustomerService/GetCustomer"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is recorded by a process that was started under OpenTelemetry."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # A process may set it only once; other tests run without.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


async def test_a_call_is_a_span_of_its_callers_trace_and_a_transaction_one_within_it(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    transactions = MemoryTransactions()
    ids: list[str] = []

    async def in_a_transaction(request: pb.GetCustomerRequest, context: Context) -> None:
        async with transactions.begin() as transaction:
            ids.append(transaction.id)

    async with running(tmp_path, in_a_transaction) as server:
        await server.get(metadata=(("traceparent", PARENT),))
    inner, call = spans.get_finished_spans()
    assert (call.name, call.kind) == (METHOD, trace.SpanKind.SERVER)
    assert call.context is not None
    assert f"{call.context.trace_id:032x}" == TRACE_ID
    assert call.attributes is not None
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert inner.parent is not None
    assert inner.parent.span_id == call.context.span_id
    assert inner.attributes == {"innosystem.transaction_id": ids[0]}


async def test_a_refused_call_is_a_span_with_its_status(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    async def refuse(request: pb.GetCustomerRequest, context: Context) -> None:
        raise EtagMismatch

    async with running(tmp_path, refuse) as server:
        with pytest.raises(grpc.aio.AioRpcError):
            await server.get()
    [call] = spans.get_finished_spans()
    assert (call.status.status_code, call.status.description) == (trace.StatusCode.ERROR, "ABORTED")
    assert call.attributes is not None
    assert call.attributes["rpc.grpc.status_code"] == 10


async def test_a_call_that_its_deadline_ended_is_a_span_that_says_so(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with running(tmp_path, Gate()) as server:
        with pytest.raises(grpc.aio.AioRpcError):
            await server.get(timeout=0.05)
        await until(spans.get_finished_spans)
    [call] = spans.get_finished_spans()
    assert call.status.description == "DEADLINE_EXCEEDED"
