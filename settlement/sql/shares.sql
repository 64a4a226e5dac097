-- The share rows that the run of one period bills, each next to the revenue it is taken of.
-- grain: one row per partner, subscription, price version and usage period
-- in:    postings, runs
-- out:   the columns below; absolute amounts add up without regard to sign, for check_percent
-- args:  $period, the month YYYY-MM of a finalised run
with reached as (
    select stream, stream_partition, through_offset
    from runs
    where period = $period
), closed as (
    select period, stream, stream_partition, through_offset
    from runs
    where period < $period
), last_closed as (
    select max(period) as period
    from closed
), billed as (
    -- usage: at or below the positions the run reached, and not billed by a run before it
    select
        p.stream, p.stream_partition, p.stream_offset, p.event_source, p.event_id, p.role, p.partner_id, p.charge,
        p.account_id, p.subscription_id, p.price_id, p.price_version, p.usage_period, p.usage_month, p.currency, p.amount
    from postings as p
    where p.charge = 'usage'
        and p.usage_month <= $period
        and exists (
            select 1
            from reached as r
            where r.stream = p.stream and r.stream_partition = p.stream_partition and r.through_offset >= p.stream_offset
        )
        and not exists (
            select 1
            from closed as c
            where c.stream = p.stream and c.stream_partition = p.stream_partition and c.through_offset >= p.stream_offset
                and c.period >= p.usage_month
        )
    union all
    -- recurring fees: those the run itself posted. A fee and its share have positions of their own, so they meet by aggregate
    select
        p.stream, p.stream_partition, cast(-1 as bigint) as stream_offset, p.event_source, p.event_id, p.role, p.partner_id,
        p.charge, p.account_id, p.subscription_id, p.price_id, p.price_version, p.usage_period, p.usage_month, p.currency,
        p.amount
    from postings as p
    where p.charge = 'recurring' and p.stream = concat('run:', $period)
), shared as (
    -- the event's revenue row has the same place, event and aggregate; a share without one (a correction) is kept
    select
        s.partner_id, s.account_id, s.subscription_id, s.charge, s.price_id, s.price_version, s.usage_period, s.currency,
        s.amount as exact_amount,
        coalesce(r.amount, cast(0 as decimal(38, 18))) as revenue_amount,
        case when s.charge = 'usage' and s.usage_month <= l.period then true else false end as late
    from billed as s
    left join billed as r
        on r.role = 'revenue'
        and r.stream = s.stream and r.stream_partition = s.stream_partition and r.stream_offset = s.stream_offset
        and coalesce(r.event_source, '') = coalesce(s.event_source, '')
        and coalesce(r.event_id, '') = coalesce(s.event_id, '')
        and r.subscription_id = s.subscription_id and r.price_id = s.price_id and r.price_version = s.price_version
        and r.usage_period = s.usage_period
    cross join last_closed as l
    where s.role = 'share'
)
select
    partner_id, account_id, subscription_id, charge, price_id, price_version, usage_period, late, currency,
    cast(count(*) as bigint) as events,
    cast(sum(revenue_amount) as decimal(38, 18)) as revenue_amount,
    cast(sum(exact_amount) as decimal(38, 18)) as exact_amount,
    cast(sum(abs(revenue_amount)) as decimal(38, 18)) as absolute_revenue,
    cast(sum(abs(exact_amount)) as decimal(38, 18)) as absolute_share
from shared
group by partner_id, account_id, subscription_id, charge, price_id, price_version, usage_period, late, currency
order by partner_id, account_id, subscription_id, charge, price_id, price_version, usage_period, late, currency
