"""Hierarchies of accounts on the roster: a parent exists, nobody is above itself, a group has one clock and currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.problems import Place, Problems, did_you_mean
from catalog.roster_entries import AccountEntry, SubscriptionEntry

SAME_IN_A_GROUP = ("zone", "billing_day", "currency")
"""What a total over a group is counted by: when its days and periods begin, and in which currency it is priced."""

RESERVED = ("account:", "group:")
"""How the ledger names totals over accounts and groups; a subscription of such a name could not be told from them."""


def check_hierarchies(accounts: Sequence[tuple[AccountEntry, Place]], known: set[str], problems: Problems) -> None:
    """Notes parents that are not there or below their own account, and members that differ from their root.

    Args:
        known: Ids of all accounts, also of those with mistakes.
    """
    children = [(account, place.at("parent")) for account, place in accounts if account.parent is not None]
    if not children:
        return
    entries = {account.id: account for account, _ in accounts}
    for account, spot in children:
        if account.parent not in known:
            hint = did_you_mean(str(account.parent), sorted(known)) if len(known) < 1000 else ""
            problems.add(spot, f"there is no account '{account.parent}'{hint}")
            continue
        root = _root(account, entries)
        if root is None:
            text = f"'{account.parent}' is below '{account.id}', so the pool would refer to itself; name an account above it"
            problems.add(spot, text)
            continue
        for name in SAME_IN_A_GROUP:
            mine, theirs = getattr(account, name), getattr(root, name)
            if mine != theirs:
                text = f"'{root.id}' at the top of the group has the {name} {theirs}, this account {mine}; a group has one"
                problems.add(spot, text)


def _root(account: AccountEntry, entries: Mapping[str, AccountEntry]) -> AccountEntry | None:
    """The account at the top; None when the way up comes back to `account`. Another's circle ends at its last account."""
    passed = {account.id}
    above = account
    while above.parent is not None and above.parent in entries:
        above = entries[above.parent]
        if above.id == account.id:
            return None
        if above.id in passed:
            return account
        passed.add(above.id)
    return above


def check_subscription_names(subscriptions: Sequence[tuple[SubscriptionEntry, Place]], problems: Problems) -> None:
    """Notes subscriptions whose id reads like a total over an account or a group."""
    for entry, place in subscriptions:
        if entry.id.startswith(RESERVED):
            begin = entry.id.partition(":")[0]
            problems.add(place.at("id"), f"'{entry.id}' begins with {begin}:, which names a shared total; choose another")
