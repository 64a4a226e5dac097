"""CloudEvents in binary mode: the attributes stand in the headers of a Kafka message, its value is the data alone.

Each becomes the event in structured mode that says the same, so that all that follows (judging, rating, rejects that are
sent again) knows one form only. What a message holds never raises here: what cannot be said in JSON is put where the event's
reader will refuse it by name.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import orjson

from pipelines.event_json import load_exactly
from schemas.usage import Header

PREFIX = "ce_"
_MARKS = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type"})
"""A message that has one of these is in binary mode, whatever else it is."""
_CONTENT_TYPE = "content-type"
_STRUCTURED = b"application/cloudevents"
_DATA = frozenset({"data", "data_base64", "datacontenttype"})
"""What headers may not say: the value and its content type do."""


def structured_values(values: Sequence[bytes | None], headers: Sequence[Sequence[Header]]) -> list[bytes | None]:
    """The messages with each one in binary mode written as a structured event; the others as they are.

    Args:
        headers: Of each message, in its order. Of two with one name the first counts.
    """
    return [
        _structured(value, named) if is_binary(named := dict(reversed(own))) else value
        for value, own in zip(values, headers, strict=True)
    ]


def is_binary(named: dict[str, bytes | None]) -> bool:
    """Whether these headers are those of an event in binary mode. A structured event may repeat its attributes in headers."""
    if _MARKS.isdisjoint(named):
        return False
    return not (named.get(_CONTENT_TYPE) or b"").lower().startswith(_STRUCTURED)


def _structured(value: bytes | None, named: dict[str, bytes | None]) -> bytes:
    attributes = {
        name.removeprefix(PREFIX): _text(text)
        for name, text in named.items()
        if name.startswith(PREFIX) and text is not None and name.removeprefix(PREFIX) not in _DATA
    }
    content_type = named.get(_CONTENT_TYPE)
    if content_type is not None:
        attributes["datacontenttype"] = _text(content_type)
    head = orjson.dumps(attributes)
    return b'%s,"data":%s}' % (head[:-1], _data(value, content_type)) if value else head


def _text(value: bytes) -> str | list[str]:
    """An attribute; one that is no text becomes a list, which nothing takes for one."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(value).decode()]


def _data(value: bytes, content_type: bytes | None) -> bytes:
    """The data as JSON, every digit as it was. Anything else as a text, which is no data that could be charged."""
    if _says_json(content_type) and _is_json(value):
        return value.replace(b"\n", b" ")  # in JSON a line ends between words only, and an event on one line is read fast
    try:
        return orjson.dumps(value.decode())
    except UnicodeDecodeError:
        return orjson.dumps(base64.b64encode(value).decode())


def _says_json(content_type: bytes | None) -> bool:
    """CloudEvents takes data without a content type for JSON."""
    kind = (content_type or b"application/json").split(b";")[0].strip().lower()
    return kind in (b"application/json", b"text/json") or kind.endswith(b"+json")


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        try:
            load_exactly(value)  # takes what orjson does not, such as NaN, as events in structured mode may have it
        except ValueError:
            return False
    return True
