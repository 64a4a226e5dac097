-- Every aggregate is where its steps lead: the steps of its usage rows add up to the largest state that a standing row shows.
-- A row stands unless another one takes it back; positions are compared only in aggregates with corrections.
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
        max(after_quanta) as highest_state,
        count(corrects) as corrections
    from postings
    where role = 'revenue' and charge = 'usage'
    group by subscription_id, price_id, price_version, usage_period
), taken_back as (
    select distinct corrects
    from postings
    where corrects is not null and role = 'revenue'
), corrected_rows as (
    select
        postings.subscription_id,
        postings.price_id,
        postings.price_version,
        postings.usage_period,
        postings.after_quanta,
        concat(
            postings.stream, '/', cast(postings.stream_partition as varchar), '/', cast(postings.stream_offset as varchar), '/',
            cast(postings.stream_row as varchar)
        ) as position
    from postings
    inner join aggregates
        on postings.subscription_id = aggregates.subscription_id
        and postings.price_id = aggregates.price_id
        and postings.price_version = aggregates.price_version
        and postings.usage_period = aggregates.usage_period
    where aggregates.corrections > 0 and postings.role = 'revenue' and postings.charge = 'usage' and postings.corrects is null
), corrected as (
    select
        corrected_rows.subscription_id,
        corrected_rows.price_id,
        corrected_rows.price_version,
        corrected_rows.usage_period,
        max(corrected_rows.after_quanta) as last_state
    from corrected_rows
    left join taken_back on corrected_rows.position = taken_back.corrects
    where taken_back.corrects is null
    group by
        corrected_rows.subscription_id, corrected_rows.price_id, corrected_rows.price_version, corrected_rows.usage_period
), compared as (
    select
        aggregates.steps,
        case
            when aggregates.corrections = 0 then aggregates.highest_state
            else coalesce(corrected.last_state, cast(0 as bigint))
        end as last_state
    from aggregates
    left join corrected
        on aggregates.subscription_id = corrected.subscription_id
        and aggregates.price_id = corrected.price_id
        and aggregates.price_version = corrected.price_version
        and aggregates.usage_period = corrected.usage_period
), counted as (
    select
        cast(count(*) as bigint) as aggregate_rows,
        cast(count(case when steps = cast(last_state as decimal(38, 0)) then 1 end) as bigint) as right_rows
    from compared
)
select
    cast(null as varchar) as currency,
    cast(aggregate_rows as decimal(38, 18)) as "left",
    cast(right_rows as decimal(38, 18)) as "right"
from counted
