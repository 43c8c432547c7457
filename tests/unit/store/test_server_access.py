"""Who may talk to the server and whether it can be talked to: keys, certificates, versions."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import numpy as np
import pytest

from core.domain.errors import StartError
from core.store.contract import TierDown, differs
from core.store.sync.follower import Follower
from core.store.sync.projection import Projection
from core.store.tiers.server.address import addresses
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import Certificate, QdrantDouble, make_certificate
from tests.unit.store.kit import MemoryFeed, eventually, faces, settings
from tests.unit.store.server_kit import MakeTier, catch_up, equal, make_tier, server, tier

__all__ = ["make_tier", "server", "tier"]  # fixtures

KEY = "correct-horse-battery-staple"


@pytest.fixture
def probe() -> np.ndarray:
    return faces(np.random.default_rng(6), 1, 1)[0]


@pytest.mark.parametrize("given", ["", "wrong"])
def test_a_wrong_or_missing_key_stops_the_start_and_is_not_told(
    server: QdrantDouble, make_tier: MakeTier, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    server.faults.api_key = KEY
    with caplog.at_level(logging.DEBUG), pytest.raises(StartError) as refused:
        make_tier(qdrant_api_key=given).open()
    assert refused.value.code == "qdrant_unauthorized"
    assert not given or given not in refused.value.message + refused.value.hint + caplog.text


def test_the_right_key_opens_and_is_told_nowhere(
    server: QdrantDouble, make_tier: MakeTier, caplog: pytest.LogCaptureFixture, probe: np.ndarray
) -> None:
    server.faults.api_key = KEY
    with caplog.at_level(logging.DEBUG):
        allowed = make_tier(qdrant_api_key=KEY)
        allowed.open()
        assert allowed.search(probe, 1) == [[]]
        assert KEY not in str(allowed.info())
    assert KEY not in caplog.text
    assert KEY not in repr(settings(qdrant_api_key=KEY))


def test_a_key_that_is_taken_back_is_a_named_state_that_passes(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed, probe: np.ndarray
) -> None:
    projection = Projection(tier, feed, audit=differs)
    follower = Follower(projection)
    follower.start()
    try:
        assert eventually(lambda: projection.in_step)
        server.faults.api_key = KEY
        with pytest.raises(TierDown, match="API key") as refused:
            tier.search(probe, 3)
        projection.fail(refused.value)
        assert eventually(lambda: follower.fatal is not None and projection.down)
        assert "API key" in (projection.error or "")
        assert tier.info()["circuit"]["state"] == "closed", "a server that refuses is there"
        server.faults.api_key = ""
        assert eventually(lambda: projection.ok)
        assert projection.error is None
    finally:
        follower.close()


@pytest.mark.parametrize(
    ("version", "outcome"),
    [
        ("1.18.9", "refused"),
        ("2.0.0", "refused"),
        ("1.19.0", ""),
        ("1.21.4", ""),
        ("1.22.0", "newer"),
        ("nightly", "cannot be compared"),
    ],
)
def test_the_server_s_version_is_checked(make_tier: MakeTier, version: str, outcome: str) -> None:
    with QdrantDouble(version=version) as other:
        checked = make_tier(at=other)
        if outcome == "refused":
            with pytest.raises(StartError) as refused:
                checked.open()
            assert refused.value.code == "qdrant_incompatible"
            assert version in refused.value.message
            assert "1.19" in refused.value.message
            return
        checked.open()
        assert checked.info()["version"] == version
        notes = checked.info()["notes"]
        assert len(notes) == bool(outcome)
        assert outcome in "".join(notes)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = make_certificate(tmp_path_factory.mktemp("tls"))
    if made is None:
        pytest.skip("there is no openssl to make a certificate with")
    return made


def test_tls_with_the_authority_that_was_named(
    certificate: Certificate, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 3)[0])
    with QdrantDouble(certificate=certificate) as safe:
        safe.faults.api_key = KEY
        secured = make_tier(at=safe, qdrant_ca_cert=str(certificate.certificate), qdrant_api_key=KEY)
        catch_up(secured, feed)
        secured.ping()
        assert equal(secured, feed)


def test_an_untrusted_certificate_stops_the_start(certificate: Certificate, make_tier: MakeTier) -> None:
    with QdrantDouble(certificate=certificate) as stranger:
        with pytest.raises(StartError) as refused:
            make_tier(at=stranger).open()
        assert refused.value.code == "qdrant_untrusted"
        assert "QDRANT_CA_CERT" in refused.value.hint


def test_a_file_that_is_no_certificate_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "notes.pem").write_text("milk, bread")
    chosen = settings(qdrant_url="https://qdrant.example", qdrant_ca_cert=str(tmp_path / "notes.pem"))
    with pytest.raises(StartError) as refused:
        addresses(chosen)
    assert refused.value.code == "invalid_setting"
    assert refused.value.message.startswith("QDRANT_CA_CERT: ")


def test_a_version_that_is_replaced_by_an_old_one_is_a_named_state(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed
) -> None:
    server.version = "1.12.0"
    with pytest.raises(TierDown, match=r"1\.12\.0"):
        tier.ping()
    with pytest.raises(StartError):
        tier.open()
    server.version = "1.20.0"
    catch_up(tier, feed)
    assert equal(tier, feed)


def named(tier: QdrantServerTier) -> str:
    with pytest.raises(TierDown) as refused:
        tier.open()
    return refused.value.message


def test_plain_http_to_a_server_that_speaks_tls_is_named(
    certificate: Certificate, make_tier: MakeTier
) -> None:
    with QdrantDouble(certificate=certificate) as safe:
        plain = make_tier(qdrant_url=safe.url.replace("https", "http"), qdrant_grpc_port=safe.grpc_port)
        assert "speaks TLS" in named(plain)


def test_a_grpc_port_that_nobody_listens_on_is_named_while_http_answers(
    server: QdrantDouble, make_tier: MakeTier
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    assert "QDRANT_GRPC_PORT" in named(make_tier(qdrant_grpc_port=free))


def test_a_grpc_port_that_swallows_everything_is_named_while_http_answers(
    server: QdrantDouble, make_tier: MakeTier
) -> None:
    """As behind a firewall that drops what comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        swallowed = make_tier(qdrant_grpc_port=silent.getsockname()[1], qdrant_timeout_seconds=1)
        named(swallowed)
        assert eventually(lambda: "QDRANT_GRPC_PORT" in named(swallowed))
