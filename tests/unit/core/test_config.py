"""Settings that cannot work stop the start with one line that names the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import load_settings
from core.errors import StartError


@pytest.fixture(autouse=True)
def _no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QDRANT_URL", "localhost:6333"),
        ("QDRANT_URL", "http://"),
        ("QDRANT_URL", "http://localhost:99999"),
        ("QDRANT_URL", "http://localhost:port"),
        ("QDRANT_URL", "http://[::1"),
        ("QDRANT_COLLECTION", "a/b"),
        ("FAISS_INDEX_TYPE", "HNSW"),
        ("FACE_THRESHOLD", "nan"),
        ("FACE_PACK", "../open"),
        ("ROBI_HOST", "0.0.0.0"),
        ("ROBI_PORT", "70000"),
        ("USE_GPU", "maybe"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert refused.value.code == "invalid_setting"
    assert refused.value.message.startswith(f"{name}: ")
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("url", ["", "http://localhost:6333", "https://qdrant.example", "http://[::1]:6333/"])
def test_a_qdrant_address_is_taken_without_its_last_slash(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("QDRANT_URL", url)
    assert load_settings().qdrant_url == url.rstrip("/")
