"""Rules for rows. Some repeat CHECK constraints, which may have been dropped, or be younger than a row."""

from tools.verify.findings import Kind
from tools.verify.store.rows import Rule

_NO_CURRENCY = "currency !~ '^[A-Z]{3}$'"

WALLETS = Rule(
    kind=Kind.INCONSISTENT_WALLET,
    subject="wallet",
    columns="*",
    source="wallets",
    customer="customer_id",
    joined="""
    LEFT JOIN wallet_transactions AS first ON first.wallet_id = page.id AND first.sequence = 1
    LEFT JOIN wallet_transactions AS last ON last.wallet_id = page.id AND last.sequence = page.last_sequence
    """,
    wrong=f"""
    CASE
        WHEN page.{_NO_CURRENCY} THEN 'currency'
        WHEN current_balance_cents < 0 THEN 'current_balance_cents'
        WHEN pending_charges_cents NOT BETWEEN 0 AND current_balance_cents THEN 'pending_charges_cents'
        WHEN last_sequence < 0 THEN 'last_sequence'
        WHEN version <= last_sequence THEN 'version'
        WHEN page.created_at > now() + :late OR first.created_at < page.created_at - :late THEN 'created_at'
        WHEN updated_at < page.created_at OR updated_at > now() + :late OR updated_at < last.created_at
            THEN 'updated_at'
    END
    """,
)

# Lines that refer to one another were written in one transaction, or the later one after reading the earlier one.
TRANSACTIONS = Rule(
    kind=Kind.INCONSISTENT_TRANSACTION,
    subject="transaction",
    columns="""id, wallet_id, sequence, kind, counter_account, amount_cents, idempotency_key, job_id, hold_id,
        refunds_transaction_id, requested_amount_cents, charged_again,
        created_at""",
    source="wallet_transactions",
    joined="""
    LEFT JOIN wallets ON wallets.id = page.wallet_id
    LEFT JOIN wallet_transactions AS before
        ON before.wallet_id = page.wallet_id AND before.sequence = page.sequence - 1
    LEFT JOIN wallet_transactions AS charge ON charge.id = page.refunds_transaction_id
    LEFT JOIN holds AS hold ON hold.id = page.hold_id
    LEFT JOIN wallet_transactions AS written_off ON page.kind = 'ADJUSTMENT'
        AND written_off.wallet_id = page.wallet_id AND written_off.idempotency_key = 'job:' || page.job_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN page.kind = 'REFUND' THEN (
            SELECT sum(given.amount_cents) FROM wallet_transactions AS given
            WHERE given.refunds_transaction_id = page.refunds_transaction_id
                AND (given.wallet_id, given.sequence) <= (page.wallet_id, page.sequence)
        ) + coalesce((
            SELECT sum(given.amount_cents) FROM wallet_transactions AS given
            WHERE given.wallet_id = charge.wallet_id AND given.idempotency_key = 'write-off:' || charge.job_id
        ), 0) END AS cents
    ) AS given_back
    """,
    unknown="""
    CASE
        WHEN page.kind NOT IN ('CREDIT', 'DEDUCTION', 'REFUND', 'ADJUSTMENT') THEN 'kind ' || page.kind
        WHEN page.counter_account NOT IN ('FUNDING', 'REVENUE', 'ADJUSTMENT')
            THEN 'counter_account ' || page.counter_account
    END
    """,
    wrong="""
    CASE
        WHEN wallets.id IS NULL THEN 'wallet_id: there is no such wallet'
        WHEN page.sequence < 1 THEN 'sequence'
        WHEN CASE page.kind WHEN 'DEDUCTION' THEN page.amount_cents >= 0 ELSE page.amount_cents <= 0 END
            THEN 'amount_cents: it has the wrong sign'
        WHEN page.counter_account <> CASE page.kind WHEN 'CREDIT' THEN 'FUNDING'
            WHEN 'ADJUSTMENT' THEN 'ADJUSTMENT' ELSE 'REVENUE' END THEN 'counter_account'
        WHEN page.kind = 'CREDIT' AND page.job_id IS NOT NULL THEN 'job_id: a credit is for no job'
        WHEN CASE
            WHEN page.kind = 'DEDUCTION' AND page.job_id IS NOT NULL THEN page.idempotency_key <> 'job:' || page.job_id
            WHEN page.kind = 'ADJUSTMENT' THEN page.idempotency_key IS DISTINCT FROM 'write-off:' || page.job_id
            ELSE starts_with(page.idempotency_key, 'job:') END THEN 'idempotency_key'
        WHEN page.hold_id IS NOT NULL AND page.kind <> 'DEDUCTION' THEN 'hold_id: only charges have holds'
        WHEN (page.kind = 'REFUND') <> (page.refunds_transaction_id IS NOT NULL) THEN 'refunds_transaction_id'
        WHEN page.kind = 'REFUND' AND charge.kind IS DISTINCT FROM 'DEDUCTION'
            THEN 'refunds_transaction_id: it is no deduction'
        WHEN page.kind = 'REFUND' AND charge.wallet_id <> page.wallet_id
            THEN 'wallet_id: another wallet was charged'
        WHEN page.kind = 'REFUND' AND charge.job_id IS DISTINCT FROM page.job_id
            THEN 'job_id: the charge was for another job'
        WHEN page.kind = 'REFUND' AND given_back.cents > -charge.amount_cents
            THEN 'amount_cents: ' || given_back.cents || ' were given back of a charge of ' || -charge.amount_cents
        WHEN page.requested_amount_cents IS NOT NULL AND (page.kind <> 'REFUND' OR page.requested_amount_cents <> 0
            OR given_back.cents <> -charge.amount_cents) THEN 'requested_amount_cents'
        WHEN page.kind = 'ADJUSTMENT' AND (written_off.kind = 'DEDUCTION'
                AND written_off.amount_cents = -page.amount_cents AND written_off.sequence = page.sequence + 1)
            IS NOT TRUE THEN 'amount_cents: no charge right after it is written off by it'
        -- An upgrade has marked the second charge of a job, which is a separate finding.
        WHEN page.charged_again IS NOT NULL AND (page.charged_again AND page.kind = 'DEDUCTION' AND EXISTS (
            SELECT FROM wallet_transactions AS other
            WHERE other.job_id = page.job_id AND other.kind = 'DEDUCTION' AND other.id <> page.id
        )) IS NOT TRUE THEN 'charged_again: the job has no other charge'
        WHEN before.created_at > page.created_at OR page.created_at > now() + :late THEN 'created_at'
        WHEN hold.wallet_id <> page.wallet_id
                OR (hold.wallet_id IS NOT NULL AND hold.job_id IS DISTINCT FROM page.job_id)
            THEN 'hold_id: the hold is of another wallet or job'
        WHEN hold.state = 'ACTIVE' OR (hold.wallet_id IS NOT NULL AND hold.state = 'RELEASED'
                AND hold.resolved_at >= page.created_at)
            THEN 'hold_id: the hold was not captured, and is ' || hold.state
        WHEN hold.state = 'CAPTURED' AND page.kind = 'DEDUCTION' AND -page.amount_cents > hold.amount_cents
            THEN 'amount_cents: more than the hold that it has captured'
        WHEN hold.state = 'CAPTURED' AND before.kind = 'ADJUSTMENT' AND before.job_id = page.job_id
            THEN 'hold_id: what is written off captures no hold'
        WHEN hold.state = 'CAPTURED' AND (hold.resolved_at > page.created_at
                OR hold.resolved_at < page.created_at - :late) THEN 'hold_id: the hold was captured at another time'
        WHEN page.hold_id IS NOT NULL AND hold.id IS NULL AND page.created_at > now() - :holds_kept
            -- A written-off charge may be far younger than its hold.
            AND (before.kind = 'ADJUSTMENT' AND before.job_id = page.job_id) IS NOT TRUE
            THEN 'hold_id: there is no such hold'
    END
    """,
)

HOLDS = Rule(
    kind=Kind.INCONSISTENT_HOLD,
    subject="hold",
    columns="*",
    source="holds",
    by_age=True,
    joined="LEFT JOIN wallets ON wallets.id = page.wallet_id",
    unknown="CASE WHEN state NOT IN ('ACTIVE', 'CAPTURED', 'RELEASED') THEN 'state ' || state END",
    wrong="""
    CASE
        WHEN state NOT IN ('ACTIVE', 'CAPTURED', 'RELEASED') THEN NULL
        WHEN (state = 'ACTIVE') <> (resolved_at IS NULL) THEN 'resolved_at'
        WHEN CASE WHEN wallet_id IS NULL THEN job_id IS NOT NULL OR amount_cents <> 0 OR state <> 'RELEASED'
            ELSE job_id IS NULL OR amount_cents <= 0 END THEN 'wallet_id, job_id and amount_cents'
        WHEN wallet_id IS NOT NULL AND wallets.id IS NULL THEN 'wallet_id: there is no such wallet'
        WHEN page.created_at > now() + :late THEN 'created_at'
        WHEN resolved_at < page.created_at OR resolved_at > now() + :late THEN 'resolved_at'
        WHEN state = 'CAPTURED' AND NOT EXISTS (
            SELECT FROM wallet_transactions AS line
            WHERE line.job_id = page.job_id AND line.kind = 'DEDUCTION' AND line.wallet_id = page.wallet_id
                AND line.hold_id = page.id
        ) THEN 'state: no charge has captured it'
    END
    """,
)

JOB_TYPES = Rule(
    kind=Kind.INCONSISTENT_JOB_TYPE,
    subject="job type",
    columns="*",
    source="job_types",
    unknown="""
    CASE WHEN processor_type NOT IN ('SYNC', 'ASYNC', 'BATCH', 'EXTERNAL_API', 'WEBHOOK')
        THEN 'processor_type ' || processor_type END
    """,
    wrong=f"""
    CASE
        WHEN name = '' OR processing_logic_id = '' OR queue = '' THEN 'names'
        WHEN (processor_type = 'EXTERNAL_API') <> (external_api IS NOT NULL) THEN 'external_api'
        WHEN standard_cost_cents < 0 THEN 'standard_cost_cents'
        WHEN CASE WHEN unit_price_micro_cents IS NULL THEN metering_unit IS NOT NULL OR max_cost_cents IS NOT NULL
            ELSE (metering_unit <> '' AND unit_price_micro_cents > 0 AND max_cost_cents > 0
                AND standard_cost_cents <= max_cost_cents) IS NOT TRUE END THEN 'metering'
        WHEN {_NO_CURRENCY} THEN 'currency'
        WHEN default_priority NOT BETWEEN 0 AND 2 THEN 'default_priority'
        WHEN max_attempts NOT BETWEEN 1 AND 100 THEN 'max_attempts'
        WHEN least(timeout, expires_after, retry_initial_backoff, retry_max_backoff) <= '0' OR retry_multiplier < 1
            THEN 'durations'
        WHEN (webhook_url IS NULL) <> (webhook_signing_secret IS NULL)
            OR (webhook_url IS NULL) <> (webhook_callback_timeout IS NULL)
            OR (processor_type = 'WEBHOOK') <> (webhook_url IS NOT NULL) THEN 'webhook'
        WHEN version < 1 THEN 'version'
        WHEN updated_at < created_at OR updated_at > now() + :late THEN 'updated_at'
    END
    """,
)

CUSTOMERS = Rule(
    kind=Kind.INCONSISTENT_CUSTOMER,
    subject="customer",
    columns="*",
    source="customers",
    wrong="""
    CASE
        WHEN email NOT LIKE '_%@_%' THEN 'email'
        WHEN name = '' THEN 'name'
        WHEN version < 1 THEN 'version'
        WHEN updated_at < created_at OR updated_at > now() + :late THEN 'updated_at'
    END
    """,
)
