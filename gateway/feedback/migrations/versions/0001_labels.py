"""Labels, their changes, and the tallies of both."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SLOT: tuple[tuple[str, Any], ...] = (
    ("model", sa.String(256)),
    ("version", sa.BigInteger),
    ("variant", sa.SmallInteger),
    ("bucket", sa.BigInteger),
)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "label",
        sa.Column("receipt", sa.LargeBinary(16), primary_key=True),
        *(sa.Column(name, kind, nullable=False) for name, kind in _SLOT),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("confidence", "predicted_at", "observed_at")),
        sa.Column("client", sa.String(256), nullable=False),
        sa.Column("predicted_class", sa.Integer),
        sa.Column("predicted_value", sa.Double),
        sa.Column("label_class", sa.Integer),
        sa.Column("label_value", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("label_by_slot", "label", [name for name, _ in _SLOT])
    op.create_table(
        "label_change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("receipt", sa.LargeBinary(16), nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("client", sa.String(256), nullable=False),
        sa.Column("old_class", sa.Integer),
        sa.Column("old_value", sa.Double),
        sa.Column("new_class", sa.Integer),
        sa.Column("new_value", sa.Double),
    )
    op.create_index("ix_label_change_receipt", "label_change", ["receipt"])
    cell = (("predicted", sa.Integer), ("actual", sa.Integer), ("bin", sa.SmallInteger))
    losses = ("confidence", "log_loss", "log_loss_squared", "brier", "brier_squared", "delay")
    _create_tally("classification_tally", cell, losses)
    _create_tally("regression_tally", (), ("error", "absolute", "squared", "fourth", "delay"))
    _create_tally("prediction_tally", cell[2:], ("confidence",))
    op.create_table(
        "task",
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_tally(name: str, cell: tuple[tuple[str, Any], ...], sums: tuple[str, ...]) -> None:
    op.create_table(
        name,
        *(sa.Column(key, kind, primary_key=True, autoincrement=False) for key, kind in (*_SLOT, *cell)),
        sa.Column("n", sa.BigInteger, nullable=False),
        *(sa.Column(column, sa.Double, nullable=False) for column in sums),
        sqlite_with_rowid=False,
    )
