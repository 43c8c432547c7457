"""`robi doctor` on a ledger that a PostgreSQL server keeps: what it says, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from core.config.settings import Settings, given_settings
from core.domain.faces import PackInfo
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from robi.cli.doctor import stores
from robi.cli.doctor.finding import Level
from tests.ledger_faults import connected
from tests.postgres_server import PASSWORD, PostgresServer, required

PACK = PackInfo("open", "ab" * 32, 4, "")


@pytest.fixture
def place(postgres: PostgresServer) -> SecretStr:
    """A database in which Ana is enrolled."""
    url = postgres.database()
    with closing(Ledger.open(url, PACK)) as ledger:
        ledger.people.enroll("ana", "Ana", [NewTemplate(np.ones(4, np.float32), 0.9, "api")])
    return url


def settings(place: SecretStr, tmp_path: Path, **values: object) -> Settings:
    return given_settings(robi_data_dir=tmp_path, database_url=place.get_secret_value(), **values)


def test_a_server_that_does_not_sync_is_minded(place: SecretStr, tmp_path: Path) -> None:
    found = stores.ledger(settings(place, tmp_path))
    assert (found.verdict, "fsync" in found.do) == (Level.MIND, True), "for tests it is off"
    assert found.says.startswith("PostgreSQL ")


@pytest.fixture
def synced() -> Iterator[PostgresServer]:
    """A server as it should be."""
    server = PostgresServer(required(), fsync="on")
    yield server
    server.remove()


def test_what_is_in_it_is_counted_and_nothing_is_made(synced: PostgresServer, tmp_path: Path) -> None:
    place = synced.database()
    found = stores.ledger(settings(place, tmp_path))
    assert (found.verdict, "There is no ledger yet" in found.says) == (Level.WELL, True)
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    with closing(connected(place)) as admin:
        assert admin.execute(tables).fetchone() == (0,)
        with closing(Ledger.open(place, PACK)) as ledger:
            ledger.people.enroll("ana", "Ana", [NewTemplate(np.ones(4, np.float32), 0.9, "api")])
        found = stores.ledger(settings(place, tmp_path))
        assert (found.verdict, found.says.partition(". ")[2]) == (Level.WELL, "1 person, 1 template.")
        found = stores.ledger(settings(place, tmp_path, face_pack="buffalo_l"))
        assert (found.verdict, found.do.startswith("Set FACE_PACK=open")) == (Level.WRONG, True)
        admin.execute("UPDATE alembic_version SET version_num = '9999'")
        found = stores.ledger(settings(place, tmp_path))
        assert (found.verdict, "newer version" in found.says) == (Level.WRONG, True)
        name = make_url(place.get_secret_value()).database
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    found = stores.ledger(settings(place, tmp_path))
    assert (found.verdict, "read-only" in found.says) == (Level.MIND, True)


def test_a_server_that_cannot_be_used_is_wrong_and_no_password_is_told(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    away = make_url(postgres.url().get_secret_value()).set(port=1).render_as_string(hide_password=False)
    foreign = postgres.database()
    with closing(connected(foreign)) as admin:
        admin.execute("CREATE TABLE people (name text)")
    for place, said in (
        (SecretStr(away), "cannot be reached"),
        (postgres.url(password="wrong-secret"), "refuses the login"),
        (foreign, "another program"),
    ):
        found = stores.ledger(settings(place, tmp_path))
        assert (found.verdict, said in found.says, bool(found.do)) == (Level.WRONG, True, True)
        assert PASSWORD not in f"{found}"
        assert "wrong-secret" not in f"{found}"
