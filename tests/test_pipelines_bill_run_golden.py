"""Three months of a small company, compared word for word with tests/golden/; `pytest --update-golden` writes them anew."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl

from schemas.period import Period
from tests.balance_world import topup
from tests.billing_world import DECEMBER, NOVEMBER, OCTOBER, Office, minutes_world, used, with_fee
from tests.rating_world import World, instant, tiers

GOLDEN = Path(__file__).parent / "golden" / "bill_run"


def company() -> World:
    """Graduated minutes and a monthly fee in CNY, a negotiated discount, a prepaid, a yen and a dinar customer."""
    world = with_fee(minutes_world(), "199.99")
    world.prices[0]["model"] = "graduated"
    steps = tiers(("100", "0.13"), ("1000", "0.07"), (None, "0.031"))
    world.price_tiers[:1] = [row | {"price_id": "usage", "price_version": "2026-01-01"} for row in steps]
    discount = {"account_id": "beta", "price_id": "usage", "discount": Decimal("0.15"), "valid_from": instant("2026-01-01")}
    world.overrides.append(discount)
    for account, currency in (("kaze", "JPY"), ("noor", "KWD")):
        world.price(f"minutes.{currency}", tiers((None, "0.3335")), plan_id=currency, currency=currency, tax_class=currency)
        world.account(account, country="CN", currency=currency, billing_day=15)
        world.subscription(f"{account}-1", account, plan_id=currency)
    world.subscriptions[0]["licences"] = 3
    world.account("mira", name="Mira", charging="prepaid").subscription("mira-1", "mira")
    return world


def rated_and_billed(root: Path) -> Office:
    """October: usage and first fees. November: late usage, one subscription has ended. December: a failed account is billed."""
    office = Office(root, company(), taxes={"standard": "0.06", "JPY": "0.1"})
    office.rate(*(used(f"a{number}", "33") for number in range(40)))
    office.rate(used("b", "1500", "beta-1"), used("k", "7", "kaze-1", "2026-10-20"), used("n", "1000", "noor-1", "2026-10-20"))
    office.rate(topup("t", "20", "2026-10-01", subject="mira"), used("m", "123", "mira-1"))
    office.bill(OCTOBER)
    office.rate(used("m2", "40", "mira-1", "2026-11-09"), used("m3", "5", "mira-1"))
    office.rate(used("late", "50"), used("c", "120", day="2026-11-09"), used("k2", "3", "kaze-1", "2026-11-20"))
    office.world.subscriptions[1]["active_to"] = instant("2026-11-11")
    office.publish()
    office.bill(NOVEMBER)
    office.taxes["KWD"] = "0"
    office.publish()
    office.bill(DECEMBER)
    return office


def texts(office: Office, period: Period) -> dict[str, str]:
    """File name -> contents: the tables of one run and its CSV and JSON documents."""
    made = {}
    for name in ("lines", "invoices", "outcomes", "runs"):
        table = getattr(office.ledger, name)
        rows = table.scan().filter(pl.col("period") == str(period)).collect().sort(table.sort_by)
        made[f"{name}.csv"] = rows.drop("ledger_version", strict=False).write_csv()
    for path in sorted((office.workspace.invoices_folder / str(period)).iterdir()):
        if path.suffix == ".json":
            made[path.name] = path.read_text(encoding="utf-8")
    return made


def test_three_months_give_the_golden_files(tmp_path: Path, update_golden: bool) -> None:
    office = rated_and_billed(tmp_path / "company")
    made = {
        f"{period}/{name}": text for period in (OCTOBER, NOVEMBER, DECEMBER) for name, text in texts(office, period).items()
    }
    if update_golden:
        for path in GOLDEN.rglob("*.*"):
            path.unlink()
        for name, text in made.items():
            (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_text(text, encoding="utf-8", newline="")
    kept = {str(path.relative_to(GOLDEN)): path.read_bytes().decode() for path in GOLDEN.rglob("*.*") if path.is_file()}
    assert kept.keys() == made.keys()
    for name, text in made.items():
        assert text == kept[name], name
