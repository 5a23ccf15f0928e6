"""One charge a job in all wallets, by the index that finds what was charged for it.

Revision: e7a40b96d51c
After: d15c3e80b7f2
"""

import sys

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import IntegrityError

from services.kit.migrations.steps import outside_transaction

revision = "e7a40b96d51c"
down_revision = "d15c3e80b7f2"
branch_labels = None
depends_on = None

_NAME = "uq_wallet_transactions_charged_job"
_OLD_NAME = "ix_wallet_transactions_job_id"
_TABLE = "wallet_transactions"
_ONE = sa.text("(NULLIF(kind = 'DEDUCTION'::text AND charged_again IS NULL, false))")
_OF_JOBS = sa.text("job_id IS NOT NULL")
# While it is built the release before may charge one more job twice.
_TRIES = 5

_AGAIN = """
SELECT id FROM (
    SELECT id, row_number() OVER (PARTITION BY job_id ORDER BY created_at, id) AS nth
    FROM wallet_transactions WHERE kind = 'DEDUCTION' AND job_id IS NOT NULL AND charged_again IS NULL
) AS charges
WHERE nth > 1
"""
# What a ledger has written down stays. It is only marked, so that the index can leave it out; the first charge of a job
# is not, and no third can come. Writers wait for no longer than that takes, and not at all behind a reader.
_MARK = """DO $$
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    ALTER TABLE wallet_transactions DISABLE TRIGGER wallet_transactions_append_only;
    UPDATE wallet_transactions SET charged_again = true WHERE id IN ({ids});
    ALTER TABLE wallet_transactions ENABLE ALWAYS TRIGGER wallet_transactions_append_only;
END
$$"""


def _drop(name: str) -> None:
    op.drop_index(name, table_name=_TABLE, postgresql_concurrently=True, if_exists=True)


def _make() -> None:
    # What an interrupted or refused run left is not valid.
    _drop(_NAME)
    op.create_index(
        _NAME, _TABLE, ["job_id", _ONE], unique=True, postgresql_where=_OF_JOBS, postgresql_concurrently=True
    )


def _mark() -> None:
    again = op.get_bind().scalars(sa.text(_AGAIN)).all()
    if again:
        op.execute(_MARK.format(ids=", ".join(f"'{one}'" for one in again)))
    sys.stderr.write(
        f"{len(again)} deductions charge a job that another wallet was charged for before. They stay as they are: "
        "`innosystem verify` names them (double_charges). Refund what was too much.\n"
    )


def upgrade() -> None:
    with outside_transaction():
        for tries_left in reversed(range(_TRIES)):
            try:
                _make()
                break
            except IntegrityError:
                if not tries_left:
                    raise
            _mark()
        _drop(_OLD_NAME)


def downgrade() -> None:
    with outside_transaction():
        _drop(_OLD_NAME)
        op.create_index(_OLD_NAME, _TABLE, ["job_id"], postgresql_where=_OF_JOBS, postgresql_concurrently=True)
        _drop(_NAME)
