"""The compose file, `.env.example` and the Makefile say what the code does."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from core.config.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?::-([^}]*))?\}")


def resolve(text: str, environment: dict[str, str]) -> str:
    """Compose's `${NAME:-default}`; a variable with neither value nor default is an error."""

    def value(found: re.Match[str]) -> str:
        name, default = found.groups()
        resolved = environment.get(name) or default
        assert resolved is not None, f"{name} has neither a value nor a default"
        return resolved

    return VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load(resolve((ROOT / "docker-compose.yml").read_text(), {}))


def test_every_compose_variable_resolves_and_none_is_left(compose):
    assert "${" not in yaml.safe_dump(compose)


def test_compose_variables_can_be_set():
    text = resolve((ROOT / "docker-compose.yml").read_text(), {"QDRANT_HTTP_PORT": "7333"})
    assert '"127.0.0.1:7333:6333"' in text
    assert "http://127.0.0.1:7333" in text


def test_compose_has_the_qdrant_that_customers_start(compose):
    qdrant = compose["services"]["qdrant"]
    assert re.fullmatch(r"qdrant/qdrant:v\d+\.\d+\.\d+", qdrant["image"])
    assert {port.rsplit(":", 1)[1] for port in qdrant["ports"]} == {"6333", "6334"}
    assert any(volume.endswith(":/qdrant/storage") for volume in qdrant["volumes"])
    assert {
        "QDRANT__STORAGE__PERFORMANCE__MAX_SEARCH_THREADS",
        "QDRANT__STORAGE__PERFORMANCE__MAX_OPTIMIZATION_THREADS",
        "QDRANT__STORAGE__OPTIMIZERS__MEMMAP_THRESHOLD_KB",
    } <= qdrant["environment"].keys()


def test_compose_app_waits_for_a_healthy_qdrant_and_uses_it(compose):
    app = compose["services"]["app"]
    assert app["depends_on"]["qdrant"]["condition"] == "service_healthy"
    assert app["environment"]["QDRANT_URL"] == "http://127.0.0.1:6333"


def test_compose_environment_of_the_app_is_valid_settings(compose, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in compose["services"]["app"]["environment"].items():
        assert name.lower() in Settings.model_fields, name
        monkeypatch.setenv(name, str(value))
    settings = load_settings()
    assert settings.qdrant_url == "http://127.0.0.1:6333"


def test_compose_gives_both_the_same_qdrant_key_and_none_when_there_is_none(compose):
    text = resolve((ROOT / "docker-compose.yml").read_text(), {"QDRANT_API_KEY": "k"})
    services = yaml.safe_load(text)["services"]
    assert services["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"] == "k"
    assert services["app"]["environment"]["QDRANT_API_KEY"] == "k"
    assert compose["services"]["app"]["environment"]["QDRANT_API_KEY"] == ""
    shell = compose["services"]["qdrant"]["command"][-1].replace("$$", "$")
    for key, seen in (("", "unset"), ("k", "k")):
        shown = shell.replace("exec ./entrypoint.sh", "echo ${QDRANT__SERVICE__API_KEY-unset}")
        environment = {"PATH": os.environ["PATH"], "QDRANT__SERVICE__API_KEY": key}
        done = subprocess.run(["bash", "-c", shown], env=environment, capture_output=True, check=True)
        assert done.stdout.decode().strip() == seen


def test_no_container_has_more_rights_than_it_needs(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["mem_limit"], name
        assert 0 < service["pids_limit"] <= 512, name
        assert re.search(r":v?\d+\.\d+\.\d+$", service.get("image", ":1.0.0")), name


def test_no_page_in_a_browser_can_reach_qdrant_and_it_tells_nobody_anything(compose):
    environment = compose["services"]["qdrant"]["environment"]
    assert environment["QDRANT__SERVICE__ENABLE_CORS"] == "false"
    assert environment["QDRANT__TELEMETRY_DISABLED"] == "true"
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["qdrant"]["ports"])


@pytest.mark.parametrize(("password", "said"), [("", "GRAFANA_PASSWORD"), ("secret", "started")])
def test_grafana_starts_with_a_password_of_ones_own_only(compose, password, said):
    *_, script = compose["services"]["grafana"]["entrypoint"]
    script = script.replace("$$", "$").replace("exec /run.sh", "echo started")
    environment = {"PATH": os.environ["PATH"], "GF_SECURITY_ADMIN_PASSWORD": password}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (said in done.stdout + done.stderr, done.returncode) == (True, 0 if password else 1)


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_env_example_names_every_setting_with_its_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    defaults = load_settings()
    assert set(example()) == {name.upper() for name in Settings.model_fields}
    for name, value in example().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == defaults


def test_requirements_are_pinned_and_hashed_with_headless_opencv_only():
    for file in ("requirements.txt", "requirements-gpu.txt", "requirements-dev.txt"):
        text = (ROOT / file).read_text()
        pins = re.findall(r"^([A-Za-z0-9_.-]+)==\S+.*\\$", text, re.MULTILINE)
        assert len(pins) > 50
        assert "opencv-python" not in pins
        assert len(re.findall(r"--hash=sha256:", text)) >= len(pins)
        assert "://" not in text


def test_cpu_and_gpu_sets_never_mix_their_faiss_and_onnxruntime():
    cpu, gpu = ((ROOT / f).read_text() for f in ("requirements.txt", "requirements-gpu.txt"))
    assert re.search(r"^faiss-cpu==", cpu, re.MULTILINE)
    assert not re.search(r"^faiss-gpu==", cpu, re.MULTILINE)
    assert re.search(r"^faiss-gpu==", gpu, re.MULTILINE)
    assert not re.search(r"^(faiss-cpu|onnxruntime)==", gpu, re.MULTILINE)


def test_ci_runs_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    commands = (ROOT / "README.md").read_text().split("```console")[1].split("```")[0]
    assert re.findall(r"^make \w+", commands, re.MULTILINE) == ["make run", "make test"]
