"""WalletService over gRPC: parses, calls the use case, converts. Rules and errors live further in."""

from typing import Any

import grpc.aio

from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceServicer
from services.kit.query.listing import Lists
from services.kit.query.page import PageTokens
from services.kit.rpc.batches import each, merged
from services.kit.rpc.convert import id_or_new, required_id
from services.kit.rpc.validation import ContractValidator
from services.wallets import convert
from services.wallets.domain import DEFAULT_CURRENCY, NewWallet
from services.wallets.repository import TRANSACTIONS, WALLETS
from services.wallets.service import WalletsService

Context = grpc.aio.ServicerContext[Any, Any]


class WalletServicer(WalletServiceServicer):
    """WalletService."""

    def __init__(self, service: WalletsService, tokens: PageTokens, validator: ContractValidator) -> None:
        self._service = service
        self._validator = validator
        self._wallets = Lists(WALLETS, tokens)
        self._transactions = Lists(TRANSACTIONS, tokens)

    async def CreateWallet(self, request: pb.CreateWalletRequest, context: Context) -> pb.CreateWalletResponse:
        created = await self._service.create(
            NewWallet(
                id=id_or_new(request.wallet_id),
                customer_id=required_id(request.customer_id, "customer_id"),
                currency=request.currency or DEFAULT_CURRENCY,
            )
        )
        return pb.CreateWalletResponse(wallet=convert.wallet_message(created.wallet), replayed=created.replayed)

    async def GetWallet(self, request: pb.GetWalletRequest, context: Context) -> pb.GetWalletResponse:
        wallet = await self._service.get(convert.wallet_reference(request))
        return pb.GetWalletResponse(wallet=convert.wallet_message(wallet))

    async def ListWallets(self, request: pb.ListWalletsRequest, context: Context) -> pb.ListWalletsResponse:
        query = self._wallets.query(
            filter=request.filter,
            order_by=request.order_by,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        page = await self._service.list_page(query)
        return pb.ListWalletsResponse(
            wallets=[convert.wallet_message(wallet) for wallet in page.items],
            next_page_token=self._wallets.next_page_token(query, page),
        )

    async def Credit(self, request: pb.CreditRequest, context: Context) -> pb.CreditResponse:
        accepted = await self._service.credit(convert.credit(request))
        return convert.credit_response(accepted)

    async def Deduct(self, request: pb.DeductRequest, context: Context) -> pb.DeductResponse:
        accepted = await self._service.deduct(convert.deduct(request))
        return convert.deduct_response(accepted)

    async def BatchDeduct(self, request: pb.BatchDeductRequest, context: Context) -> pb.BatchDeductResponse:
        parsed = each(request.requests, "requests", self._validator, convert.deduct)
        decisions = await merged(parsed, self._service.deduct_many)
        return pb.BatchDeductResponse(results=[convert.batch_deduct_result(decision) for decision in decisions])

    async def ListTransactions(
        self, request: pb.ListTransactionsRequest, context: Context
    ) -> pb.ListTransactionsResponse:
        reference = convert.wallet_reference(request)
        query = self._transactions.query(
            filter=request.filter,
            order_by=request.order_by,
            page_size=request.page_size,
            page_token=request.page_token,
            parameters={"wallet": str(reference)},
        )
        wallet, page = await self._service.list_transactions(reference, query)
        return pb.ListTransactionsResponse(
            transactions=[convert.transaction_message(one, wallet) for one in page.items],
            next_page_token=self._transactions.next_page_token(query, page),
        )

    async def GetTransaction(self, request: pb.GetTransactionRequest, context: Context) -> pb.GetTransactionResponse:
        wallet, transaction = await self._service.get_transaction(required_id(request.transaction_id, "transaction_id"))
        return pb.GetTransactionResponse(transaction=convert.transaction_message(transaction, wallet))
