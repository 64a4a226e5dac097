"""Every error BOSS raises on purpose, in one tree.

    BossError                     a reason the user can act on; the command prints it and exits with 1
      BadInput                    something given to us is wrong: says where and what to do
        BadCatalog                one or more mistakes in catalog or roster files, each as file:line:column
        BadPeriod                 a --period that is no month
        BadFile                   a usage file that cannot be read as a whole
        BadWorkspace              no boss.toml here, or a setting in it is wrong
        BadQuery                  a `boss sql` text that is no single SELECT, or that the database cannot run
      Refused                     the request is understood and may not be done now
        NothingPublished          no price book or roster version has been published yet
        LedgerBusy                another writer holds the ledger
        LedgerUnwritable          the ledger's folder cannot be written
          LedgerUnreachable       the object store that keeps the ledger refuses, or does not answer
        PeriodClosed              the period was finalised before
        PeriodOpen                the period's bill run is not final yet
        NoSuchInvoice             explain was asked for an invoice or line that does not exist
        StreamMoved               the topic is not the one the ledger has positions for
      Fenced                      another worker advanced our partition; stop, rebuild, start again
      BrokenPromise               an invariant does not hold (schema, balance, totals): stop before anything is written

Bad *data* is no exception: an event that cannot be charged becomes a REJECTS row with a reason and its origin.
"""

from __future__ import annotations

from collections.abc import Sequence


class BossError(Exception):
    """A failure with a sentence that says what is wrong and what to do next."""


class BadInput(BossError):
    """Something given to us is wrong."""


class BadCatalog(BadInput):
    """Mistakes in catalog or roster files; `problems` holds one `file:line:column: message` each, all found in one go."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__(f"{count} mistake{'s' if count > 1 else ''} found:\n" + "\n".join(self.problems))


class BadPeriod(BadInput):
    def __init__(self, text: str) -> None:
        super().__init__(f"'{text}' is no billing month. Write it as YYYY-MM, for example 2026-10.")


class BadFile(BadInput):
    def __init__(self, path: object, why: str) -> None:
        super().__init__(f"{path}: {why}")


class BadWorkspace(BadInput):
    """No workspace here, or its settings are wrong."""


class BadQuery(BadInput):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"This SQL was not run: {why}\nOne SELECT (or WITH ... SELECT) is read; `show tables` lists what there is."
        )


class Refused(BossError):
    """Understood, and may not be done now."""


class NothingPublished(Refused):
    def __init__(self, what: str) -> None:
        super().__init__(f"No {what} has been published yet. Run `boss catalog publish` first.")


class LedgerBusy(Refused):
    def __init__(self, path: object, holder: str | None = None) -> None:
        by = f" ({holder})" if holder else ""
        super().__init__(
            f"Another writer{by} holds the ledger {path}. "
            "Stop the worker or wait for the other command to finish, then try again."
        )


class LedgerUnwritable(Refused):
    def __init__(self, path: object, why: str) -> None:
        super().__init__(
            f"The ledger folder {path} cannot be written ({why}). Nothing was changed. "
            "Check its owner, its permissions and the free space, then try again."
        )


class LedgerUnreachable(LedgerUnwritable):
    def __init__(self, location: object, why: str) -> None:
        self.why = why
        Refused.__init__(
            self,
            f"The ledger {location} cannot be reached ({why}). Nothing is half done. Check the settings under [ledger], "
            "the credentials in the environment and the server, then try again: it goes on from what the ledger has.",
        )


class PeriodClosed(Refused):
    def __init__(self, period: object) -> None:
        super().__init__(
            f"Period {period} was finalised before and cannot be billed again. "
            "Usage that arrived since is billed with the next period."
        )


class PeriodOpen(Refused):
    def __init__(self, period: object) -> None:
        super().__init__(
            f"The bill run of {period} is not final, so what it bills can still change. "
            f"Run `boss bill finalize --period {period}` first, then try again."
        )


class NoSuchInvoice(Refused):
    def __init__(self, invoice: str, line: int | None = None) -> None:
        part = f"line {line} of invoice {invoice}" if line is not None else f"invoice {invoice}"
        super().__init__(f'There is no {part}. `boss sql "select * from invoices"` lists them.')


class StreamMoved(Refused):
    """The topic was deleted, emptied or created again; the ledger's position does not exist in it."""


class Fenced(BossError):
    """Another writer advanced a partition we believed was ours."""

    def __init__(self, sources: Sequence[object]) -> None:
        super().__init__(
            f"Another worker has advanced {', '.join(map(str, sources))}. This one stops; a restart continues from the ledger."
        )


class BrokenPromise(BossError):
    """An invariant does not hold. This is a defect in BOSS or damaged data; nothing was written."""
