"""What a producer may write: CloudEvents 1.0 with the bounds that decoding keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events import UsageEvent

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/conference",
    "type": "meeting.ended",
    "subject": "conf-1",
    "time": "2026-10-12T08:00:00.123Z",
    "data": {"minutes": "1.5"},
}


def check(**changes: Any) -> UsageEvent:
    return UsageEvent.model_validate_json(json.dumps({**EVENT, **changes}))


def test_a_cloud_event_with_extensions_is_accepted() -> None:
    event = check(partitionkey="huaxing", sequence=7, sampled=True)
    assert event.model_extra == {"partitionkey": "huaxing", "sequence": 7, "sampled": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"id": ""},
        {"id": 7},
        {"subject": "x" * 257},
        {"time": "2026-10-12T08:00:00"},
        {"data": [1]},
        {"datacontenttype": "text/xml"},
        {"data_base64": "AAAA"},
        {"Extension": "upper case"},
        {"extension": {"nested": 1}},
    ],
)
def test_what_cloud_events_does_not_allow_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check(**changes)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        check().id = "other"
