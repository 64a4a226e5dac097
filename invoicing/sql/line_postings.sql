-- The first rows of the ledger behind one invoice line, in the order they were posted.
-- in:   line_rows, quantity_units
-- out:  stream, stream_partition, stream_offset, stream_row, event_source, event_id, occurred_at, dimensions, tier, windows,
--       book_version, roster_version, quantity, reported (of the whole event, where the row has a part of it),
--       before_quantity, after_quantity (units), amount
-- args: rows
select
    line_rows.stream,
    line_rows.stream_partition,
    line_rows.stream_offset,
    line_rows.stream_row,
    line_rows.event_source,
    line_rows.event_id,
    line_rows.occurred_at,
    line_rows.dimensions,
    line_rows.tier,
    line_rows.windows,
    line_rows.book_version,
    line_rows.roster_version,
    cast(cast(line_rows.quantity_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as quantity,
    cast(cast(line_rows.reported_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as reported,
    cast(cast(line_rows.before_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as before_quantity,
    cast(cast(line_rows.after_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as after_quantity,
    line_rows.amount
from line_rows
inner join quantity_units on line_rows.quantity_scale = quantity_units.quantity_scale
order by line_rows.stream, line_rows.stream_partition, line_rows.stream_offset, line_rows.stream_row
limit $rows
