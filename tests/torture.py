"""Torments `boss worker` and looks whether the ledger is right afterwards.

    python tests/torture.py --events 100000 --kills 20            embedded broker
    python tests/torture.py --events 100000 --kills 20 --kafka    Apache Kafka, which is stopped and started too
    python tests/torture.py --events 100000 --kills 20 --kafka --brokers 3    three, of which one at a time is
    python tests/torture.py --events 50000 --kills 10 --kafka --brokers 3 --brokers-only    nothing but that

Workers are killed at random and at named points on the way of a batch, stopped, frozen for longer than their session, joined
and sent away; their disk fills up; the ledger is compacted and billed while they rate; every batch has poison in it. At the
end each event must be in the ledger once and cost what it must. docs/RELIABILITY.md has more.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from pipelines.broker import embedded_broker
from tests.kafka import KafkaCluster, KafkaNode, closing_kafka
from tests.torture_check import Verdict, check_ledger
from tests.torture_disk import mounted
from tests.torture_run import Plan, Torture
from tests.torture_world import World


@dataclass
class Outcome:
    """What a run came to."""

    run: Torture
    broker: str
    verdict: Verdict
    seconds: float

    def faults(self) -> list[str]:
        """Everything that is wrong, in words; empty after a good run."""
        counted = [f"{count} {name.replace('_', ' ')}" for name, count in self.verdict.faults().items()]
        return [*counted, *self.unexplained()]

    def unexplained(self) -> list[str]:
        run = self.run
        of_crews = [fault for crew in (run.crew, run.rekeyers) for fault in (*crew.unexplained, *crew.strange_lines())]
        return [*run.unexplained, *run.commands.unexplained, *of_crews]

    def table(self) -> str:
        """The figures of the run, one a line."""
        run, found, times = self.run, self.verdict, self.run.recoveries
        recovered = f"median {median(times):.1f}, max {max(times):.1f} (of {len(times)})" if times else "none measured"
        rows: list[tuple[str, object]] = [
            ("broker", f"{self.broker}, seed {run.plan.seed}"),
            ("events", f"{found.events:,} good, {run.feed.poisoned:,} poisoned"),
            ("seconds", f"{self.seconds:.0f}"),
            ("kills", run.crew.kills.total() + run.rekeyers.kills.total()),
            *((f"  {point}", count) for point, count in run.crew.kills.items()),
            *((f"  boss rekey: {point}", count) for point, count in run.rekeyers.kills.items() if run.plan.rekey),
            *sorted(run.deeds.items()),
            ("ended by a full disk", run.crew.starved),
            ("fenced", run.crew.fenced),
            ("refused: another topic", run.crew.refused),
            ("broker gone at the start", run.crew.abandoned),
            ("postings, rejects", f"{found.postings:,}, {found.rejects:,}"),
            ("rows of balances", f"{found.balance_rows:,}"),
            ("newest book, roster used", f"{found.books}, {found.rosters}"),
            ("good events sent back", f"{found.sent_back:,}"),
            ("lost", found.lost + found.rejects_lost + found.orders_lost),
            ("duplicated", found.duplicated + found.rejects_repeated),
            ("wrong counters", found.wrong_counters + found.torn_aggregates + found.wrong_numbers),
            ("wrong events or amounts", found.wrong_events + found.wrong_rejects + found.wrong_amounts),
            ("wrong deductions, balances", found.wrong_orders + found.wrong_deductions + found.wrong_balances),
            ("unexplained", len(self.unexplained())),
            ("recovery seconds", recovered),
        ]
        return "\n".join(f"{name:<28} {value}" for name, value in rows)


def torture(plan: Plan, folder: Path, *, brokers: int = 0, small_disk: bool = False) -> Outcome:
    """Run a plan in an empty folder, which keeps workspace, logs and what was sent.

    Args:
        brokers: Of Apache Kafka, 1 or 3; 0: the embedded broker.
        small_disk: The ledger is on a disk in memory, which can be full; it is gone afterwards.
    """
    world = World(folder / "workspace")
    ledger = world.workspace.ledger_folder
    with mounted(ledger, small=small_disk) as disk, _broker(folder, brokers) as (kafka, nodes):
        run = Torture(plan, world, kafka, nodes, folder, disk)
        started = time.monotonic()
        run.run()
        seconds = time.monotonic() - started
        verdict = check_ledger(ledger, run.feed.noted)
    if not run.feed.resent and not plan.rekey and verdict.rejects != run.feed.poisoned:
        run.unexplained.append(f"{run.feed.poisoned} poisoned messages were sent, and {verdict.rejects} rejects found")
    if disk is None:
        run.deeds["may not mount: ledger never read-only"] += 1
    named = {0: "embedded broker", 1: "Apache Kafka", 3: "Apache Kafka, three brokers"}
    return Outcome(run, named[brokers], verdict, seconds)


@contextmanager
def _broker(folder: Path, brokers: int) -> Iterator[tuple[str, Sequence[KafkaNode]]]:
    """Its address, and the nodes that may be stopped."""
    if not brokers:
        with embedded_broker(folder / "broker.log") as kafka:
            yield kafka, []
        return
    place = folder / "kafka"
    place.mkdir()
    if brokers > 1:
        cluster = KafkaCluster(place)
        with closing_kafka(cluster):
            yield cluster.bootstrap, cluster.nodes
    else:
        node = KafkaNode(place)
        with closing_kafka(node):
            yield node.bootstrap, [node]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end in order after so long, however far it came")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", action="store_true", help="a real Apache Kafka, which tests/kafka.py fetches")
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=1, help="how many, with --kafka")
    parser.add_argument("--brokers-only", action="store_true", help="the kills are those of brokers; workers are left alone")
    parser.add_argument("--lives", type=int, default=0, help="how often the topic is created again, or given more partitions")
    parser.add_argument("--rekey", action="store_true", help="messages have no key and go through `boss rekey`; with --kafka")
    parser.add_argument("--small-disk", action="store_true", help="the ledger on a disk in memory, which is full now and then")
    parser.add_argument("--points", action="store_true", help="kill a worker at each point in turn; other deeds once")
    parser.add_argument("--folder", type=Path, help="an empty folder to keep everything in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.brokers_only and not given.kafka:
            parser.error("--brokers-only needs --kafka")
        if given.rekey and (given.lives or not given.kafka):
            parser.error("--rekey needs --kafka, and a topic that stays the same")
        only = {
            "minutes": given.minutes,
            "lives": given.lives,
            "rekey": given.rekey,
            "points_only": given.points,
            "brokers_only": given.brokers_only,
        }
        plan = Plan(given.events, given.kills, given.seed, **only)
        outcome = torture(plan, folder, brokers=given.brokers if given.kafka else 0, small_disk=given.small_disk)
        print(outcome.table())
        for fault in outcome.faults():
            print(f"FAULT: {fault}")
        return 1 if outcome.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
