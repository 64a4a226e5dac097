-- The rows of the ledger behind one invoice line, in the order they were posted; the first ones of them.
-- in:   unbilled (of the line's run), explained_line (one row of LINES)
-- out:  stream, stream_partition, stream_offset, stream_row, event_source, event_id, occurred_at, dimensions, tier, windows,
--       book_version, roster_version, quantity, reported (of the whole event, where the row has a part of it),
--       before_quantity, after_quantity (units), amount
-- args: rows
with behind as (
    select
        unbilled.stream,
        unbilled.stream_partition,
        unbilled.stream_offset,
        unbilled.stream_row,
        unbilled.event_source,
        unbilled.event_id,
        unbilled.occurred_at,
        unbilled.dimensions,
        unbilled.tier,
        unbilled.windows,
        unbilled.book_version,
        unbilled.roster_version,
        unbilled.quantity_scale,
        unbilled.quantity_quanta,
        unbilled.reported_quanta,
        unbilled.before_quanta,
        unbilled.after_quanta,
        unbilled.amount
    from unbilled
    inner join explained_line
        on unbilled.account_id = explained_line.account_id
        and unbilled.subscription_id = explained_line.subscription_id
        and unbilled.charge = explained_line.charge
        and unbilled.price_id = explained_line.price_id
        and unbilled.price_version = explained_line.price_version
        and unbilled.usage_period = explained_line.usage_period
        and unbilled.usage_period_end = explained_line.usage_period_end
        and unbilled.late = explained_line.late
    where unbilled.role = 'revenue'
)

select
    behind.stream,
    behind.stream_partition,
    behind.stream_offset,
    behind.stream_row,
    behind.event_source,
    behind.event_id,
    behind.occurred_at,
    behind.dimensions,
    behind.tier,
    behind.windows,
    behind.book_version,
    behind.roster_version,
    cast(cast(behind.quantity_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as quantity,
    cast(cast(behind.reported_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as reported,
    cast(cast(behind.before_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as before_quantity,
    cast(cast(behind.after_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as after_quantity,
    behind.amount
from behind
inner join quantity_units on behind.quantity_scale = quantity_units.quantity_scale
order by behind.stream, behind.stream_partition, behind.stream_offset, behind.stream_row
limit $rows
