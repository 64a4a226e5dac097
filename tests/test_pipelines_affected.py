"""`boss catalog diff` says how many customers have each price version that changes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from cli import app
from pipelines.affected import count_affected
from pipelines.workspace import Workspace

MINUTES = """\
        versions:
          - valid_from: 2026-01-01
            model: graduated
            tiers:
              - {up_to: 10000, unit_price: 0.05}
              - {up_to: 100000, unit_price: 0.04}
              - {unit_price: 0.032}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "w", "video-conference", "2026-10")
    made.publish()
    return made


def affected_customers(workspace: Workspace) -> pl.DataFrame:
    return count_affected(workspace.published(), workspace.read_sources())


def edit(workspace: Workspace, file: str, old: str, new: str) -> None:
    path = workspace.root / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_nobody_is_affected_when_nothing_changes(workspace: Workspace) -> None:
    assert affected_customers(workspace).is_empty()


def test_a_new_version_counts_who_pays_the_list_price_with_or_without_a_discount(workspace: Workspace) -> None:
    later = "          - {valid_from: 2026-12-01, model: per_unit, unit_price: 0.03}\n"
    edit(workspace, "catalog/plans.yaml", MINUTES, MINUTES + later)
    assert affected_customers(workspace).rows() == [
        ("pro.month.minutes", "2026-01-01", "changed", 2, 2),  # it ends; huaxing has own terms
        ("pro.month.minutes", "2026-12-01", "added", 2, 2),  # lantian (15 % off) and pine
    ]


def test_subscriptions_of_one_account_are_one_account(workspace: Workspace) -> None:
    second = "\n  - {id: sub-pine-2, account: pine, plan: video.pro.month, from: 2026-02-01}\n"
    path = workspace.roster_folder / "subscriptions.yaml"
    path.write_text(path.read_text(encoding="utf-8") + second, encoding="utf-8")
    edit(workspace, "catalog/plans.yaml", "{unit_price: 15, flat: 200}", "{unit_price: 15, flat: 300}")
    assert affected_customers(workspace).rows() == [("pro.month.ports", "2026-01-01", "changed", 4, 3)]


def test_own_terms_affect_the_one_customer_who_negotiated_them(workspace: Workspace) -> None:
    path = workspace.roster_folder / "overrides.yaml"
    own = "\n  - {account: pine, price: pro.month.traffic, valid_from: 2026-12-01, unit_price: 0.7}\n"
    path.write_text(path.read_text(encoding="utf-8") + own, encoding="utf-8")
    assert affected_customers(workspace).rows() == [("pro.month.traffic", "2026-12-01/pine", "added", 1, 1)]


def test_a_price_that_goes_counts_those_who_had_it(workspace: Workspace) -> None:
    path = workspace.catalog_folder / "plans_eur.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("      - id: team.eur.pstn")], encoding="utf-8")
    assert affected_customers(workspace).rows() == [("team.eur.pstn", "2026-01-01", "removed", 1, 1)]


def test_before_the_first_publication_every_price_is_new(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path / "w", "video-conference", "2026-10")
    affected = affected_customers(made)
    assert affected["change"].unique().to_list() == ["added"]
    assert affected.height == 30


def test_the_command_prints_both_tables_and_either_for_programs(workspace: Workspace) -> None:
    edit(workspace, "catalog/plans.yaml", "{unit_price: 15, flat: 200}", "{unit_price: 15, flat: 300}")
    command = ["catalog", "diff", "-w", str(workspace.root)]
    table = CliRunner().invoke(app, command).stdout
    assert "flat 300" in table
    assert "Who has the prices that change" in table
    changes = CliRunner().invoke(app, [*command, "--format", "csv"]).stdout.splitlines()
    assert changes[0] == "what,id,version,change,before,after"
    customers = CliRunner().invoke(app, [*command, "--affected", "--format", "csv"]).stdout.splitlines()
    assert customers == ["price,version,change,subscriptions,accounts", "pro.month.ports,2026-01-01,changed,3,3"]
