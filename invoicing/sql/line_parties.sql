-- The rows of partners and carriers beside the rows shown of an invoice line: shares of its price, and costs of its events with
-- the shares of those. A cost belongs to the event as a whole, so it stands here for every line that charges the event.
-- in:   unbilled (of the line's run), explained_line (one row of LINES), explained_rows (line_postings of it), prices
-- out:  event_source, event_id, role, partner_id, price_id, price_version, tier, quantity, before_quantity, after_quantity
--       (units), currency, amount
with events as (
    select distinct explained_rows.event_source, explained_rows.event_id
    from explained_rows
),

tariffs as (
    select distinct prices.price_id
    from prices
    where prices.carrier_id is not null
),

beside as (
    select
        unbilled.stream,
        unbilled.stream_partition,
        unbilled.stream_offset,
        unbilled.stream_row,
        unbilled.event_source,
        unbilled.event_id,
        unbilled.role,
        unbilled.partner_id,
        unbilled.price_id,
        unbilled.price_version,
        unbilled.tier,
        unbilled.quantity_scale,
        unbilled.quantity_quanta,
        unbilled.before_quanta,
        unbilled.after_quanta,
        unbilled.currency,
        unbilled.amount
    from unbilled
    inner join explained_line
        on unbilled.account_id = explained_line.account_id
        and unbilled.subscription_id = explained_line.subscription_id
        and unbilled.charge = explained_line.charge
        and unbilled.usage_period = explained_line.usage_period
        and unbilled.late = explained_line.late
    inner join events
        on coalesce(unbilled.event_source, '') = coalesce(events.event_source, '')
        and coalesce(unbilled.event_id, '') = coalesce(events.event_id, '')
    left join tariffs on unbilled.price_id = tariffs.price_id
    where unbilled.role in ('share', 'cost')
        and (
            tariffs.price_id is not null
            or (unbilled.price_id = explained_line.price_id and unbilled.price_version = explained_line.price_version)
        )
)

select
    beside.event_source,
    beside.event_id,
    beside.role,
    beside.partner_id,
    beside.price_id,
    beside.price_version,
    beside.tier,
    cast(cast(beside.quantity_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as quantity,
    cast(cast(beside.before_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as before_quantity,
    cast(cast(beside.after_quanta as decimal(19, 0)) * quantity_units.unit as decimal(38, 18)) as after_quantity,
    beside.currency,
    beside.amount
from beside
inner join quantity_units on beside.quantity_scale = quantity_units.quantity_scale
order by beside.stream, beside.stream_partition, beside.stream_offset, beside.stream_row
