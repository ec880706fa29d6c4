"""The database: how it is reached, and how its tables come to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, make_url, text

# Seconds to wait for a connection, for a lock that another replica holds, and for one statement.
TIMEOUT = 5
_STATEMENT_TIMEOUT = 30
MIGRATIONS = Path(__file__).parent / "migrations"
# The last migration.
HEAD = "0001"
# Any number that nobody else locks in the same database.
_MIGRATION_LOCK = 0x7E5502_6A7E
# Ours to be ashamed of: the same statement would fail again.
_MISTAKES = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or cannot write, at the moment."""


def connect(url: str) -> Engine:
    """The engine for a URL that the settings have let through; opens nothing yet."""
    # The other spelling is libpq's own.
    parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": TIMEOUT})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        # Asked whether it is alive before use: a server that went and came back is noticed so.
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=0,
        pool_timeout=TIMEOUT,
        connect_args={
            "connect_timeout": TIMEOUT,
            "tcp_user_timeout": _STATEMENT_TIMEOUT * 1000,
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT}s -c lock_timeout={TIMEOUT}s",
        },
    )


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is durable once the context is left. DatabaseUnavailableError leaves nothing of it."""
    with _available(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction in which all that is read is of one moment."""
    options = {} if _is_sqlite(engine) else {"isolation_level": "REPEATABLE READ"}
    with _available(), engine.connect().execution_options(read_only=True, **options) as connection:
        yield connection


def migrate(engine: Engine) -> None:
    """Brings the tables up to date; one replica at a time."""
    if _is_sqlite(engine) and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with writing(engine) as connection:
        if not _is_sqlite(engine):
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        known = inspect(connection).has_table("alembic_version")
        if known and connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD:
            return
        # Not at every start: it takes 10 MB and half a second to import.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
        if isinstance(error, _MISTAKES):
            raise
        raise DatabaseUnavailableError(str(getattr(error, "orig", None) or error)) from error


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # We begin transactions ourselves.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    # A commit is on the disk before it is answered.
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    # Who will write says so first: a reader that turns writer could be refused.
    read_only = connection.get_execution_options().get("read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
