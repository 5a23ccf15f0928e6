"""Types that no runner serves, and which deaths of runners count against a job.

Revision: 91c4e7d2a06f
After: e41c7a90b5d3
"""

import sqlalchemy as sa
from alembic import op

revision = "91c4e7d2a06f"
down_revision = "e41c7a90b5d3"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_NONE = sa.text("0")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deaths", sa.Integer(), server_default=_NONE, nullable=False))
    op.create_table(
        "unserved_types",
        sa.Column("queue", sa.Text(collation="C"), nullable=False),
        sa.Column("job_type_id", sa.Uuid(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("feed_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("wait", sa.Interval(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("refused", sa.Integer(), server_default=_NONE, nullable=False),
        sa.Column("granted", sa.Integer(), server_default=_NONE, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_type_id"],
            ["job_types.id"],
            name=op.f("fk_unserved_types_job_type_id_job_types"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("queue", "job_type_id", name=op.f("pk_unserved_types")),
    )
    op.create_table(
        "lost_runs",
        sa.Column("runner_id", sa.Uuid(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("lost_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("lost_runs")
    op.drop_table("unserved_types")
    op.drop_column("jobs", "deaths")
