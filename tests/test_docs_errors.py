"""docs/ERRORS.md tells the truth: its events end as the rejects it says, its commands are refused as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.rate_file import rate_file
from pipelines.rejected import open_rejects
from pipelines.workspace import Workspace
from schemas.errors import BossError
from schemas.usage import RejectReason

DOCUMENT = (Path(__file__).parents[1] / "docs" / "ERRORS.md").read_text(encoding="utf-8")
REJECTS, REFUSALS = DOCUMENT.split("## Refusals")
GOOD_EVENT = (
    '{"specversion": "1.0", "id": "1", "source": "/meter", "type": "meeting.ended", "subject": "conf-lantian", '
    '"time": "2026-10-05T08:00:00Z", "data": {"minutes": 30, "region": "cn", "call_type": "video"}}\n'
)
SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace.create(tmp_path_factory.mktemp("errors") / "shop", "video-conference", "2026-10")
    for block in blocks(REJECTS, "yaml"):
        head, body = block.split("\n", 1)
        (made.root / head.removeprefix("# ")).write_text(body)
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


def error_classes(error: type[BossError] = BossError) -> set[str]:
    """Names of the errors a user can meet: the leaves of the tree, and those above them that are raised themselves."""
    below = error.__subclasses__()
    return (
        set().union(*map(error_classes, below)) | ({"Refused", "LedgerUnwritable"} & {error.__name__})
        if below
        else {error.__name__}
    )


def test_every_error_is_in_the_document() -> None:
    assert {name for name, _ in SECTION.findall(REFUSALS)} == error_classes()


@pytest.mark.parametrize(("name", "section"), [(n, s) for n, s in SECTION.findall(REFUSALS) if blocks(s, "console")])
def test_each_command_says_what_stands_below_it(name: str, section: str, workspace: Workspace, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for folder in ("catalog", "roster", "books", "rosters"):
        shutil.copytree(workspace.root / folder, shop / folder)
    shutil.copy(workspace.root / "boss.toml", shop)
    (shop / "usage.ndjson").write_text(GOOD_EVENT)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for step in blocks(section, "console")[0].split("$ ")[1:]:
        command, *expected = step.splitlines()
        done = subprocess.run(["bash", "-c", command], cwd=shop, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == (1 if expected else 0), done.stderr
        said = " ".join(done.stderr.split())
        for part in " ".join(expected).split("..."):
            assert part.strip() in said
