"""A PostgreSQL server of the tests' own, on this machine's loopback, as a user that is not root."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def programs() -> Path | None:
    """The folder of Debian's server programs, the newest; None where there are none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name))
    return folders[-1] if folders else None


def missing() -> str:
    """What keeps the server from being started, in words; nothing where all is there."""
    if programs() is None:
        return "needs PostgreSQL (Debian's package postgresql); there is none"
    return "" if find_spec("pg8000") else "needs pg8000 (the extra serve); it is not installed"


@contextmanager
def server() -> Iterator[str]:
    """Start one and give its URL; when the block ends, nothing of it is left."""
    bin_ = programs()
    assert bin_ is not None
    user = "postgres" if os.geteuid() == 0 else None
    # Not pytest's folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="kramar-postgres-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        # Not a pipe: the server would keep it open.
        with (folder / "said.txt").open("w+") as said:
            done = subprocess.run(
                [str(bin_ / program), "-D", str(data), *arguments],
                user=user,
                cwd=folder,
                stdout=said,
                stderr=said,
                check=False,
                env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
            )
            said.seek(0)
            assert done.returncode == 0, said.read()

    try:
        call("initdb", "-U", "kramar", "-A", "trust", "-E", "UTF8", "--no-sync")
        call("pg_ctl", "-w", "start", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}")
        try:
            yield f"postgresql://kramar@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-w", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def emptied(url: str) -> str:
    """The URL of a new database on the server at ``url``."""
    from sqlalchemy import create_engine, make_url

    name = f"review_{secrets.token_hex(4)}"
    engine = create_engine(make_url(url).set(drivername="postgresql+pg8000"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.rpartition("/")[0] + f"/{name}"
