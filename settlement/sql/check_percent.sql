-- No share is larger than the agreement's part of the revenue it is taken of.
-- Usage is compared in absolute value, because a volume tier makes negative rows and they may meet another percentage.
-- A recurring fee is compared over all its rows in the ledger, because a correction may change the share alone.
-- grain: one row per partner, subscription, price version and usage period that is over; none when all is well
-- in:    shares (shares.sql), postings, agreements
-- out:   partner_id, subscription_id, price_id, price_version, usage_period, revenue_amount, share_amount, percent
-- args:  $period
with percents as (
    select partner_id, price_id, cast(max(share) as decimal(7, 6)) as percent
    from agreements
    group by partner_id, price_id
), fees as (
    select
        subscription_id, price_id, price_version, usage_period,
        cast(sum(amount) as decimal(38, 18)) as amount
    from postings
    where charge = 'recurring' and role = 'revenue' and stream <= concat('run:', $period)
    group by subscription_id, price_id, price_version, usage_period
), fee_shares as (
    select
        partner_id, subscription_id, price_id, price_version, usage_period,
        cast(count(*) as bigint) as events,
        cast(sum(amount) as decimal(38, 18)) as amount
    from postings
    where charge = 'recurring' and role = 'share' and stream <= concat('run:', $period)
    group by partner_id, subscription_id, price_id, price_version, usage_period
), compared as (
    select
        partner_id, subscription_id, price_id, price_version, usage_period, events,
        absolute_revenue as revenue_amount, absolute_share as share_amount
    from shares
    where charge = 'usage'
    union all
    select
        s.partner_id, s.subscription_id, s.price_id, s.price_version, s.usage_period, s.events,
        coalesce(f.amount, cast(0 as decimal(38, 18))) as revenue_amount, s.amount as share_amount
    from fee_shares as s
    left join fees as f
        on f.subscription_id = s.subscription_id and f.price_id = s.price_id and f.price_version = s.price_version
        and f.usage_period = s.usage_period
), allowed as (
    -- an agreement that has left the book is held to 100 %; 10^-11 a row is allowed for rounding
    select
        c.partner_id, c.subscription_id, c.price_id, c.price_version, c.usage_period, c.revenue_amount, c.share_amount,
        coalesce(p.percent, cast(1 as decimal(7, 6))) as percent,
        cast(c.events as decimal(18, 0)) * cast('0.00000000001' as decimal(11, 11)) as rounding
    from compared as c
    left join percents as p on p.partner_id = c.partner_id and p.price_id = c.price_id
)
select partner_id, subscription_id, price_id, price_version, usage_period, revenue_amount, share_amount, percent
from allowed
where cast(share_amount as decimal(38, 11))
    > cast(cast(revenue_amount as decimal(31, 11)) * percent as decimal(38, 17)) + rounding
order by partner_id, subscription_id, price_id, price_version, usage_period
