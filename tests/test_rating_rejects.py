"""Sentences about rejected events can be written however the frame lies in memory."""

from __future__ import annotations

import polars as pl

from rating.rejects import write_sentences
from schemas.usage import RejectReason


def test_a_sentence_is_written_behind_an_empty_chunk() -> None:
    """A filter over two chunks leaves such frames; pl.format panics on them."""
    half = pl.DataFrame({"subject": ["a", "b"], "reason": [RejectReason.UNKNOWN_SUBJECT.value, RejectReason.NO_PRICE.value]})
    half = half.with_row_index("place")
    judged = pl.concat([half, half], rechunk=False).filter(pl.Series([False, False, True, True]))
    assert judged["subject"].chunk_lengths() == [0, 2]
    told = write_sentences(judged, {RejectReason.UNKNOWN_SUBJECT: pl.format("Nobody {} is called {}.", "place", "subject")})
    assert told["detail"].to_list() == ["Nobody 0 is called a.", None]
