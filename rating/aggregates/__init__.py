"""Aggregates that one running number cannot carry: an event may come late, so they need the events behind it."""
