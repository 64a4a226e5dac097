-- What usage took from balances is what it cost: for each event and fee item that a balance paid, the two add up to nothing.
-- grain: one row
-- in:    postings
-- out:   currency (null), left (events and fee items paid from a balance), right (those where both amounts agree)
with paid as (
    select
        event_source,
        event_id,
        value as price_id,
        cast(sum(amount) as decimal(38, 18)) as paid_amount
    from postings
    where role = 'balance' and charge = 'deduct' and quantity_quanta = 0
    group by event_source, event_id, value
), charged as (
    select
        event_source,
        event_id,
        price_id,
        cast(sum(amount) as decimal(38, 18)) as charged_amount
    from postings
    where role = 'revenue' and charge = 'usage' and event_id is not null
    group by event_source, event_id, price_id
), compared as (
    select
        paid.paid_amount,
        coalesce(charged.charged_amount, cast(0 as decimal(38, 18))) as charged_amount
    from paid
    left join charged
        on paid.event_source = charged.event_source
        and paid.event_id = charged.event_id
        and paid.price_id = charged.price_id
)
select
    cast(null as varchar) as currency,
    cast(count(*) as decimal(38, 18)) as "left",
    cast(count(case when paid_amount + charged_amount = 0 then 1 end) as decimal(38, 18)) as "right"
from compared
