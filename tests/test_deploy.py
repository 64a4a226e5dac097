"""deploy/ holds together: paths and commands exist, variables are settings, nothing is open to the world or secret."""

from __future__ import annotations

import configparser
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

import cli
from pipelines.settings import Settings, Stream
from tests.kafka import VERSION

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("boss-*.*"))
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
OURS = ("worker-1", "worker-2", "upkeep", "boss")
NO_SETTINGS = {"BOSS_WORKSPACE", "BOSS_FOLDER", "BOSS_UID", "BOSS_GID", "BOSS_OBJECTS"}


def unit(name: str = "boss-worker.service") -> dict[str, dict[str, str]]:
    """Its settings; of one that is there several times, the last."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / name).read_text(encoding="utf-8"))
    return {name: dict(section) for name, section in parser.items()}


def instruction(name: str) -> list[str]:
    """The arguments of every such line of the Containerfile."""
    return re.findall(rf"^\s*{name} (.+)$", CONTAINERFILE, re.MULTILINE)


def setting_variables() -> set[str]:
    names = set()
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        names |= {f"BOSS_{name}__{key}".upper() for key in inner} if inner else {f"BOSS_{name}".upper()}
    return names


def test_the_service_starts_a_command_that_exists() -> None:
    program, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    assert program == "/opt/boss/bin/boss"
    assert arguments == ["worker"]
    assert "worker" in get_command(cli.app).commands  # type: ignore[attr-defined]


def test_the_service_restarts_after_a_failure_and_not_after_wrong_usage() -> None:
    service = unit()["Service"]
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"


def test_upkeep_runs_commands_that_exist_as_often_as_its_timer_says() -> None:
    lines = (DEPLOY / "boss-upkeep.service").read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line.partition("=")[2])[1:] for line in lines if line.startswith("ExecStart=")]
    assert commands == [["ledger", "compact"], ["ledger", "vacuum", "--delete"]]
    known = get_command(cli.app).commands["ledger"].commands  # type: ignore[attr-defined]
    assert {words[1] for words in commands} <= known.keys()
    assert unit("boss-upkeep.service")["Service"]["Type"] == "oneshot"
    assert unit("boss-upkeep.timer")["Timer"]["OnCalendar"] == "hourly"
    loop = COMPOSE["services"]["upkeep"]["entrypoint"][-1]
    assert all("boss " + " ".join(words) in loop for words in commands)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    """Older versions of systemd may say that they do not know the two lines about growing pauses."""
    if shutil.which("systemd-analyze") is None:
        return
    program = tmp_path / "boss"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for other in UNITS:
        text = (DEPLOY / other).read_text(encoding="utf-8")
        (tmp_path / other).write_text(text.replace("/opt/boss/bin/boss", str(program)))
    copy = tmp_path / name
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if str(copy) in line or copy.name in line]
    assert [line for line in said if "'RestartSteps'" not in line and "'RestartMaxDelaySec'" not in line] == []


@pytest.mark.parametrize("name", [*UNITS, "Containerfile", "compose.yaml", "compose.objects.yaml"])
def test_every_boss_variable_is_a_setting(name: str) -> None:
    found = set(re.findall(r"\bBOSS_[A-Z_]+", (DEPLOY / name).read_text(encoding="utf-8")))
    assert found <= setting_variables() | NO_SETTINGS


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    assert not re.search(r"password|passwd|secret|token|credential|api_?key", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_the_image_is_built_from_files_that_exist_by_locked_hashes_and_runs_as_nobody_special() -> None:
    ignored = {line.rstrip("/") for line in (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()}
    for source in (line.split()[0] for line in instruction("COPY") if not line.startswith("--from")):
        assert (ROOT / source).exists(), source
    packaged = re.findall(r'^    "(\S+)",$', (ROOT / "pyproject.toml").read_text().partition("only-include")[2], re.MULTILINE)
    assert packaged
    assert not ignored & {*packaged, "pyproject.toml", "README.md", "LICENSE", "requirements.lock"}
    assert any("--require-hashes -r /src/requirements.lock" in line for line in instruction("RUN"))
    assert {image.split()[0].partition(":")[0] for image in instruction("FROM")} == {"python"}
    user, _, group = instruction("USER")[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_image_starts_a_worker_that_listens_where_the_ports_are_published() -> None:
    assert json.loads(instruction("ENTRYPOINT")[0]) == ["boss"]
    assert json.loads(re.findall(r"^CMD (.+)$", CONTAINERFILE, re.MULTILINE)[0]) == ["worker"]
    assert instruction("EXPOSE") == [str(Stream().port)]
    assert "BOSS_STREAM__HOST=0.0.0.0" in CONTAINERFILE


class Page(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def page() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_of_the_image_asks_healthz(
    status: int, healthy: bool, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Page, "status", status)
    monkeypatch.setenv("BOSS_STREAM__PORT", str(page))
    command = json.loads(instruction("HEALTHCHECK")[0].partition("CMD ")[2])
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, check=False)
    assert command[0] == "python"
    assert (done.returncode == 0) == healthy


def test_the_compose_file_publishes_on_loopback_only_and_no_port_twice() -> None:
    published = [str(port) for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_the_compose_file_builds_our_image_and_starts_the_kafka_that_the_tests_know() -> None:
    services = COMPOSE["services"]
    assert services["kafka"]["image"] == f"apache/kafka:{VERSION}"
    build = services["worker-1"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    for name in OURS:
        assert services[name]["image"] == "boss"
        assert services[name]["environment"]["BOSS_KAFKA"] == "kafka:19092"
        assert services[name]["cap_drop"] == ["ALL"]
    assert "INSIDE://kafka:19092" in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_workers_and_upkeep_in_containers_may_write_the_ledger_only() -> None:
    for name in ("worker-1", "worker-2", "upkeep"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        writable = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
        assert writable == ["${BOSS_FOLDER}/ledger:/workspace/ledger"]


def test_every_named_volume_is_declared() -> None:
    volumes = [str(volume) for service in COMPOSE["services"].values() for volume in service.get("volumes", [])]
    named = {volume.partition(":")[0] for volume in volumes if not volume.startswith("$")}
    assert named == set(COMPOSE["volumes"])


def test_the_overlay_gives_every_service_of_ours_the_same_place_in_object_storage() -> None:
    overlay: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "compose.objects.yaml").read_text(encoding="utf-8"))
    assert set(overlay["services"]) == {*OURS, "objects"}
    for name in OURS:
        service = overlay["services"][name]
        place = {key: service["environment"][f"BOSS_LEDGER__{key}"] for key in ("LOCATION", "ENDPOINT", "ALLOW_HTTP")}
        assert place == {"LOCATION": "s3://ledger/acme", "ENDPOINT": "http://objects:7070", "ALLOW_HTTP": "true"}
        assert service["environment"]["BOSS_KAFKA"] == COMPOSE["services"][name]["environment"]["BOSS_KAFKA"]
        assert service["env_file"].startswith("${BOSS_OBJECTS")
    assert "/data/ledger" in overlay["services"]["objects"]["entrypoint"][-1], "the bucket is a folder of that name"
    assert "ports" not in overlay["services"]["objects"]
    assert set(overlay["volumes"]) == {"objects"}
