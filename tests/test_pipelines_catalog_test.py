"""`boss catalog test` rates examples as real usage is rated, and says where one of them is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from pipelines.catalog_test import ExampleRun, run_workspace_examples
from pipelines.workspace import Workspace
from schemas.errors import BadCatalog

BOOK = """\
zone: Asia/Shanghai
currency: CNY
meters:
  - {id: minutes, event_type: call.ended, aggregation: sum, property: minutes, unit: minute, scale: 3, dimensions: [region]}
  - {id: calls, event_type: api.called, aggregation: count, unit: call}
  - {id: users, event_type: user.active, aggregation: unique, property: user, unit: user}
  - {id: stored, event_type: stored, aggregation: unit_hours, property: gb, unit: GB-hour, scale: 3}
plans:
  - id: pro
    name: Pro
    prices:
      - {id: fee, name: Fee, recurring: month, versions: [{valid_from: 2026-01-01, fee: 30}, {valid_from: 2027-01-01, fee: 31}]}
      - id: minutes
        name: M
        meter: minutes
        where: {region: cn}
        versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.5}]
      - {id: calls, name: C, meter: calls, versions: [{valid_from: 2026-01-01, model: package, package_size: 100, price: 1}]}
      - {id: users, name: U, meter: users, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 2}]}
      - {id: stored, name: S, meter: stored, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.001}]}
taxes:
  - {country: CN, class: standard, rate: 6%, valid_from: 2020-01-01}
"""
ROSTER = """\
accounts:
  - {id: acme, name: Acme, country: CN, currency: CNY, language: en, zone: Asia/Shanghai, billing_day: 10}
subscriptions:
  - {id: acme-1, account: acme, plan: pro, from: 2026-01-01}
overrides:
  - {account: acme, price: minutes, valid_from: 2026-01-01, discount: 10%}
  - {subscription: acme-1, price: calls, valid_from: 2026-01-01, terms: {model: per_unit, unit_price: 0.02}}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "w", "video-conference", "2026-10")
    for folder in (made.catalog_folder, made.roster_folder):
        for path in folder.iterdir():
            path.unlink()
    (made.catalog_folder / "book.yaml").write_text(BOOK)
    (made.roster_folder / "roster.yaml").write_text(ROSTER)
    return made


def run(workspace: Workspace, *examples: str) -> ExampleRun:
    """Runs examples, each the text of one entry after its name and plan."""
    entries = [f"  - {{name: e{number}, plan: pro, {text}}}\n" for number, text in enumerate(examples)]
    (workspace.catalog_folder / "examples.yaml").write_text("examples:\n" + "".join(entries))
    return run_workspace_examples(workspace)


def amounts(result: ExampleRun) -> list[tuple[str, Decimal]]:
    return result.results.select("price", "found").rows()


@pytest.mark.parametrize(
    ("example", "charged"),
    [
        ("at: 2026-10-15, usage: [{meter: minutes, quantity: 1.5, data: {region: cn}}], total: 0.75", "0.75"),
        ("at: 2026-10-15, usage: [{meter: minutes, quantity: 2, times: 3, data: {region: cn}}], total: 3", "3"),
        ("at: 2026-10-15, usage: [{meter: calls, quantity: 101}], total: 2", "2"),
        ("at: 2026-10-15, usage: [{meter: users, quantity: 3}], total: 6", "6"),
        ("at: 2026-10-15, usage: [{type: user.active, data: {user: a}, times: 4}], total: 2", "2"),
        ("at: 2026-10-31T22:00:00+08:00, usage: [{type: stored, data: {gb: 500}}], total: 1", "1"),
        ("at: 2026-10-15, licences: 3, total: 90", "90"),
        ("at: 2026-12-10, licences: 1, account: acme, total: 30.29032258064516129", "30.29032258064516129"),
        ("account: acme, at: 2026-10-15, usage: [{meter: minutes, quantity: 2, data: {region: cn}}], total: 0.9", "0.9"),
        ("account: acme, at: 2026-10-15, usage: [{meter: calls, quantity: 1}], total: 1", "1"),
        ("subscription: acme-1, at: 2026-10-15, usage: [{meter: calls, quantity: 1}], total: 0.02", "0.02"),
    ],
)
def test_an_example_is_rated_as_its_usage_would_be(workspace: Workspace, example: str, charged: str) -> None:
    result = run(workspace, example)
    assert amounts(result) == [("total", Decimal(charged))]
    assert result.failed == 0


def test_examples_do_not_add_up_with_each_other(workspace: Workspace) -> None:
    one = "account: acme, at: 2026-10-15, usage: [{meter: users, quantity: 1}], total: 2"
    assert run(workspace, one, one, one).message == "3 examples: 3 passed, 0 failed."


def test_a_wrong_amount_fails_with_expected_and_found_and_its_place(workspace: Workspace) -> None:
    usage = "usage: [{meter: users, quantity: 2}, {meter: calls, quantity: 1}]"
    result = run(workspace, f"at: 2026-10-15, {usage}, expect: {{users: 5}}, total: 5")
    place = f"{workspace.catalog_folder}/examples.yaml:2:5"
    assert result.failed == 1
    assert result.results.drop("example").rows() == [
        ("failed", "users", Decimal(5), Decimal(4), place),
        ("failed", "calls", Decimal(0), Decimal(1), f"{place}: not expected to cost anything; list it under 'expect'"),
        ("passed", "total", Decimal(5), Decimal(5), None),
    ]


def test_usage_without_a_price_fails_unless_it_is_expected(workspace: Workspace) -> None:
    usage = "at: 2026-10-15, usage: [{meter: minutes, quantity: 2, data: {region: de}}]"
    result = run(workspace, f"{usage}, total: 0", f"{usage}, rejected: no_price", "at: 2026-10-15, rejected: no_price")
    assert result.results["result"].to_list() == ["passed", "failed", "passed", "failed"]
    assert "rejected as no_price: 1 x " in result.results["detail"][1]
    assert result.results["detail"][3].endswith("expected to be rejected as no_price, but was charged")


MISTAKES = {
    "plan: [], at: 2026-10-15, total: 1": "2:21: examples.0.plan: names no plan",
    "plan: pri, at: 2026-10-15, total: 1": "2:21: examples.0.plan.0: there is no plan 'pri'; did you mean 'pro'?",
    "plan: pro, total: 1": "2:5: examples.0.at: is missing; add it",
    "plan: pro, at: 2026-10-15": "2:5: examples.0: expects nothing;",
    "plan: pro, at: 2026-10-15, totl: 1": "2:42: examples.0.totl: is no known key here; did you mean 'total'?",
    "plan: pro, at: 2026-10-15, total: 1e3": "2:49: examples.0.total: '1e3' is no number",
    "plan: pro, at: 2026-10-15, expect: {minuts: 1}": "2:51: examples.0.expect.minuts: there is no price 'minuts' in pro",
    "plan: pro, at: 2026-10-15, total: 1, account: acmee": "2:61: examples.0.account: there is no account 'acmee'",
    "plan: pro, at: 2026-10-15, total: 1, subscription: acme-2": "2:66: examples.0.subscription: there is no subscription",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{quantity: 1}]": "2:60: examples.0.usage.0: needs either 'meter'",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{meter: minute, quantity: 1}]": "usage.0.meter: there is no meter 'minute'",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{meter: calls}]": "usage.0.quantity: is missing; say how much is used",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{meter: calls, quantity: 0.5}]": "usage.0.quantity: has 1 decimals",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{meter: stored, quantity: 5}]": "says too little for unit_hours",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{meter: calls, quantity: 2000000}]": "is more than 1000000 events",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{type: call.endet}]": "usage.0.type: no meter measures 'call.endet'; did you",
    "plan: pro, at: 2026-10-15, total: 1, usage: [{type: call.ended, data: {regio: cn}}]": "no meter of this usage reads",
}


@pytest.mark.parametrize(("entry", "sentence"), MISTAKES.items())
def test_a_mistake_in_an_example_is_told_with_its_place(workspace: Workspace, entry: str, sentence: str) -> None:
    (workspace.catalog_folder / "examples.yaml").write_text(f"examples:\n  - {{name: e, {entry}}}\n")
    with pytest.raises(BadCatalog) as caught:
        run_workspace_examples(workspace)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{workspace.catalog_folder}/examples.yaml:2:")
    assert sentence in problem


def test_all_mistakes_are_told_at_once_and_a_name_is_given_once(workspace: Workspace) -> None:
    text = "examples:\n  - {name: e, plan: pro, at: 2026-10-15, total: 1}\n  - {name: e, plan: no, at: 2026-13-15, total: -1}\n"
    (workspace.catalog_folder / "examples.yaml").write_text(text)
    with pytest.raises(BadCatalog, match="2 mistakes"):
        run_workspace_examples(workspace)
    (workspace.catalog_folder / "examples.yaml").write_text(
        text.replace("no, at: 2026-13-15, total: -1", "pro, at: 2026-10-15, total: 1")
    )
    with pytest.raises(BadCatalog, match="there is another example 'e'"):
        run_workspace_examples(workspace)


def test_examples_are_no_part_of_the_published_book(workspace: Workspace) -> None:
    before = workspace.publish()[0]
    run(workspace, "at: 2026-10-15, licences: 3, total: 90")
    after = workspace.publish()[0]
    assert (after.version, after.digest) == (before.version, before.digest)


def test_the_command_prints_the_table_and_exits_with_1_on_failure(workspace: Workspace) -> None:
    run(workspace, "at: 2026-10-15, licences: 3, total: 90")
    good = CliRunner().invoke(app, ["catalog", "test", "-w", str(workspace.root)])
    assert (good.exit_code, "passed" in good.stdout) == (0, True)
    assert "1 examples: 1 passed, 0 failed." in good.stderr
    run(workspace, "at: 2026-10-15, licences: 3, total: 91")
    bad = CliRunner().invoke(app, ["catalog", "test", "-w", str(workspace.root)])
    assert (bad.exit_code, "failed" in bad.stdout) == (1, True)


def test_a_book_without_examples_says_so(workspace: Workspace) -> None:
    done = CliRunner().invoke(app, ["catalog", "test", "-w", str(workspace.root)])
    assert done.exit_code == 0
    assert "No example in catalog/" in done.stderr


def test_check_reports_mistakes_in_examples_too(workspace: Workspace) -> None:
    (workspace.catalog_folder / "examples.yaml").write_text("examples:\n  - {name: e, plan: pro}\n")
    done = CliRunner().invoke(app, ["catalog", "check", "-w", str(workspace.root)])
    assert done.exit_code == 1
    assert "examples.yaml:2:5" in done.stderr
