"""Settings that cannot work stop the start with one line that names the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.settings import load_settings
from core.domain.errors import StartError


@pytest.fixture(autouse=True)
def _no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@localhost:4318"),
        ("ROBI_LOG_FORMAT", "xml"),
        ("QDRANT_URL", "localhost:6333"),
        ("QDRANT_URL", "http://"),
        ("QDRANT_URL", "http://localhost:99999"),
        ("QDRANT_URL", "http://localhost:port"),
        ("QDRANT_URL", "http://[::1"),
        ("QDRANT_URL", "http://me:secret@localhost:6333"),
        ("DATABASE_URL", "sqlite:///data/ledger.db"),
        ("DATABASE_URL", "postgresql://me:secret@host"),
        ("DATABASE_URL", "postgresql+psycopg://me:secret@[::1/robi"),
        ("DATABASE_URL", "mysql://me:secret@host/robi"),
        ("QDRANT_COLLECTION", "a/b"),
        ("QDRANT_API_KEY", "clé"),
        ("QDRANT_API_KEY", "two words"),
        ("QDRANT_CA_CERT", "/nowhere/ca.pem"),
        ("QDRANT_TIMEOUT_SECONDS", "0"),
        ("QDRANT_HNSW_M", "0"),
        ("QDRANT_QUANTIZATION", "int4"),
        ("QDRANT_SHARD_NUMBER", "0"),
        ("QDRANT_READ_CONSISTENCY", "most"),
        ("FAISS_INDEX_TYPE", "HNSW"),
        ("FACE_THRESHOLD", "nan"),
        ("FACE_PACK", "../open"),
        ("ROBI_HOST", "0.0.0.0"),
        ("ROBI_PORT", "70000"),
        ("USE_GPU", "maybe"),
        ("ROBI_DATA_DIR", ""),
        ("FAISS_NPROBE", "9" * 30),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert refused.value.code == "invalid_setting"
    assert refused.value.message.startswith(f"{name}: ")
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("content", ["FACE_PACK=ópen".encode("latin-1"), b"\xff\xfeF\x00"])
def test_an_env_file_that_is_no_text_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert (refused.value.code, refused.value.message) == ("invalid_setting", ".env: it is not UTF-8 text.")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://robi:secret@localhost/robi",
        "postgresql://robi@db:5433/robi?sslmode=require",
        "postgresql+psycopg://robi:secret@/robi?host=a:5432&host=b:5432&target_session_attrs=read-write",
    ],
)
def test_a_database_is_where_the_ledger_is_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    assert load_settings().ledger == load_settings().robi_data_dir / "ledger.db"
    monkeypatch.setenv("DATABASE_URL", url)
    settings = load_settings()
    assert settings.ledger.get_secret_value() == url
    assert "secret" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize("url", ["", "http://localhost:6333", "https://qdrant.example", "http://[::1]:6333/"])
def test_a_qdrant_address_is_taken_without_its_last_slash(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("QDRANT_URL", url)
    assert load_settings().qdrant_url == url.rstrip("/")


def test_several_nodes_of_qdrant_are_named_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", " http://a:6333/, http://b:6333,http://[::1]:6333")
    assert load_settings().qdrant_urls == ("http://a:6333", "http://b:6333", "http://[::1]:6333")
    monkeypatch.setenv("QDRANT_URL", "")
    assert load_settings().qdrant_urls == ()


@pytest.mark.parametrize(("copies", "needed"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_a_write_needs_most_copies_but_never_all(
    monkeypatch: pytest.MonkeyPatch, copies: int, needed: int
) -> None:
    monkeypatch.setenv("QDRANT_REPLICATION_FACTOR", str(copies))
    assert load_settings().qdrant_write_consistency == needed
    monkeypatch.setenv("QDRANT_WRITE_CONSISTENCY_FACTOR", str(copies))
    assert load_settings().qdrant_write_consistency == copies


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        ("http://a:6333,", "several of these"),
        ("http://a:6333,b:6333", "several of these"),
        ("http://a:6333,https://b:6333", "all http or all https"),
        ("http://a:6333,http://a:6333/", "once"),
    ],
)
def test_nodes_of_qdrant_that_cannot_be_meant_are_refused(
    monkeypatch: pytest.MonkeyPatch, urls: str, told: str
) -> None:
    monkeypatch.setenv("QDRANT_URL", urls)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert "QDRANT_URL" in refused.value.message
    assert told in refused.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"QDRANT_WRITE_CONSISTENCY_FACTOR": "2"},
        {"QDRANT_REPLICATION_FACTOR": "2", "QDRANT_WRITE_CONSISTENCY_FACTOR": "3"},
        {"QDRANT_REPLICATION_FACTOR": "2", "QDRANT_READ_CONSISTENCY": "3"},
        {"QDRANT_URL": "http://localhost:6333", "QDRANT_CA_CERT": __file__},
    ],
)
def test_settings_of_qdrant_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str]
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert refused.value.code == "invalid_setting"
    assert "QDRANT_" in refused.value.message


def test_an_api_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "hidden-key")
    assert "hidden-key" not in f"{load_settings()!r}"
    assert load_settings().qdrant_api_key.get_secret_value() == "hidden-key"
    monkeypatch.setenv("QDRANT_API_KEY", "hidden key")
    with pytest.raises(StartError) as refused:
        load_settings()
    assert "hidden" not in refused.value.message
