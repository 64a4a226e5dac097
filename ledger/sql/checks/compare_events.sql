-- No event is charged twice: as many usage rows as distinct events by price, role and partner.
-- grain: one row
-- in:    postings
-- out:   currency (null), left (rows), right (distinct)
with charged as (
    select event_source, event_id, price_id, role, partner_id
    from postings
    where event_id is not null
), distinct_charged as (
    select distinct event_source, event_id, price_id, role, partner_id
    from charged
), counted as (
    select
        (select cast(count(*) as bigint) from charged) as charged_rows,
        (select cast(count(*) as bigint) from distinct_charged) as distinct_rows
)
select
    cast(null as varchar) as currency,
    cast(charged_rows as decimal(38, 18)) as "left",
    cast(distinct_rows as decimal(38, 18)) as "right"
from counted
