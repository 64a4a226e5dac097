"""Prepaid balances: what is left, what usage takes of it, and what running sessions keep reserved."""
