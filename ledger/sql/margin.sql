-- What is left of each event: what the customer owes, less the partner's share, less the carrier's cost.
-- grain: one row per event, subscription, usage period and currency; fees of a bill run have no event and are not in it
-- in:    postings (schemas/ledger.py)
-- out:   the event, who used it, revenue, share, cost and margin = revenue - share - cost
-- A cost in another currency than the revenue is a row of its own: nothing is converted here.
with by_role as (
    select
        event_source,
        event_id,
        occurred_at,
        account_id,
        subscription_id,
        usage_month,
        usage_period,
        currency,
        sum(case when role = 'revenue' then cast(amount as decimal(38, 18)) else cast(0 as decimal(38, 18)) end) as revenue,
        sum(case when role = 'share' then cast(amount as decimal(38, 18)) else cast(0 as decimal(38, 18)) end) as share,
        sum(case when role = 'cost' then cast(amount as decimal(38, 18)) else cast(0 as decimal(38, 18)) end) as cost
    from postings
    where event_id is not null and role in ('revenue', 'share', 'cost')
    group by event_source, event_id, occurred_at, account_id, subscription_id, usage_month, usage_period, currency
)
select
    event_source,
    event_id,
    occurred_at,
    account_id,
    subscription_id,
    usage_month,
    usage_period,
    currency,
    cast(revenue as decimal(38, 18)) as revenue,
    cast(share as decimal(38, 18)) as share,
    cast(cost as decimal(38, 18)) as cost,
    cast(revenue - share - cost as decimal(38, 18)) as margin
from by_role
