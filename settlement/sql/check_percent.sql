-- No share is larger than the agreement's part of the revenue or cost it is taken of, or its amount for the units of it.
-- Of an agreement in tiers the largest percentage counts. What is taken off for a cost is at most that cost.
-- Usage is compared in absolute value, because a volume tier makes negative rows and they may meet another percentage.
-- A recurring fee is compared over all its rows in the ledger, because a correction may change the share alone.
-- grain: one row per partner, subscription, price version and usage period that is over; none when all is well
-- in:    shares (shares.sql), postings, agreements, agreement_tiers, quantity_units (quantity_scale, unit)
-- out:   partner_id, subscription_id, price_id, price_version, usage_period, revenue_amount, share_amount, percent
-- args:  $period
with tops as (
    select agreement_id, cast(max(share) as decimal(38, 18)) as share
    from agreement_tiers
    group by agreement_id
), percents as (
    select
        a.partner_id, a.price_id,
        cast(max(coalesce(a.share, t.share, cast(0 as decimal(38, 18)))) as decimal(7, 6)) as percent,
        cast(max(coalesce(a.per_unit, cast(0 as decimal(38, 18)))) as decimal(38, 18)) as per_unit
    from agreements as a
    left join tops as t on t.agreement_id = a.agreement_id
    group by a.partner_id, a.price_id
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
        absolute_revenue as revenue_amount, absolute_share as share_amount, absolute_quanta, quantity_scale
    from shares
    where charge = 'usage'
    union all
    select
        s.partner_id, s.subscription_id, s.price_id, s.price_version, s.usage_period, s.events,
        coalesce(f.amount, cast(0 as decimal(38, 18))) as revenue_amount, s.amount as share_amount,
        cast(0 as decimal(38, 0)) as absolute_quanta, cast(0 as integer) as quantity_scale
    from fee_shares as s
    left join fees as f
        on f.subscription_id = s.subscription_id and f.price_id = s.price_id and f.price_version = s.price_version
        and f.usage_period = s.usage_period
), allowed as (
    -- an agreement that has left the book, or a cost, is held to 100 %; 10^-11 a row is allowed for rounding; units and the amount
    -- of one are rounded up to whole units and 6 decimals, so that their product fits
    select
        c.partner_id, c.subscription_id, c.price_id, c.price_version, c.usage_period, c.revenue_amount, c.share_amount,
        coalesce(p.percent, cast(1 as decimal(7, 6))) as percent,
        cast(c.events as decimal(18, 0)) * cast('0.00000000001' as decimal(11, 11)) as rounding,
        case
            when coalesce(p.per_unit, cast(0 as decimal(38, 18))) = 0 then cast(0 as decimal(38, 6))
            else cast(
                cast(ceil(cast(c.absolute_quanta as decimal(22, 0)) * q.unit) as decimal(20, 0))
                * (cast(p.per_unit as decimal(17, 6)) + cast('0.000001' as decimal(7, 6))) as decimal(38, 6)
            )
        end as for_units
    from compared as c
    left join quantity_units as q on q.quantity_scale = c.quantity_scale
    left join percents as p on p.partner_id = c.partner_id and p.price_id = c.price_id
)
select partner_id, subscription_id, price_id, price_version, usage_period, revenue_amount, share_amount, percent
from allowed
where cast(share_amount as decimal(38, 11))
    > cast(cast(revenue_amount as decimal(31, 11)) * percent as decimal(38, 17)) + rounding
    + cast(for_units as decimal(38, 11))
order by partner_id, subscription_id, price_id, price_version, usage_period
