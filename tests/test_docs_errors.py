"""docs/ERRORS.md tells the truth: its events end as the rejects it says, its commands are refused as it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from pipelines.rate_file import rate_file
from pipelines.rejected import open_rejects
from pipelines.workspace import Workspace
from schemas.usage import RejectReason

DOCUMENT = (Path(__file__).parents[1] / "docs" / "ERRORS.md").read_text(encoding="utf-8")
REJECTS, REFUSALS = DOCUMENT.split("## Refusals")
SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.create(tmp_path_factory.mktemp("errors") / "shop", "video-conference", "2026-10")
    made.publish()
    return made


def test_every_reject_reason_is_in_the_document() -> None:
    assert [name for name, _ in SECTION.findall(REJECTS)] == [reason.value for reason in RejectReason]


@pytest.mark.parametrize(("reason", "section"), [(n, s) for n, s in SECTION.findall(REJECTS) if blocks(s, "json")])
def test_each_event_is_rejected_for_the_reason_it_stands_under(
    reason: str, section: str, workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "usage.ndjson"
    file.write_text(blocks(section, "json")[0])
    done = rate_file(workspace, file, lambda _: None)
    assert done.rejects == {reason: 1}
    kept = open_rejects(workspace.ledger(), [reason])
    assert kept.height == 1
    assert kept["message"][0].decode() == blocks(section, "json")[0].splitlines()[-1]


def test_an_event_beyond_the_size_limit_is_kept_whole(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "usage.ndjson"
    file.write_text('{"specversion": "1.0", "id": "big", "source": "/meter", "data": {"x": "' + "x" * 10_000_000 + '"}}\n')
    assert rate_file(workspace, file, lambda _: None).rejects == {"too_large": 1}
    assert len(open_rejects(workspace.ledger(), ["too_large"])["message"][0]) > 10_000_000


@pytest.mark.parametrize(("name", "section"), SECTION.findall(REFUSALS))
def test_each_command_is_refused_with_the_sentence_it_stands_above(
    name: str, section: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    command, *expected = blocks(section, "console")[0].splitlines()
    result = CliRunner().invoke(app, shlex.split(command.removeprefix("$ boss ")))
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    for line in expected:
        for part in line.split("..."):
            assert part.strip() in said
