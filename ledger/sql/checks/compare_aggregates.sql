-- Every aggregate is where its steps lead: its usage rows lead on from each other, from nothing to where their steps add up to.
-- Each row leaves one state and reaches another. In an unbroken chain, in whatever order it is read, every state is reached as
-- often as it is left, but for 0, where it begins, and the last one. A row lost, changed or there twice breaks it; a row that
-- takes another back, step for step, does not.
-- grain: one row
-- in:    postings
-- out:   currency (null), left (aggregates), right (aggregates whose rows are one chain)
with visits as (
    select
        counted_for,
        price_id,
        price_version,
        usage_period,
        after_quanta as state,
        cast(1 as bigint) as visit
    from postings
    where role in ('revenue', 'cost') and charge = 'usage'
    union all
    select
        counted_for,
        price_id,
        price_version,
        usage_period,
        coalesce(before_quanta, cast(0 as bigint)) as state,
        cast(-1 as bigint) as visit
    from postings
    where role in ('revenue', 'cost') and charge = 'usage'
), ends as (
    select
        counted_for,
        price_id,
        price_version,
        usage_period,
        state,
        cast(sum(visit) as bigint) as visits
    from visits
    group by counted_for, price_id, price_version, usage_period, state
), chains as (
    select
        counted_for,
        price_id,
        price_version,
        usage_period,
        cast(sum(abs(visits)) as bigint) as open_ends,
        cast(sum(case when state = 0 then visits else cast(0 as bigint) end) as bigint) as visits_of_nothing
    from ends
    group by counted_for, price_id, price_version, usage_period
), counted as (
    select
        cast(count(*) as bigint) as aggregate_rows,
        cast(count(case when open_ends = 0 or (open_ends = 2 and visits_of_nothing = -1) then 1 end) as bigint) as right_rows
    from chains
)
select
    cast(null as varchar) as currency,
    cast(aggregate_rows as decimal(38, 18)) as "left",
    cast(right_rows as decimal(38, 18)) as "right"
from counted
