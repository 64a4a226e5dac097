-- No event is charged twice: by price, role and partner an event has one row that stands, or none when re-rating took it back.
-- A retraction is an event of its own, and charges nothing.
-- grain: one row
-- in:    postings
-- out:   currency (null), left (rows that stand), right (distinct events with one)
with standing as (
    select
        event_source,
        event_id,
        price_id,
        role,
        partner_id,
        sum(case when corrects is null then cast(1 as bigint) else cast(-1 as bigint) end) as standing_rows
    from postings
    where event_id is not null and role in ('revenue', 'share', 'cost') and (corrects is null or stream like 'rerate:%')
    group by event_source, event_id, price_id, role, partner_id
)
select
    cast(null as varchar) as currency,
    cast(coalesce(sum(abs(standing_rows)), 0) as decimal(38, 18)) as "left",
    cast(count(case when standing_rows > 0 then 1 end) as decimal(38, 18)) as "right"
from standing
