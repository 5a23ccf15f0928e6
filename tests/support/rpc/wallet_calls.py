"""Calls of WalletService that tests share."""

from typing import Any
from uuid import uuid4

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub


def wallet(stub: WalletServiceStub, cents: int = 0, **values: Any) -> wallet_pb2.Wallet:
    """Create a wallet of a new customer, with money in it."""
    asked = {"wallet_id": str(uuid4()), "customer_id": str(uuid4()), **values}
    created = stub.CreateWallet(pb.CreateWalletRequest(**asked)).wallet
    return stub.Credit(credit(created, cents)).wallet if cents else created


def credit(owner: wallet_pb2.Wallet, cents: int, key: str = "top-up", **values: Any) -> pb.CreditRequest:
    """Return a credit."""
    of = {"customer_id": owner.customer_id, "currency": owner.currency, **values}
    return pb.CreditRequest(amount_cents=cents, idempotency_key=key, **of)


def charge(owner: wallet_pb2.Wallet, cents: int, key: str = "charge", **values: Any) -> pb.DeductRequest:
    """Return a charge."""
    of = {"customer_id": owner.customer_id, "currency": owner.currency, **values}
    return pb.DeductRequest(amount_cents=cents, idempotency_key=key, **of)


def job_charge(owner: wallet_pb2.Wallet, cents: int, job_id: str) -> pb.DeductRequest:
    """Return the charge of a job."""
    return charge(owner, cents, f"job:{job_id}", job_id=job_id)


def hold(owner: wallet_pb2.Wallet, cents: int, **values: Any) -> pb.PlaceHoldRequest:
    """Return a hold for a new job."""
    of = {"customer_id": owner.customer_id, "currency": owner.currency, "job_id": str(uuid4()), "hold_id": str(uuid4())}
    return pb.PlaceHoldRequest(amount_cents=cents, **(of | values))


def get(stub: WalletServiceStub, wallet_id: str) -> wallet_pb2.Wallet:
    """Return a wallet."""
    return stub.GetWallet(pb.GetWalletRequest(wallet_id=wallet_id)).wallet


def statement(stub: WalletServiceStub, wallet_id: str, **values: Any) -> list[wallet_pb2.Transaction]:
    """Return the first page of a wallet's statement."""
    return list(stub.ListTransactions(pb.ListTransactionsRequest(wallet_id=wallet_id, **values)).transactions)
