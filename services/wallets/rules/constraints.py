"""The names of the constraints that the use cases tell apart; the database and the store in memory share them."""

WALLET_ID = "pk_wallets"
WALLET_OWNER = "uq_wallets_customer_id_currency"
CHARGED_JOB = "uq_wallet_transactions_charged_job"
