"""A company that uses everything at once: every kind of price, and an account for each way of paying. No tests in here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import orjson
import polars as pl

from pipelines.rate_file import rate_chunks
from pipelines.rater import RateResult
from pipelines.workspace import Workspace
from schemas.usage import RawBatch

RECEIVED_MS = 1_800_000_000_000
"""When everything arrives: later than it happened, whatever the clock says."""

METERS = """\
meters:
  - {id: minutes, event_type: minutes, aggregation: sum, property: n, unit: minute, scale: 3, dimensions: [region]}
  - {id: ports, event_type: ports, aggregation: max, property: n, unit: port}
  - {id: rooms, event_type: rooms, aggregation: max, property: n, unit: room}
  - {id: calls, event_type: calls, aggregation: count, unit: call}
  - {id: users, event_type: users, aggregation: unique, property: user, unit: user}
  - {id: places, event_type: places, aggregation: average_of_changes, property: n, unit: seat, scale: 6}
  - {id: stored, event_type: stored, aggregation: unit_hours, property: n, unit: GB-hour, scale: 6}
  - {id: dialled, event_type: dialled, aggregation: sum, property: n, unit: second, dimensions: [called]}
  - {id: talk, event_type: talk, aggregation: sum, property: n, unit: second, lasts: second}
  - {id: jobs, event_type: jobs, aggregation: sum, property: n, money: cost, unit: hour, scale: 2}
  - {id: turnover, event_type: turnover, aggregation: sum, property: n, unit: CNY, scale: 2}
calendars:
  - id: clock
    windows: [{name: peak, days: mon-fri, from: "08:00", to: "20:00"}]
    otherwise: rest
"""

PRICES = {
    "graduated": "meter: minutes, versions: [{valid_from: 2026-01-01, model: graduated, included: 7.5, tiers: ["
    "{up_to: 100, unit_price: 0.05}, {unit_price: 0.03, flat: 2}]}, "
    "{valid_from: 2026-10-16, model: per_unit, unit_price: 0.041}]",
    "volume": "meter: ports, versions: [{valid_from: 2026-01-01, model: volume, tiers: ["
    "{up_to: 50, unit_price: 3}, {unit_price: 2}]}]",
    "capacity": "meters: [ports, rooms], versions: [{valid_from: 2026-01-01, model: capacity, tiers: ["
    "{limits: {ports: 30, rooms: 5}, flat: 10}, {limits: {ports: 70, rooms: 9}, flat: 30}, {flat: 70}]}]",
    "package": "meter: calls, versions: [{valid_from: 2026-01-01, model: package, package_size: 3, price: 0.7, included: 2}]",
    "unique": "meter: users, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 1.25}]",
    "level": "meter: places, versions: [{valid_from: 2026-01-01, model: graduated, per: level, tiers: ["
    "{up_to: 2, unit_price: 31}, {unit_price: 15.5, flat: 4}]}]",
    "hours": "meter: stored, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.0001}]",
    "destination": "meter: dialled, versions: [{valid_from: 2026-01-01, model: matrix, by: called, match: longest_prefix, "
    "connect_fee: 0.1, minimum_units: 60, increment: 6, price_per: 60, default: 1, rows: ["
    "{called: 86, unit_price: 0.3}, {called: 8610, unit_price: 0.2}]}]",
    "peak": "meter: talk, during: {calendar: clock, windows: peak, split: true}, versions: [{valid_from: 2026-01-01, "
    "model: rated_time, connect_fee: 0.1, tiers: [{up_to: 120, unit_price: 0.6, per: 60, increment: 60}, "
    "{unit_price: 0.4, per: 60, increment: 60}]}]",
    "rest": "meter: talk, during: {calendar: clock, windows: rest, split: true}, versions: [{valid_from: 2026-01-01, "
    "model: rated_time, connect_fee: 0.05, tiers: [{unit_price: 0.3, per: 60, increment: 60}]}]",
    "dynamic": "meter: jobs, versions: [{valid_from: 2026-01-01, model: dynamic, takes: unit_price, maximum: 50}]",
    "commission": "meter: turnover, versions: [{valid_from: 2026-01-01, model: percentage, rate: 2.99%, minimum: 0.5, "
    "maximum: 12, rounding: {places: 4, method: up}}]",
    "daily": "meter: minutes, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.02, included: 10, "
    "within: day}]",
    "capped": "meter: minutes, where: {region: cn}, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.1, "
    "cap: 9}]",
    "least": "meter: minutes, where: {region: us}, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.1, "
    "floor: 50}]",
    "by_account": "meter: minutes, versions: [{valid_from: 2026-01-01, model: graduated, counted_over: account, tiers: ["
    "{up_to: 150, unit_price: 0.01}, {unit_price: 0.005}]}]",
    "by_group": "meter: minutes, versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.03, included: 40, "
    "counted_over: group}]",
}
"""Name of a fee item -> its meter and versions."""

COSTS = """\
carriers:
  - id: telco
    name: Telco
    currency: CNY
    prices:
      - id: telco.dialled
        meter: dialled
        name: Termination
        versions: [{valid_from: 2026-01-01, model: per_unit, unit_price: 0.002}]
      - id: telco.talk
        meter: talk
        name: Talk
        versions:
          - {valid_from: 2026-01-01, model: graduated, tiers: [{up_to: 900, unit_price: 0.004}, {unit_price: 0.001}]}
"""

AGREEMENTS = """\
agreements:
  - id: gross
    partner: agent
    share: 20%
    prices: [graduated, volume, package, unique, level, hours, daily, capped]
    valid_from: 2026-01-01
  - {id: margin, partner: agent, share: 30%, of: margin, prices: [destination, peak, rest], valid_from: 2026-01-01}
  - {id: tiers, partner: agent, prices: [by_account], valid_from: 2026-01-01, tiers: [{up_to: 1, share: 10%}, {share: 25%}]}
"""

LIMITS = """\
pools:
  - {id: free.minutes, account: pooled, name: Free minutes, units: 60, covers: [graduated], valid_from: 2026-01-01}
  - {id: credit, account: credited, name: Credit, amount: 33.33, valid_from: 2026-01-01}
caps:
  - {id: most, account: limited, name: At most, amount: 90, valid_from: 2026-01-01}
commitments:
  - {id: at.least, account: committed, name: Commitment, amount: 5000, fees: true, valid_from: 2026-01-01}
"""

ACCOUNTS = {
    "plain": "",
    "partnered": "partner: agent",
    "discounted": "partner: agent",
    "prepaid": "charging: prepaid, low_balance: 20",
    "gifted": "charging: prepaid",
    "pooled": "",
    "credited": "",
    "limited": "",
    "committed": "partner: agent",
    "parent": "",
    "child": "parent: parent",
}
"""Account -> what is special about it. Each has one subscription of its own name, with every price."""

TOPUPS: list[tuple[str, dict[str, object]]] = [
    ("prepaid", {"amount": "120"}),
    ("gifted", {"amount": "40"}),
    ("gifted", {"bucket": "gift", "meter": "minutes", "quantity": "55", "priority": 1}),
]

DISCOUNT = 10


class Company:
    """The workspace, published, and its ledger."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace.create(root, "video-conference", "2026-10")
        for folder in (self.workspace.catalog_folder, self.workspace.roster_folder):
            for file in folder.iterdir():
                file.unlink()
        prices = "\n".join(f"      - {{id: {name}, name: {name}, {terms}}}" for name, terms in PRICES.items())
        plans = "zone: Asia/Shanghai\ncurrency: CNY\nplans:\n  - id: all\n    name: All\n    prices:\n"
        fee = "      - {id: fee, name: Fee, recurring: month, versions: [{valid_from: 2026-01-01, fee: 30}]}\n"
        taxes = "taxes: [{country: CN, class: standard, rate: 6%, valid_from: 2020-01-01}]\n"
        (self.workspace.catalog_folder / "book.yaml").write_text(
            plans + fee + prices + "\n" + METERS + COSTS + AGREEMENTS + taxes
        )
        common = "country: CN, currency: CNY, zone: Asia/Shanghai"
        accounts = [
            f"  - {{id: {name}, name: {name}, {common}{f', {more}' if more else ''}}}" for name, more in ACCOUNTS.items()
        ]
        subscriptions = [f"  - {{id: {name}-1, account: {name}, plan: all, from: 2026-01-01}}" for name in ACCOUNTS]
        overrides = [
            f"  - {{account: discounted, price: {name}, valid_from: 2026-01-01, discount: {DISCOUNT}%}}" for name in PRICES
        ]
        text = ["accounts:", *accounts, "subscriptions:", *subscriptions, "overrides:", *overrides]
        text += ["partners: [{id: agent, name: Agent}]", LIMITS]
        (self.workspace.roster_folder / "roster.yaml").write_text("\n".join(text))
        self.workspace.publish()
        self._files = 0

    def publish_again(self) -> None:
        """Every price with a new version from 10 October: the same terms, counted from zero."""
        file = self.workspace.catalog_folder / "book.yaml"
        text = file.read_text()
        for terms in PRICES.values():
            first = terms.partition("versions: [")[2].removesuffix("]")
            if "valid_from" not in first.removeprefix("{valid_from"):
                again = first.replace("2026-01-01", "2026-10-10")
                text = text.replace(terms, f"{terms.removesuffix(']')}, {again}]")
        file.write_text(text)
        self.workspace.publish()

    def rate(self, values: Sequence[bytes]) -> RateResult:
        """Rate the messages as a batch of a source of its own."""
        self._files += 1
        batch = RawBatch(f"file:{self._files:04}", 0, range(len(values)), list(values), [RECEIVED_MS] * len(values))
        return rate_chunks(self.workspace, [batch], lambda _: None)

    def postings(self) -> pl.DataFrame:
        return self.workspace.ledger().postings.scan().collect()


def message(name: str, kind: str, subject: str, time: str, data: dict[str, object], **more: object) -> bytes:
    event: dict[str, object] = {"specversion": "1.0", "id": name, "source": "/company", "type": kind, "subject": subject}
    return orjson.dumps(event | {"time": time, "data": data} | more)


def topups() -> list[bytes]:
    time = "2026-10-01T00:00:00+08:00"
    return [
        message(f"topup-{number}", "boss.balance.topup", account, time, data) for number, (account, data) in enumerate(TOPUPS)
    ]


KINDS = ["minutes"] * 3 + ["ports", "rooms", "calls", "users", "places", "stored", "dialled", "talk", "jobs", "turnover"]


def month_of_usage(random: Random, count: int) -> list[tuple[str, str, dict[str, object]]]:
    """Type, time and data of so many events of October, in no order."""
    made = []
    for _ in range(count):
        kind = random.choice(KINDS)
        time = f"2026-10-{random.randint(1, 31):02}T{random.randint(0, 23):02}:{random.randint(0, 59):02}:30+08:00"
        data: dict[str, object] = {"n": str(random.randint(0, 90))}
        if kind == "minutes":
            data = {"n": f"{random.randint(0, 40_000) / 1000:.3f}", "region": random.choice(["cn", "us", "de"])}
        elif kind == "users":
            data = {"user": f"user-{random.randint(1, 6)}"}
        elif kind == "places":
            data = {"n": str(random.choice([1, 2, 3, -1]))}
        elif kind == "dialled":
            data |= {"called": random.choice(["8610123", "8621456", "4420999"])}
        elif kind == "talk":
            data = {"n": str(random.randint(0, 9_000))}
        elif kind == "jobs":
            data = {"n": f"{random.randint(0, 900) / 100:.2f}", "cost": f"{random.randint(0, 999_999) / 10**5:.5f}"}
        elif kind == "turnover":
            data = {"n": f"{random.randint(0, 90_000) / 100:.2f}"}
        made.append((kind, time, data))
    return made


def same_for_all(usage: Sequence[tuple[str, str, dict[str, object]]]) -> list[bytes]:
    """Each event once for every account."""
    return [
        message(f"{account}-{number}", kind, f"{account}-1", time, data)
        for number, (kind, time, data) in enumerate(usage)
        for account in ACCOUNTS
    ]


def retractions(numbers: Sequence[int]) -> list[bytes]:
    """What takes back the events of these numbers, of every account."""
    time = "2026-10-31T12:00:00+08:00"
    return [
        message(f"{account}-{number}-void", "minutes", f"{account}-1", time, {}, retracts=f"{account}-{number}")
        for number in numbers
        for account in ACCOUNTS
    ]
