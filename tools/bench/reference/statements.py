"""The life of a job as bare SQL: the writes of the services, with nothing around them.

Each statement takes arrays of IDs and writes the same columns of the same tables as the service that owns them. Those
of the wallets combine several statements of the ledger in one, and leave its reads out.
"""

from typing import Final

#: Create wallets with enough money, and the job type of the jobs.
WALLETS: Final = """
    INSERT INTO wallets (id, customer_id, currency, current_balance_cents)
    SELECT id, id, 'EUR', 1000000000 FROM unnest(%(wallets)s::uuid[]) AS new(id)
"""
JOB_TYPE: Final = """
    INSERT INTO job_types (id, name, processing_logic_id, processor_type, timeout, expires_after,
        retry_initial_backoff, retry_max_backoff, retry_multiplier, request_digest)
    VALUES (%(id)s, 'noop', 'noop', 'ASYNC', '1 minute', '1 day', '1 second', '1 minute', 2, '')
"""

#: The wallets service: holds.
HOLD: Final = """
    WITH new AS (
        SELECT * FROM unnest(%(holds)s::uuid[], %(jobs)s::uuid[], %(wallets)s::uuid[]) AS new(id, job_id, wallet_id)
    ), placed AS (
        INSERT INTO holds (id, wallet_id, job_id, amount_cents, state)
        SELECT id, wallet_id, job_id, 1, 'ACTIVE' FROM new
    )
    UPDATE wallets
    SET pending_charges_cents = pending_charges_cents + 1, updated_at = now(), version = version + 1
    FROM new WHERE wallets.id = new.wallet_id
"""

#: The jobs service: submission.
SUBMIT: Final = """
    INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
        estimated_cost_cents, currency, hold_id, max_attempts, labels, request_id, request_digest, expires_at,
        dispatched_at)
    SELECT id, wallet_id, %(job_type)s, 'PENDING', 'HELD', 1, 'default', %(input)s::text::jsonb,
        octet_length(%(input)s::text), 1, 'EUR', hold_id, 1, '{}', %(request_id)s, %(digest)s,
        now() + interval '1 day', now()
    FROM unnest(%(jobs)s::uuid[], %(wallets)s::uuid[], %(holds)s::uuid[]) AS new(id, wallet_id, hold_id)
"""

#: The jobs service: claims.
CLAIM: Final = """
    UPDATE jobs
    SET status = 'RUNNING', started_at = now(), attempt = attempt + 1, runner_id = %(runner)s, lease_id = %(lease)s,
        lease_expires_at = now() + interval '1 minute', version = version + 1
    WHERE id = ANY(%(jobs)s::uuid[]) AND status = 'PENDING'
"""

#: The jobs service: completions.
COMPLETE: Final = """
    UPDATE jobs
    SET status = 'SUCCEEDED', billing_status = 'CHARGE_DUE', output_data = %(output)s::text::jsonb,
        output_bytes = octet_length(%(output)s::text), cost_cents = 1, completed_at = now(), dispatched_at = NULL,
        lease_id = NULL, lease_expires_at = NULL, completed_lease_id = %(lease)s, completion_digest = %(digest)s,
        next_try_at = now() + interval '1 minute', version = version + 1
    WHERE id = ANY(%(jobs)s::uuid[]) AND lease_id = %(lease)s
"""

#: The wallets service: charges that capture holds.
CHARGE: Final = """
    WITH new AS (
        SELECT * FROM unnest(%(transactions)s::uuid[], %(holds)s::uuid[], %(jobs)s::uuid[], %(wallets)s::uuid[])
            AS new(id, hold_id, job_id, wallet_id)
    ), written AS (
        INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents,
            balance_after_cents, idempotency_key, job_id, hold_id)
        SELECT new.id, wallet_id, last_sequence + 1, 'DEDUCTION', 'REVENUE', -1, current_balance_cents - 1,
            'job:' || job_id::text, job_id, hold_id
        FROM new JOIN wallets ON wallets.id = wallet_id
    ), captured AS (
        UPDATE holds SET state = 'CAPTURED', resolved_at = now() FROM new WHERE holds.id = new.hold_id
    )
    UPDATE wallets
    SET current_balance_cents = current_balance_cents - 1, pending_charges_cents = pending_charges_cents - 1,
        last_sequence = last_sequence + 1, updated_at = now(), version = version + 1
    FROM new WHERE wallets.id = new.wallet_id
"""

#: The jobs service: settlement.
SETTLE: Final = """
    UPDATE jobs
    SET billing_status = 'CHARGED', transaction_id = settled.transaction_id, next_try_at = NULL, version = version + 1
    FROM unnest(%(jobs)s::uuid[], %(transactions)s::uuid[]) AS settled(job_id, transaction_id)
    WHERE jobs.id = settled.job_id
"""
