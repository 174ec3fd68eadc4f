"""Where the review queue is: SQLite by default, PostgreSQL by URL; its tables are made and renewed on opening."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from kramar.errors import InputError, MissingExtra, OutputError
from kramar.records import writable

# Seconds that a writer waits for another one.
_PATIENCE = 30
# Not SQLAlchemy's own choice for PostgreSQL: this one needs no library of its.
_DRIVER = "postgresql+pg8000"
# What writers of a PostgreSQL database that come one at a time agree on: any number, always the same.
_TURN = 0x6B72616D


class Database:
    """An open database of the current form. Threads may share it; processes each open their own."""

    def __init__(self, given: str, *, make: bool = True, patience: float = _PATIENCE) -> None:
        """Open the database at a path or an URL, and make it where it is missing, or only if it is there.

        ``patience`` is for how many seconds others who write are waited for.

        Raises InputError where that names none, MissingExtra where its driver is missing, OutputError where the
        machine says no.
        """
        self._url, self._patience = _url(given), patience
        self.name = self._url.database or "" if _is_sqlite(self._url) else self._url.render_as_string()
        if not make and _is_sqlite(self._url) and not Path(self.name).is_file():
            raise InputError(
                f"{self.name}: no such review queue; kramar classify --queue or kramar serve --queue makes one, "
                "and --database names another"
            )
        self._engine = self._opened()
        self._reads = self._engine.execution_options(kramar_reads=True)
        with contextlib.ExitStack() as failing:
            failing.callback(self.close)
            with self._mapped(), self._engine.begin() as connection:
                _renew(connection, self.name)
            failing.pop_all()

    def _opened(self) -> Engine:
        if not _is_sqlite(self._url):
            try:
                # A connection that the server closed meanwhile is renewed instead of failing a decision.
                return create_engine(self._url, pool_pre_ping=True, hide_parameters=True, connect_args=self._limits())
            except ModuleNotFoundError:
                raise MissingExtra("serve", f"a database at {self.name}") from None
        folder = Path(self.name).parent
        if not folder.is_dir():
            raise InputError(f"{self.name}: no such folder as {folder}; make it, or choose another --database")
        # Parameters are photos, their names and what was decided: no traceback should have them.
        engine = create_engine(self._url, hide_parameters=True, connect_args={"timeout": self._patience})
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def _limits(self) -> dict[str, float]:
        """A server is waited for as long as it takes, unless less patience was asked for: then for each answer."""
        if self._patience == _PATIENCE:
            return {}
        # Other drivers are PostgreSQL's own library underneath, which takes whole seconds, and only to connect.
        ours = self._url.drivername == _DRIVER
        return {"timeout": self._patience} if ours else {"connect_timeout": math.ceil(self._patience)}

    @contextlib.contextmanager
    def writing(self, *, in_turn: bool = False) -> Iterator[Session]:
        """A session whose changes are kept together, durably, when the block ends well, and else not at all.

        Those that ask to be ``in_turn`` come one after the other, so that what one adds, the next one finds.
        """
        with self._mapped(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            if in_turn:
                _wait_turn(session.connection())
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment of the database."""
        with self._mapped(), Session(self._reads, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give back its connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, OSError) as error:  # the latter: a server that does not answer in time
            said = _said(error.orig if isinstance(error, DBAPIError) else error)
            raise OutputError(
                f"{self.name}: the review database says no ({said}); see that it can be reached and "
                "written, has room, and is no other program's, then try again"
            ) from error


def shown(given: str) -> str:
    """A path or URL as it may be shown: without a password. Raises InputError where it is no database's."""
    if "://" not in given:
        return given
    _url(given)
    return make_url(given).render_as_string()


def storable(text: str) -> str:
    """A text as every database takes it: PostgreSQL has no place for the character 0, which JSON may bring."""
    return writable(text).replace("\0", "\\0")


def _said(error: BaseException | None) -> str:
    """What a driver's error says, in one line; pg8000's carry the server's answer field by field, M the message."""
    told = error.args[0] if error is not None and error.args else error
    return " ".join(str(told.get("M", told) if isinstance(told, dict) else told).split())


def _url(given: str) -> URL:
    if "://" not in given:
        return URL.create("sqlite", database=given)
    try:
        url = make_url(given)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        backend = ""
    if backend == "postgresql" and "+" not in url.drivername:
        return url.set(drivername=_DRIVER)
    if backend not in ("postgresql", "sqlite") or (backend == "sqlite" and url.database in (None, "", ":memory:")):
        found = given.partition("@")[2] or given  # without a password
        raise InputError(
            "--database: expected a file, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME, "
            f"found one ending {found!r}"
        )
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    """Readers and one writer go on beside each other, what was acknowledged outlives a power cut, what was deleted is
    gone from the file."""
    # Python's own transactions begin late, and not at all before a change of tables: `_begin` does.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that turns from reading to writing is refused where another wrote meanwhile: it writes at once.
    reads = connection.get_execution_options().get("kramar_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _wait_turn(connection: Connection) -> None:
    # SQLite has one writer at a time as it is.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})


def _renew(connection: Connection, name: str) -> None:
    """Bring the tables to the newest form. Raises InputError where a newer kramar made them."""
    _wait_turn(connection)
    config = Config()
    config.set_main_option("script_location", "kramar.reviewing:migrations")
    # Not the folder's default, ``versions``: the steps are modules of the package.
    config.set_main_option("version_locations", "kramar.reviewing:migrations")
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    context = MigrationContext.configure(connection, opts={"fn": partial(_steps, scripts)})
    if any(head not in known for head in context.get_current_heads()):
        raise InputError(f"{name}: a newer kramar made this database; upgrade with pip install -U kramar")
    with Operations.context(context):
        context.run_migrations()


def _steps(scripts: ScriptDirectory, current: Any, _context: MigrationContext) -> Any:
    return scripts._upgrade_revs("head", current)
