"""Engines, transactions and column types, alike on PostgreSQL and SQLite.

SQLite is the embedded default: one process (a file lock says so), write-ahead log, fsync at each
commit, and one writer at a time, which `Database.begin` queues for. PostgreSQL serves several
processes. Drivers' errors leave this module as ours.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from asyncpg.exceptions import (
    IntegrityConstraintViolationError,
    InternalClientError,
    PostgresError,
)
from asyncpg.exceptions import InterfaceError as PostgresInterfaceError
from sqlalchemy import (
    DateTime,
    Dialect,
    Engine,
    MetaData,
    String,
    TypeDecorator,
    event,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from schemas.errors import StorageUnavailable

SCRUB_ATTEMPTS = 50
SCRUB_PAUSE_SECONDS = 0.1
GIVE_BACK_PAGES = 1000
STATEMENT_SECONDS = 30.0
"""How long one statement on PostgreSQL may take. Who waits longer waits for nobody: a server or a
firewall that forgets a connection tells neither end, and without this it is waited for for ever."""
UNFINISHED_SECONDS = 30.0
"""After so long without a statement PostgreSQL ends a transaction of ours: a process that is frozen,
or that cannot be reached any more, does not keep its locks from all others."""
IDLE_SESSION_SECONDS = 60.0
"""A connection that nobody needed for so long is ended by PostgreSQL. After a pause of the server
every process opens all that it may; kept for ever, they would shut out whoever came last."""
LEAVE_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 3600.0
SQLITE_PATIENCE_MS = 10_000
"""How long one connection waits for another's lock. Ours queue before that, so only strangers do."""

PAGE_COST = 1.1
"""Of a page out of turn, to PostgreSQL's planner. Its own 4 is that of a turning disk: it then reads
tables of thousands of rows from end to end at each message, rather than follow an index. In memory
and on flash a page costs the same wherever it lies."""

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def new_metadata() -> MetaData:
    """Metadata with the naming convention, so that migrations can name every constraint."""
    return MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime: `timestamptz` on PostgreSQL, sortable ISO text on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(UTC)
        if dialect.name == "sqlite":
            return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value[:-1]).replace(tzinfo=UTC)
        moment: datetime = value
        return moment.astimezone(UTC)


ASK_AGAIN_SECONDS = 1.0
"""Health may be asked by anybody, and each answer costs a commit."""


class Database:
    """One process's way to its database.

    `begin` opens a transaction and commits it on leaving; functions in `store/` never commit.
    On SQLite, writers queue here for the single write lock, so that none sees `database is locked`.

    Nobody opens a second one inside a first: it would hold one connection while waiting for another,
    or a snapshot while waiting to write. Whoever tries gets a `RuntimeError`.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.dialect = make_url(url).get_backend_name()
        self._file_lock: IO[str] | None = None
        if self.dialect == "sqlite":
            self.engine: AsyncEngine = create_async_engine(url, pool_size=5, max_overflow=5)
            prepare_sqlite(self.engine.sync_engine)
        else:
            # No overflow: its connections are closed when they come back, and opening one costs as
            # much as dozens of statements. The one used last is used next: its statements are
            # prepared.
            self.engine = create_async_engine(
                url,
                pool_size=2 * pool_size,
                max_overflow=0,
                pool_use_lifo=True,
                connect_args=_postgresql_arguments(),
            )
            _prepare_postgresql(self.engine)
        # Reads need no BEGIN and no ROLLBACK on PostgreSQL: at its isolation level (READ COMMITTED)
        # each statement sees what was committed before it, inside a transaction or not.
        self._reader = (
            self.engine
            if self.dialect == "sqlite"
            else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._writer = asyncio.Lock()
        self._inside: set[asyncio.Task[Any] | None] = set()
        """The tasks that hold a connection."""
        self._asked_at = -ASK_AGAIN_SECONDS
        self._answer: str | None = None
        """Why it could not be written when that was asked last."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; committed when the block ends without an error.

        Raises:
            StorageUnavailable: The database cannot be reached or written. Nothing was committed,
                or it is not known whether it was; repeating must therefore be safe.
        """
        with self._not_inside():
            if self.dialect == "sqlite":
                async with self._writer, self._transaction() as connection:
                    yield connection
            else:
                async with self._transaction() as connection:
                    yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[AsyncConnection]:
        """For reads and then one statement that writes, which on PostgreSQL is a transaction by
        itself and spares the journeys of BEGIN and COMMIT. On SQLite as `begin`.

        Raises:
            StorageUnavailable: As `begin`.
        """
        if self.dialect == "sqlite":
            async with self.begin() as connection:
                yield connection
        else:
            with self._not_inside(), as_unavailable():
                async with self._reader.connect() as connection, _given_up_in_time(connection):
                    yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """For reading alone: a snapshot on SQLite, what was committed last on PostgreSQL."""
        with self._not_inside(), as_unavailable():
            async with self._reader.connect() as connection:
                if self.dialect == "sqlite":
                    await connection.execution_options(sqlite_read=True)
                    yield connection
                    return
                async with _given_up_in_time(connection):
                    yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        with as_unavailable():
            if self.dialect == "sqlite":
                async with self.engine.begin() as connection:
                    yield connection
                return
            # Begun and ended on the driver: half of what it takes through SQLAlchemy.
            async with self._reader.connect() as connection, _given_up_in_time(connection):
                driver = _driver(connection)
                await driver.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                try:
                    yield connection
                    if await driver.execute("COMMIT") != "COMMIT":
                        # An error in the middle was passed over, and nothing was written.
                        raise StorageUnavailable("rolled back")
                except BaseException:
                    await _leave(driver)
                    raise

    @contextmanager
    def _not_inside(self) -> Iterator[None]:
        task = asyncio.current_task()
        if task in self._inside:
            raise RuntimeError("a transaction inside a transaction")
        self._inside.add(task)
        try:
            yield
        finally:
            self._inside.discard(task)

    async def ping(self) -> None:
        """Read one row, or raise `StorageUnavailable`."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def require_writable(self) -> None:
        """Ask whether something could be committed now, at most once a second.

        On SQLite it commits a page that says what it said before, which needs room and the right
        to write as any commit does. On PostgreSQL it asks whether transactions may write.

        Raises:
            StorageUnavailable: No: a full disk, a read-only file or server, or none at all.
        """
        if time.monotonic() < self._asked_at + ASK_AGAIN_SECONDS:
            if self._answer is not None:
                raise StorageUnavailable(self._answer)
            return
        try:
            async with self.begin() as connection:
                if self.dialect == "sqlite":
                    await connection.exec_driver_sql("PRAGMA user_version = 0")
                elif await connection.scalar(text("SHOW transaction_read_only")) == "on":
                    raise StorageUnavailable("the database is read-only")
        except StorageUnavailable as error:
            self._answer = error.detail
            raise
        else:
            self._answer = None
        finally:
            self._asked_at = time.monotonic()

    def lock_file(self) -> None:
        """Take the SQLite file for this process alone; nothing to do on PostgreSQL.

        Raises:
            StorageUnavailable: Another process has it, or nobody may write here.
        """
        path = make_url(self.url).database
        if self.dialect != "sqlite" or not path:
            return
        try:
            handle = Path(path + ".lock").open("w")  # noqa: SIM115 (held while the process lives)
        except OSError as error:
            raise StorageUnavailable("the folder of the database cannot be written") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.close()
            raise StorageUnavailable(
                "another process uses this database file: it runs already"
            ) from error
        handle.write(str(os.getpid()))
        handle.flush()
        self._file_lock = handle

    async def scrub(self, *tables: str) -> None:
        """After a commit that deleted: let go of the old bytes too, as far as the database can.

        SQLite overwrites freed pages (`secure_delete`); its write-ahead log is emptied here.
        PostgreSQL frees old row versions of these tables when they are vacuumed.

        Raises:
            StorageUnavailable: A reader held the old pages all the while; call again.
        """
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            if self.dialect != "sqlite":
                for table in tables:
                    await driver.execute(f"VACUUM {table}", timeout=HOUSEKEEPING_SECONDS)
                return
            # It would wait for readers with the right to write in hand, and a reader may have to
            # write before it ends. So it does not wait: it lets go and asks again.
            await _patience(driver, 0)
            try:
                for _ in range(SCRUB_ATTEMPTS):
                    async with (
                        self._writer,
                        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor,
                    ):
                        busy, _log, _done = await cursor.fetchone()
                    if not busy:
                        return
                    await asyncio.sleep(SCRUB_PAUSE_SECONDS)
            finally:
                await _patience(driver, SQLITE_PATIENCE_MS)
        raise StorageUnavailable("erased pages are still being read")

    async def give_back(self, *tables: str) -> None:
        """After much was deleted: make its room free, for others where the database can.

        PostgreSQL vacuums these tables, unless somebody does already. SQLite shortens its file in
        small steps, so that no writer waits long; a file from before 0.1 needs one `VACUUM` first.
        """
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            if self.dialect != "sqlite":
                for table in tables:
                    vacuum = f"VACUUM (SKIP_LOCKED) {table}"
                    await driver.execute(vacuum, timeout=HOUSEKEEPING_SECONDS)
                return
            free = -1
            while True:
                async with driver.execute("PRAGMA freelist_count") as cursor:
                    (left,) = await cursor.fetchone()
                if left in (0, free):
                    return
                free = left
                async with (
                    self._writer,
                    driver.execute(f"PRAGMA incremental_vacuum({GIVE_BACK_PAGES})") as cursor,
                ):
                    await cursor.fetchall()

    async def close(self) -> None:
        await self.engine.dispose()
        if self._file_lock is not None:
            self._file_lock.close()


def _driver(connection: AsyncConnection) -> Any:
    """asyncpg's own connection."""
    return connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]


async def _leave(driver: Any) -> None:
    """Leave a transaction that failed; a connection that cannot even do that is closed."""
    if not driver.is_closed() and driver.is_in_transaction():
        try:
            # The driver waits for what it cancelled before, and its own time begins only then.
            async with asyncio.timeout(LEAVE_SECONDS):
                await driver.execute("ROLLBACK")
        except BaseException:
            driver.terminate()
            raise


@asynccontextmanager
async def _given_up_in_time(connection: AsyncConnection) -> AsyncIterator[None]:
    """Close a connection on which something took too long: whoever gets it next would wait for the
    end of that first, and the driver sets no limit to it."""
    driver = _driver(connection)
    try:
        yield
    except TimeoutError:
        driver.terminate()
        raise


async def fetch(connection: AsyncConnection, statement: str, arguments: Sequence[Any]) -> list[Any]:
    """Run one statement of ours on PostgreSQL, past SQLAlchemy, which adds as much time to a short
    one as it takes; returns its rows. For what every message needs.

    Raises:
        sqlalchemy.exc.DBAPIError: As SQLAlchemy would.
    """
    try:
        return list(await _driver(connection).fetch(statement, *arguments))
    except IntegrityConstraintViolationError as error:
        raise IntegrityError(statement, None, error) from error
    except PostgresError as error:
        raise DBAPIError(statement, None, error) from error


IDLE_SECONDS = 5.0
"""A connection that was not used for so long is asked whether the server is still there."""


def _postgresql_arguments() -> dict[str, Any]:
    """What each connection to PostgreSQL is opened with; both ends find out that the other is gone."""
    return {
        "command_timeout": STATEMENT_SECONDS,
        "server_settings": {
            "random_page_cost": str(PAGE_COST),
            "idle_in_transaction_session_timeout": str(int(UNFINISHED_SECONDS * 1000)),
            "idle_session_timeout": str(int(IDLE_SESSION_SECONDS * 1000)),
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        },
    }


def _prepare_postgresql(engine: AsyncEngine) -> None:
    """Hand out no connection whose server is gone.

    A server that dies closes its connections, and the driver knows that without asking. Asking
    (three round trips) is for the network that swallowed the news, so it is done after a silence.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def _checkin(_connection: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _checkout(connection: Any, record: Any, _proxy: Any) -> None:
        if connection.driver_connection.is_closed():
            raise DisconnectionError
        used = record.info.get("used")
        if used is not None and time.monotonic() - used > IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except Exception as error:  # whatever it says, it is of no use
                # All that were opened before it, too.
                raise InvalidatePoolError from error


async def _patience(driver: Any, milliseconds: int) -> None:
    async with driver.execute(f"PRAGMA busy_timeout={milliseconds}"):
        pass


def prepare_sqlite(engine: Engine, *, serving: bool = True) -> None:
    """How each connection to a SQLite file begins; not `serving`: its tables are being changed."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # We emit BEGIN ourselves: the driver's own choice would begin too late to be a snapshot.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={SQLITE_PATIENCE_MS}",
            *([] if serving else ["auto_vacuum=INCREMENTAL"]),  # before the first page is written
            "journal_mode=WAL",
            "synchronous=FULL",
            f"foreign_keys={'ON' if serving else 'OFF'}",
            "secure_delete=ON",  # erased means gone from the file, not marked free
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("sqlite_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


_AWAY = ("08", "53", "57P", "25006", "40P01", "40001", "55P03")
"""SQLSTATEs that pass: connection lost, out of disk or memory, shutting down or starting up,
read-only standby, deadlock, serialisation, a lock that was waited for too long. Nothing is wrong with what was asked."""


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Let a database that is away leave as `StorageUnavailable`, and everything else as it is."""
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError, OSError, TimeoutError) as error:
        raise StorageUnavailable(type(error).__name__) from error
    except DBAPIError as error:
        if error.connection_invalidated or _state(error.orig).startswith(_AWAY):
            raise StorageUnavailable(type(error).__name__) from error
        raise
    except (PostgresError, PostgresInterfaceError, InternalClientError) as error:
        # What the driver raises while connecting does not pass through SQLAlchemy; nor what it finds
        # impossible, as it does of a server that ends between two parts of an answer (seen).
        raise StorageUnavailable(type(error).__name__) from error


def _state(error: BaseException | None) -> str:
    return str(getattr(error, "sqlstate", None) or "")
