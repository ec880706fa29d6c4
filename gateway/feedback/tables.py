"""The database's tables. The migrations make them; a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata = MetaData()


def _slot() -> list[Column[object]]:
    return [
        Column("model", String(256), primary_key=True),
        Column("version", BigInteger, primary_key=True, autoincrement=False),
        Column("variant", SmallInteger, primary_key=True, autoincrement=False),
        Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    ]


def _sums(*names: str) -> list[Column[object]]:
    return [Column("n", BigInteger, nullable=False), *(Column(name, Double, nullable=False) for name in names)]


label = Table(
    "label",
    metadata,
    Column("receipt", LargeBinary(16), primary_key=True),
    Column("model", String(256), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("variant", SmallInteger, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("predicted_at", Double, nullable=False),
    Column("observed_at", Double, nullable=False),
    Column("client", String(256), nullable=False),
    Column("predicted_class", Integer),
    Column("predicted_value", Double),
    Column("label_class", Integer),
    Column("label_value", Double),
    Index("label_by_slot", "model", "version", "variant", "bucket"),
    sqlite_with_rowid=False,
)
"""The label in force of each prediction that has one."""

label_change = Table(
    "label_change",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("receipt", LargeBinary(16), nullable=False, index=True),
    Column("changed_at", Double, nullable=False),
    Column("client", String(256), nullable=False),
    Column("old_class", Integer),
    Column("old_value", Double),
    Column("new_class", Integer),
    Column("new_value", Double),
)
"""Each time that a label was replaced."""

classification = Table(
    "classification_tally",
    metadata,
    *_slot(),
    Column("predicted", Integer, primary_key=True, autoincrement=False),
    Column("actual", Integer, primary_key=True, autoincrement=False),
    Column("bin", SmallInteger, primary_key=True, autoincrement=False),
    *_sums("confidence", "log_loss", "log_loss_squared", "brier", "brier_squared", "delay"),
    sqlite_with_rowid=False,
)
"""Labelled predictions by class predicted, class told, and bin of confidence."""

regression = Table(
    "regression_tally",
    metadata,
    *_slot(),
    *_sums("error", "absolute", "squared", "fourth", "delay"),
    sqlite_with_rowid=False,
)
"""Labelled predictions of values; an error is the prediction less the label."""

prediction = Table(
    "prediction_tally",
    metadata,
    *_slot(),
    Column("bin", SmallInteger, primary_key=True, autoincrement=False),
    *_sums("confidence"),
    sqlite_with_rowid=False,
)
"""All predictions by bin of confidence; values are all in bin 0."""

task = Table(
    "task",
    metadata,
    Column("model", String(256), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("labels", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What each version's contract says that labels are: feedback comes for versions that are served no more."""
