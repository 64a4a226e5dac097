-- Every aggregate is where its steps lead: the steps of its usage rows add up to the largest state a row shows.
-- grain: one row
-- in:    postings
-- out:   currency (null), left (aggregates), right (aggregates whose steps add up)
with aggregates as (
    select
        subscription_id,
        price_id,
        price_version,
        usage_period,
        sum(cast(after_quanta as decimal(38, 0)) - cast(coalesce(before_quanta, cast(0 as bigint)) as decimal(38, 0))) as steps,
        max(after_quanta) as last_state
    from postings
    where role = 'revenue' and charge = 'usage'
    group by subscription_id, price_id, price_version, usage_period
), counted as (
    select
        cast(count(*) as bigint) as aggregate_rows,
        cast(count(case when steps = cast(last_state as decimal(38, 0)) then 1 end) as bigint) as right_rows
    from aggregates
)
select
    cast(null as varchar) as currency,
    cast(aggregate_rows as decimal(38, 18)) as "left",
    cast(right_rows as decimal(38, 18)) as "right"
from counted
