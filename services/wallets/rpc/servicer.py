"""WalletService over gRPC: parses requests, calls use cases, and converts results."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import grpc.aio

from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceServicer
from services.kit.auth.tenants import Tenants
from services.kit.batching.parts import single_result
from services.kit.charges.vouchers import Vouchers
from services.kit.observability.caller import caller
from services.kit.query.listing import Narrowing
from services.kit.query.page import PageTokens
from services.kit.rpc.batches import batch_results, checked
from services.kit.rpc.convert import id_or_new, moment, required_id, timestamp
from services.kit.rpc.for_tenants import for_tenants
from services.kit.rpc.list_rpc import ListRpc
from services.kit.rpc.responses import fit
from services.kit.rpc.validation import ContractValidator
from services.wallets.rpc import convert, convert_holds, convert_verify
from services.wallets.rpc.charge_calls import ChargeCalls
from services.wallets.rules.entities import DEFAULT_CURRENCY, NewWallet
from services.wallets.rules.resources import CUSTOMER_ID, HOLDS, TRANSACTIONS, WALLETS
from services.wallets.usecases.verify_ledger import LedgerVerification
from services.wallets.usecases.wallets import WalletsService

Context = grpc.aio.ServicerContext[Any, Any]


class WalletServicer(WalletServiceServicer):
    """WalletService.

    Args:
        service: The use cases.
        verification: The check of the books.
        tokens: Signs page tokens.
        validator: Checks messages against the contract.
        time: Returns the ledger's time; None while it is unknown.
        vouchers: Reads charge tokens and makes receipts.
    """

    def __init__(
        self,
        service: WalletsService,
        verification: LedgerVerification,
        tokens: PageTokens,
        validator: ContractValidator,
        time: Callable[[], datetime | None],
        *,
        vouchers: Vouchers,
    ) -> None:
        self._service = service
        self._time = time
        self._verification = verification
        self._tokens = tokens
        self._validator = validator
        self._wallets = ListRpc(WALLETS, tokens)
        self._transactions = ListRpc(TRANSACTIONS, tokens)
        self._holds = ListRpc(HOLDS, tokens)
        self._charges = ChargeCalls(vouchers)

    async def CreateWallet(self, request: pb.CreateWalletRequest, context: Context) -> pb.CreateWalletResponse:
        created = await self._service.create(
            NewWallet(
                id=id_or_new(request.wallet_id),
                customer_id=required_id(request.customer_id, "customer_id"),
                currency=request.currency or DEFAULT_CURRENCY,
            )
        )
        return pb.CreateWalletResponse(wallet=convert.wallet_message(created.wallet), replayed=created.replayed)

    @for_tenants
    async def GetWallet(self, request: pb.GetWalletRequest, context: Context, tenants: Tenants) -> pb.GetWalletResponse:
        reference = convert.wallet_reference(request)
        if request.HasField("at"):
            past = await self._service.balance_at(reference, moment(request.at, "at"), tenants)
            return pb.GetWalletResponse(wallet=convert.past_wallet_message(past))
        wallet = await self._service.get(reference, tenants)
        return pb.GetWalletResponse(wallet=convert.wallet_message(wallet))

    @for_tenants
    async def ListWallets(
        self, request: pb.ListWalletsRequest, context: Context, tenants: Tenants
    ) -> pb.ListWalletsResponse:
        own = tenants.narrowing(CUSTOMER_ID)
        wallets, token = await self._wallets.serve(request, own, self._service.list_page, convert.wallet_message)
        return pb.ListWalletsResponse(wallets=wallets, next_page_token=token)

    async def Credit(self, request: pb.CreditRequest, context: Context) -> pb.CreditResponse:
        accepted = await self._service.credit(convert.credit(request))
        return convert.credit_response(accepted)

    @for_tenants
    async def Deduct(self, request: pb.DeductRequest, context: Context, tenants: Tenants) -> pb.DeductResponse:
        accepted = await self._service.deduct(self._charges.parser()(request), tenants)
        return self._charges.response(accepted)

    @for_tenants
    async def BatchDeduct(
        self, request: pb.BatchDeductRequest, context: Context, tenants: Tenants
    ) -> pb.BatchDeductResponse:
        parse = checked(self._validator, self._charges.parser())
        results = await batch_results(
            request.requests,
            "requests",
            parse=parse,
            work=partial(self._service.deduct_many, tenants=tenants),
            message=self._charges.result,
        )
        return pb.BatchDeductResponse(results=fit(results))

    async def PlaceHold(self, request: pb.PlaceHoldRequest, context: Context) -> pb.PlaceHoldResponse:
        by_hand = replace(convert_holds.place(request), caused_by=caller.get())
        held = single_result(*await self._service.place_holds([by_hand], patient=True))
        return convert_holds.place_response(held)

    async def BatchPlaceHolds(self, request: pb.BatchPlaceHoldsRequest, context: Context) -> pb.BatchPlaceHoldsResponse:
        parse = checked(self._validator, convert_holds.place)
        results = await batch_results(
            request.requests,
            "requests",
            parse=parse,
            work=self._service.place_holds,
            message=convert_holds.place_result,
        )
        return pb.BatchPlaceHoldsResponse(results=fit(results), now=timestamp(self._time()))

    async def ReleaseHold(self, request: pb.ReleaseHoldRequest, context: Context) -> pb.ReleaseHoldResponse:
        by_hand = replace(convert_holds.release(request), caused_by=caller.get())
        held = single_result(*await self._service.release_holds([by_hand], patient=True))
        return convert_holds.release_response(held)

    async def BatchReleaseHolds(
        self, request: pb.BatchReleaseHoldsRequest, context: Context
    ) -> pb.BatchReleaseHoldsResponse:
        parse = checked(self._validator, convert_holds.release)
        results = await batch_results(
            request.requests,
            "requests",
            parse=parse,
            work=self._service.release_holds,
            message=convert_holds.release_result,
        )
        return pb.BatchReleaseHoldsResponse(results=fit(results))

    @for_tenants
    async def GetHold(self, request: pb.GetHoldRequest, context: Context, tenants: Tenants) -> pb.GetHoldResponse:
        hold = await self._service.get_hold(required_id(request.hold_id, "hold_id"), tenants)
        return pb.GetHoldResponse(hold=convert.hold_message(hold), now=timestamp(self._time()))

    @for_tenants
    async def ListHolds(self, request: pb.ListHoldsRequest, context: Context, tenants: Tenants) -> pb.ListHoldsResponse:
        # The use case narrows the list: a hold has no customer, but a wallet that has one.
        bound = Narrowing(key=tenants.key)
        read = partial(self._service.list_holds, tenants=tenants)
        holds, token = await self._holds.serve(request, bound, read, convert.hold_message)
        return pb.ListHoldsResponse(holds=holds, next_page_token=token, now=timestamp(self._time()))

    async def Refund(self, request: pb.RefundRequest, context: Context) -> pb.RefundResponse:
        accepted = await self._service.refund(convert.refund(request))
        return convert.refund_response(accepted)

    async def WriteOff(self, request: pb.WriteOffRequest, context: Context) -> pb.WriteOffResponse:
        written_off = await self._service.write_off(convert.write_off(request))
        return convert.write_off_response(written_off)

    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, context: Context) -> pb.VerifyLedgerResponse:
        after = convert_verify.position(request, self._tokens)
        found = await self._verification.page(after, convert_verify.limit(request))
        return convert_verify.response(found, request, self._tokens)

    @for_tenants
    async def ListTransactions(
        self, request: pb.ListTransactionsRequest, context: Context, tenants: Tenants
    ) -> pb.ListTransactionsResponse:
        reference = convert.wallet_reference(request)
        query = self._transactions.query(request, Narrowing(key=tenants.key), {"wallet": str(reference)})
        wallet, page = await self._service.list_transactions(reference, query, tenants)
        transactions, token = self._transactions.messages(
            query, page, lambda one: convert.transaction_message(one, wallet)
        )
        return pb.ListTransactionsResponse(transactions=transactions, next_page_token=token)

    @for_tenants
    async def GetTransaction(
        self, request: pb.GetTransactionRequest, context: Context, tenants: Tenants
    ) -> pb.GetTransactionResponse:
        transaction_id = required_id(request.transaction_id, "transaction_id")
        wallet, transaction = await self._service.get_transaction(transaction_id, tenants)
        return pb.GetTransactionResponse(transaction=convert.transaction_message(transaction, wallet))
