"""A real PostgreSQL of the tests' own: in a directory of its own, on a free port, by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from pydantic import SecretStr

MIGRATED = "robi_migrated"
"""The database with the ledger's tables, and nothing in them, that others are copied from."""
PASSWORD = "only for tests:/@?"  # with characters that a URL has to escape
_ESCAPED = "only%20for%20tests%3A%2F%40%3F"
_START_S = 30.0


def installed() -> Path | None:
    """Where the newest PostgreSQL's programs are; None where there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    on_path = [Path(program).resolve().parent for program in filter(None, [shutil.which("initdb")])]
    return next((path for path in (*debian, *on_path) if (path / "initdb").exists()), None)


def required() -> Path:
    """As `installed`; without it the test is skipped."""
    programs = installed()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return programs


class PostgresServer:
    """Running from the start of the object until `stop`. Nothing is synced to the disk: it is a test."""

    def __init__(
        self, programs: Path, *, standby_of: PostgresServer | None = None, **options: object
    ) -> None:
        self.programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="robi-postgres-"))
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self.port = _free_port()
        self.options: Mapping[str, object] = {"fsync": "off", "max_connections": 60, **options}
        try:
            self._make() if standby_of is None else self._copy(standby_of)
            self.start()
        except BaseException:
            self.remove()
            raise

    def url(self, database: str = "postgres", *, user: str = "robi", password: str = _ESCAPED) -> SecretStr:
        return SecretStr(f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}")

    def database(self, template: str = "template0") -> SecretStr:
        """A new database's URL."""
        name = f"robi_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, sql: str, database: str = "postgres") -> None:
        with closing(self.connect(database)) as connection:
            connection.execute(sql)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="robi",
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        )

    def start(self) -> None:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self.options,
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = self._popen("postgres", "-D", str(self._data), *arguments)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every session (`fast`), SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_S)
            self._process = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """The server and all its sessions are stopped where they are."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        stopped = [parent, *parent.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def promote(self) -> None:
        """Of a standby: it is the primary from now on."""
        self.execute("SELECT pg_promote()")

    def _copy(self, primary: PostgresServer) -> None:
        """A hot standby: everything of the primary, and it goes on following it."""
        self._prepare()
        conninfo = f"host=127.0.0.1 port={primary.port} user=robi password='{PASSWORD}'"
        copied = self._popen(
            "pg_basebackup", *("-D", str(self._data), "-d", conninfo, "-R", "-c", "fast", "--no-sync")
        )
        if copied.wait(60):
            raise RuntimeError(f"pg_basebackup failed: {self._log.read_text()[-2000:]}")

    def _prepare(self, *more: Path) -> None:
        self._log.touch()
        if self._user is not None:
            for path in (self._directory, self._log, *more):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _make(self) -> None:
        secret = self._directory / "password"
        secret.write_text(PASSWORD)
        self._prepare(secret)
        # A language's order, which is not SQLite's: what is ours must not follow it.
        language = ("--locale-provider=icu", "--icu-locale=en-US") if self._is_15() else ()
        made = self._popen(
            "initdb",
            *("-D", str(self._data), "-U", "robi", "--pwfile", str(secret), "--auth=scram-sha-256"),
            *("--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", *language),
        )
        if made.wait(60):
            raise RuntimeError(f"initdb failed: {self._log.read_text()[-2000:]}")

    def _is_15(self) -> bool:
        told = subprocess.run([self.programs / "initdb", "--version"], capture_output=True, check=True)
        return int(re.search(rb"\d+", told.stdout)[0]) >= 15  # type: ignore[index]

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        user = {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self.programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env={"PATH": os.environ.get("PATH", ""), "LC_MESSAGES": "C"},
                **user,  # type: ignore[arg-type]
            )

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), closing(self.connect()):
            return True
        return False


def _unprivileged() -> pwd.struct_passwd | None:
    """Somebody else where we are root, as whom PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("there is no unprivileged user to run PostgreSQL as")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
