"""One usage event at the edge: a CloudEvents 1.0 object.

This is what producers write and what the documentation promises. Inside BOSS events travel as frames (schemas/usage.py);
pipelines/decode.py reads them whole batches at a time and keeps to the same bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

ENVELOPE = ("id", "source", "type", "subject", "time")
"""What every usage event must have beside its data, in the order in which a reader complains."""

LONGEST_TEXT = 256
"""Characters that id, source, type and subject may have."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]
EXTENSION_NAME = r"^[a-z0-9]{1,20}$"


class UsageEvent(BaseModel):
    """One event. Beside these fields only CloudEvents extensions: lower-case names, and text, whole numbers or booleans."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[Annotated[str, Field(pattern=EXTENSION_NAME)], str | int | bool] = Field(init=False)

    specversion: Literal["1.0"] = "1.0"
    """The version of CloudEvents."""
    id: Text
    """Unique within its source; the same (source, id) is the same event."""
    source: Text
    """Who made the event, as a URI or path: the system or device that numbers its events by `id`."""
    type: Text
    """The event type that a meter of the price book measures."""
    subject: Text
    """A subscription or one of its service identifiers."""
    time: AwareDatetime
    """When the usage happened; the prices in force at this moment apply."""
    retracts: Text | None = None
    """The id of an earlier event of this source that this one takes back; absent in every other event."""
    datacontenttype: Literal["application/json"] = "application/json"
    data: Mapping[str, Any] = Field(default_factory=dict)
    """Quantities and dimensions. Write a quantity as a string to be sure that no library on its way rounds it."""

    @model_validator(mode="after")
    def _carries_no_binary_data(self) -> UsageEvent:
        if "data_base64" in (self.__pydantic_extra__ or {}):
            raise ValueError("data_base64 is not supported: usage must be a JSON object in `data`")
        return self
