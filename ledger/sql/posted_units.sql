-- Postings with quantities in units of the meter instead of whole quanta; all else as in the ledger.
-- grain: one row per posting: event x price x role, or one recurring fee
-- in:    postings (schemas/ledger.py)
-- out:   the columns of postings, with quantity, reported, aggregate_before and aggregate_after (units, exact) in place of the quanta
-- Rows of a balance belong to no aggregate: what they count there is their own number, so both are null.
-- A quantity is quanta x 10^-scale. The units are listed, not computed: a power or a division would be a float.
with scales as (
    select cast(0 as tinyint) as quantity_scale, cast(1 as decimal(10, 9)) as unit union all
    select cast(1 as tinyint) as quantity_scale, cast(0.1 as decimal(10, 9)) as unit union all
    select cast(2 as tinyint) as quantity_scale, cast(0.01 as decimal(10, 9)) as unit union all
    select cast(3 as tinyint) as quantity_scale, cast(0.001 as decimal(10, 9)) as unit union all
    select cast(4 as tinyint) as quantity_scale, cast(0.0001 as decimal(10, 9)) as unit union all
    select cast(5 as tinyint) as quantity_scale, cast(0.00001 as decimal(10, 9)) as unit union all
    select cast(6 as tinyint) as quantity_scale, cast(0.000001 as decimal(10, 9)) as unit union all
    select cast(7 as tinyint) as quantity_scale, cast(0.0000001 as decimal(10, 9)) as unit union all
    select cast(8 as tinyint) as quantity_scale, cast(0.00000001 as decimal(10, 9)) as unit union all
    select cast(9 as tinyint) as quantity_scale, cast(0.000000001 as decimal(10, 9)) as unit
)
select
    postings.stream,
    postings.stream_partition,
    postings.stream_offset,
    postings.stream_row,
    postings.event_source,
    postings.event_id,
    postings.occurred_at,
    postings.dimensions,
    postings.account_id,
    postings.subscription_id,
    postings.counted_for,
    postings.role,
    postings.partner_id,
    postings.charge,
    postings.meter_id,
    postings.price_id,
    postings.price_version,
    postings.tier,
    postings.windows,
    postings.book_version,
    postings.roster_version,
    postings.usage_period,
    postings.usage_period_end,
    postings.usage_month,
    postings.value,
    cast(cast(postings.quantity_quanta as decimal(19, 0)) * scales.unit as decimal(38, 18)) as quantity,
    cast(cast(postings.reported_quanta as decimal(19, 0)) * scales.unit as decimal(38, 18)) as reported,
    case
        when postings.role in ('balance', 'hold', 'notice') then cast(null as decimal(38, 18))
        else cast(cast(postings.before_quanta as decimal(19, 0)) * scales.unit as decimal(38, 18))
    end as aggregate_before,
    case
        when postings.role in ('balance', 'hold', 'notice') then cast(null as decimal(38, 18))
        else cast(cast(postings.after_quanta as decimal(19, 0)) * scales.unit as decimal(38, 18))
    end as aggregate_after,
    postings.currency,
    postings.amount,
    postings.tax_class,
    postings.corrects
from postings
left join scales on scales.quantity_scale = postings.quantity_scale
