"""deploy/compose.yaml, as far as it can be held to account without an engine: by the Compose Specification's own
schema, by our settings, and by what its files say of each other."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from marketpulse.app.cli.main import app
from marketpulse.settings import Settings, load_settings
from marketpulse.sinks import SINKS

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose-spec.json"
OURS = "marketpulse"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == OURS}


def test_it_is_valid_by_the_specifications_schema_and_its_image_is_built_from_locks(compose: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(compose)
    text = (DEPLOY / "Dockerfile").read_text()
    for path in re.findall(r"requirements/\w+\.txt", text):
        assert (ROOT / path).is_file()
    assert text.count("--require-hashes") == 2
    for service in ours(compose).values():
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_images_have_versions_ports_loopback_waits_a_health_check_and_mounts_are_there(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [port.split(":")[1] for port in ports]
    assert len(published) == len(set(published))
    assert {"8080", "8085", "5050", "3000"} <= set(published)
    for service in compose["services"].values():
        assert service["image"] == OURS or re.search(r":v?\d+(\.\d+)*$", service["image"]), service["image"]
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[other], other
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume


def test_passwords_come_from_a_file_of_ones_own_and_none_stands_here(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    given = dict(
        line.split("=", 1) for line in (DEPLOY / "example.env").read_text().splitlines() if line[:1] not in "#"
    )
    assert asked == set(given)
    assert set(given.values()) == {""}
    for service in compose["services"].values():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key:
                assert re.match(r"\$\{\w+:\?", value), key
    asked_by_grafana = re.findall(r"\$(\w+)", (DEPLOY / "grafana/provisioning/datasources/stores.yaml").read_text())
    assert set(asked_by_grafana) <= set(compose["services"]["grafana"]["environment"])


def test_every_process_of_ours_is_a_command_with_settings_that_are_valid(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Settings] = {}
    for name, service in ours(compose).items():
        with monkeypatch.context() as patch:
            for key, value in service["environment"].items():
                patch.setenv(key, re.sub(r"\$\{\w+[^}]*\}", "a-password-of-28-characters", value))
            found[name] = load_settings()
        command = service["command"][: 2 if service["command"][0] == "produce" else 1]
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0, (name, result.output)
    assert {settings.kafka.bootstrap_servers for settings in found.values()} == {"kafka:19092"}
    for name, settings in found.items():
        if name.startswith("sink-"):
            which = name.removeprefix("sink-")
            assert which in SINKS
            assert getattr(settings.sinks, which).enabled
    assert found["serve"].serve.allowed_hosts == ("127.0.0.1", "localhost")
