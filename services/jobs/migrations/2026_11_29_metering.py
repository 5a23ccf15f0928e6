"""Prices by usage: of job types, frozen in jobs, and what jobs have used.

Revision: 149c9e80a8d3
After: 7e3a1c5d9b42

The release before submits jobs at the standard price, and can't complete a metered one: it would charge the maximum,
which `cost_fits_usage` refuses.
"""

import sqlalchemy as sa
from alembic import op

revision = "149c9e80a8d3"
down_revision = "7e3a1c5d9b42"
branch_labels = None
depends_on = None
# The one that takes the constraint's place allows all that it allowed.
lint_exclude = ("ban-drop-constraint",)

_FITS_BEFORE = (
    "CASE"
    " WHEN billing_status = 'NOT_BILLABLE' THEN estimated_cost_cents = 0 AND coalesce(cost_cents, 0) = 0"
    " WHEN billing_status IN ('HELD', 'UNHELD') THEN status IN ('SCHEDULED', 'PENDING', 'RUNNING')"
    " WHEN billing_status IN ('RELEASE_DUE', 'RELEASED') THEN status IN ('FAILED', 'CANCELLED')"
    " WHEN billing_status IN ('CHARGE_DUE', 'CHARGED', 'DECLINED', 'CHARGE_BLOCKED') THEN status = 'SUCCEEDED'"
    " ELSE true END"
)
_ENDED = "status IN ('FAILED', 'CANCELLED')"
_COSTS_NOTHING = "(status = 'SUCCEEDED' AND cost_cents = 0 AND unit_price_micro_cents IS NOT NULL)"
_FITS = _FITS_BEFORE.replace(_ENDED, f"{_ENDED} OR {_COSTS_NOTHING}")
_JOB_TYPE_WHOLE = (
    "CASE WHEN unit_price_micro_cents IS NULL THEN metering_unit IS NULL AND max_cost_cents IS NULL"
    " ELSE unit_price_micro_cents > 0 AND metering_unit IS NOT NULL AND max_cost_cents IS NOT NULL"
    " AND max_cost_cents > 0 AND standard_cost_cents <= max_cost_cents END"
)
_JOB_WHOLE = (
    "CASE WHEN unit_price_micro_cents IS NULL THEN metering_unit IS NULL AND standard_cost_cents IS NULL"
    " ELSE unit_price_micro_cents > 0 AND metering_unit IS NOT NULL AND standard_cost_cents IS NOT NULL"
    " AND standard_cost_cents BETWEEN 0 AND estimated_cost_cents END"
)
_USAGE_WHEN_DONE = "usage_units IS NULL OR (usage_units >= 0 AND status = 'SUCCEEDED')"
_COST_FITS_USAGE = (
    "CASE WHEN unit_price_micro_cents IS NULL THEN coalesce(cost_cents, 0) <= estimated_cost_cents"
    " WHEN cost_cents IS NULL THEN true"
    " WHEN usage_units IS NULL THEN cost_cents = standard_cost_cents"
    " ELSE cost_cents = least(estimated_cost_cents,"
    " div(usage_units::numeric * unit_price_micro_cents + 500000, 1000000)) END"
)
_FITS_NAME = "ck_jobs_billing_fits_status"
_NEW = {
    "ck_job_types_metering_whole": ("job_types", _JOB_TYPE_WHOLE),
    "ck_jobs_metering_whole": ("jobs", _JOB_WHOLE),
    "ck_jobs_usage_when_done": ("jobs", _USAGE_WHEN_DONE),
    "ck_jobs_cost_fits_usage": ("jobs", _COST_FITS_USAGE),
}
_COLUMNS = {
    "job_types": ("metering_unit", "unit_price_micro_cents", "max_cost_cents"),
    "jobs": ("metering_unit", "unit_price_micro_cents", "standard_cost_cents", "usage_units"),
}
# Without these columns their maximum would be charged, or their hold would never be released.
_REFUSE = """DO $$
BEGIN
    IF EXISTS (SELECT FROM jobs WHERE unit_price_micro_cents IS NOT NULL
        AND (billing_status = 'HELD' OR billing_status = 'RELEASE_DUE' AND status = 'SUCCEEDED')) THEN
        RAISE EXCEPTION 'metered jobs are not settled yet: cancel them, or wait until they are';
    END IF;
END
$$"""


def _check(name: str, table: str, condition: str) -> None:
    # Looks at no row while the table is locked: the next revision does.
    op.create_check_constraint(op.f(name), table, sa.text(condition), postgresql_not_valid=True)


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        for column in columns:
            kind = sa.Text() if column == "metering_unit" else sa.BigInteger()
            op.add_column(table, sa.Column(column, kind, nullable=True))
    op.drop_constraint(op.f(_FITS_NAME), "jobs", type_="check")
    _check(_FITS_NAME, "jobs", _FITS)
    for name, (table, condition) in _NEW.items():
        _check(name, table, condition)


def downgrade() -> None:
    op.execute(_REFUSE)
    for name, (table, _) in _NEW.items():
        op.drop_constraint(op.f(name), table, type_="check")
    op.drop_constraint(op.f(_FITS_NAME), "jobs", type_="check")
    _check(_FITS_NAME, "jobs", _FITS_BEFORE)
    for table, columns in _COLUMNS.items():
        for column in reversed(columns):
            op.drop_column(table, column)
