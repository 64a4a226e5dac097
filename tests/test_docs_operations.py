"""docs/OPERATIONS.md and docs/EVENTS.md tell the truth: their tables are those of the code, and what they say to do works.

`pytest tests/test_docs_operations.py --update-golden` writes the tables anew.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.main import get_command
from typer.testing import CliRunner

import cli
from pipelines.broker import free_port
from pipelines.health import Health
from pipelines.published_schemas import settings_schema
from pipelines.rater import RateResult
from pipelines.rekey_health import RekeyHealth
from pipelines.workspace import Workspace
from tests.stream_watch import get, wait_for, wait_until, wait_until_ready

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "OPERATIONS.md"
TEXT = PAGE.read_text(encoding="utf-8")
UPDATE = "run `.venv/bin/pytest tests/test_docs_operations.py --update-golden`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command by its full name, depth first."""
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from commands(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def usage(name: str, command: Any) -> str:
    words = [name]
    for parameter in command.params:
        word = parameter.name.upper()
        if parameter.param_type_name == "argument":
            words.append(word if parameter.required else f"[{word}]")
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {word}")
    return " ".join(words)


def command_table() -> str:
    found = sorted(commands(get_command(cli.app), "boss"), key=lambda item: item[0].count(" "))
    rows = [(f"`{usage(name, command)}`", " ".join(command.help.split("\n\n")[0].split())) for name, command in found]
    return table(("command", "what it does"), rows)


def setting_rows() -> list[tuple[str, str, str, str]]:
    schema = settings_schema()
    rows = []
    for name, field in schema["properties"].items():
        inside = schema["$defs"][field["$ref"].rpartition("/")[2]]["properties"] if "$ref" in field else {"": field}
        for key, setting in inside.items():
            dotted = f"{name}.{key}" if key else name
            default = json.dumps(setting["default"])
            rows.append((f"`{dotted}`", f"`BOSS_{dotted.upper().replace('.', '__')}`", f"`{default}`", setting["description"]))
    return rows


def metric_table() -> str:
    """Every metric that a worker shows, as it shows them."""
    health = Health()
    health.watch_lag(lambda: {0: 1})
    health.record(RateResult(rejects={"no_price": 1}), 0.1)
    return table_of_metrics(health.metrics())


def table_of_metrics(text: str) -> str:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    rows = []
    for name, meaning in re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE):
        labels = set(re.findall(rf"^{name}{{(\w+)=", text, re.MULTILINE))
        if not name.endswith("_created"):
            rows.append((f"`{name}`", kinds[name], ", ".join(sorted(labels)), meaning))
    return table(("metric", "type", "label", "meaning"), rows)


def rekey_metric_table() -> str:
    """Every metric that `boss rekey` shows."""
    health = RekeyHealth()
    health.lag[0] = 1
    return table_of_metrics(health.metrics().decode())


TABLES = {
    "commands": command_table,
    "settings": lambda: table(("setting", "environment variable", "default", "meaning"), setting_rows()),
    "metrics": metric_table,
    "rekey metrics": rekey_metric_table,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_page_is_what_the_code_says(name: str, update_golden: bool) -> None:
    place = re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    if update_golden:
        PAGE.write_text(place.sub(lambda found: found[1] + TABLES[name]() + found[3], PAGE.read_text("utf-8")), "utf-8")
    found = place.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[2] == TABLES[name](), UPDATE


OTHER = {
    "billing.starts": "2027-01",
    "kafka_security.protocol": "SASL_SSL",
    "kafka_security.mechanism": "SCRAM-SHA-256",
    "ledger.location": "s3://acme/ledger",
    "ledger.endpoint": "https://objects.example.com",
}
"""Another value than the default, where not every text is one."""


@pytest.mark.parametrize("row", setting_rows(), ids=lambda row: row[0].strip("`"))
def test_a_setting_can_be_set_by_its_environment_variable(
    row: tuple[str, str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, variable, default, _ = (cell.strip("`") for cell in row)
    (tmp_path / "boss.toml").write_text("")
    value: Any = json.loads(default)
    if isinstance(value, str):
        value = OTHER.get(key, "OTHER")
    elif isinstance(value, bool):
        value = not value
    else:
        value += 1
    monkeypatch.setenv(variable, str(value))
    setting: Any = Workspace.open(tmp_path).settings
    for name in key.split("."):
        setting = getattr(setting, name)
    assert (setting.get_secret_value() if isinstance(setting, SecretStr) else setting) == value


def test_the_page_says_of_every_folder_of_a_workspace_whether_it_must_be_kept() -> None:
    backup = TEXT.partition("## Backup")[2].partition("\n## ")[0]
    folders = [name for name, member in vars(Workspace).items() if isinstance(member, property) and name != "stream_name"]
    assert re.findall(r"^\| `(\w+)/`", backup, re.MULTILINE) == [name.removesuffix("_folder") for name in folders]


def console(heading: str) -> list[str]:
    """The commands below a heading, without `boss `."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line.removeprefix("$ boss ") for line in section.splitlines() if line.startswith("$ boss ")]


def usage_file(folder: Path, events: int) -> Path:
    generator = [sys.executable, str(ROOT / "examples" / "video_conference_events.py")]
    file = folder / "usage.ndjson"
    with file.open("wb") as out:
        subprocess.run([*generator, "--events", str(events), "--seed", "1", "--month", "2026-10"], stdout=out, check=True)
    return file


def boss(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli.app, list(arguments), env={"BOSS_WORKSPACE": str(folder)})
    assert done.exit_code == 0, f"{arguments}: {done.output}"
    return done.output


def test_the_commands_of_the_month_run_in_the_order_of_the_page(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "acme", "video-conference", "2026-10")
    workspace.publish()
    boss(workspace.root, "rate", str(usage_file(tmp_path, 300)))
    steps = console("Every month")
    assert len(steps) == 9
    for step in steps:
        boss(workspace.root, *shlex.split(step))
    assert list((workspace.invoices_folder / "2026-10").glob("*.pdf"))
    assert list((workspace.statements_folder / "2026-10").glob("*.csv"))


def test_the_first_steps_of_the_page_work_and_boss_dev_takes_its_worker_with_it(tmp_path: Path) -> None:
    init, publish, dev, send, query = console("Trying it")
    boss(tmp_path, "init", str(tmp_path / "acme"))
    assert init == "init acme"
    workspace = Workspace.open(tmp_path / "acme")
    boss(workspace.root, *shlex.split(publish))
    usage_file(workspace.root, 200)
    port = free_port()
    with (tmp_path / "dev.log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "cli", *shlex.split(dev), "--workspace", str(workspace.root)],
            cwd=ROOT,
            env=os.environ | {"BOSS_STREAM__PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(port, 40)
        sent = [argument.replace("usage.ndjson", str(workspace.root / "usage.ndjson")) for argument in shlex.split(send)]
        assert "The ledger has passed all of them." in boss(workspace.root, *sent)
        assert get(port, "healthz")[0] == 200
        wait_until(lambda: "boss_events_total 200.0" in get(port, "metrics")[1], 10)  # counted just after the commit
        assert "lantian" in boss(workspace.root, *shlex.split(query))
        running.send_signal(signal.SIGTERM)
        assert wait_for(running, 40) == 0
    finally:
        running.kill()
    wait_until(lambda: get(port, "healthz") == (0, ""), 5)
    assert not (workspace.root / "dev.json").exists()
    assert "event='stopped' events=200" in (tmp_path / "dev.log").read_text()
