"""Faust's service that starts reading after an assignment, without its time limit.

It waits for the ledger to be read back no longer than for an answer of a broker, 90 s; after that a worker would stand still
and say nothing. A large ledger on a busy machine takes longer. Requests to brokers keep limits of their own.
"""

from __future__ import annotations

from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery


class PatientRecovery(Recovery):  # type: ignore[misc]
    """Waits for as long as it takes, or until it is stopped or partitions are assigned anew."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await super()._wait(coro)


class PatientTables(TableManager):  # type: ignore[misc]
    """Faust's table manager, of which BOSS uses nothing but that service."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = PatientRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
