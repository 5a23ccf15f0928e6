"""The names of the constraints that the use cases tell apart; the database and the store in memory share them."""

CUSTOMER_ID = "pk_customers"
CUSTOMER_EMAIL = "uq_customers_email"
API_KEY_ID = "pk_api_keys"
API_KEY_HASH = "uq_api_keys_hash"
