"""Reaching the usage topic while its broker comes and goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

import pipelines.topic
from pipelines.topic import ensure_topic
from schemas.errors import Refused


def lose_connections(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the broker go away just after it was reached, so many times."""
    create, left = pipelines.topic._create, [times]

    async def create_or_lose(*arguments: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise KafkaConnectionError("closed")
        await create(*arguments)

    monkeypatch.setattr(pipelines.topic, "_create", create_or_lose)
    monkeypatch.setattr(pipelines.topic, "RETRY_SECONDS", 0.01)


def test_a_broker_that_goes_away_while_we_talk_to_it_is_waited_for(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_connections(monkeypatch, 2)
    assert asyncio.run(ensure_topic(kafka, topic, 3)) == 3


def test_a_broker_that_stays_away_is_a_clear_refusal(kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_connections(monkeypatch, 1_000_000)
    with pytest.raises(Refused, match="does not answer"):
        asyncio.run(ensure_topic(kafka, topic, 3, patience_seconds=0.1))
