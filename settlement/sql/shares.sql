-- The share rows that a finalised run bills, each next to the revenue it is taken of, or to the cost: that is below zero.
-- grain: one row per partner, subscription, price version and usage period
-- in:    billed (the rows of the run: the columns of POSTINGS and late)
-- out:   the columns below; absolute amounts add up without regard to sign, for check_percent
-- args:  none
with placed as (
    -- a usage row and its share have one offset; a fee and its share have one each, and meet by their aggregate alone
    select
        stream, stream_partition,
        case when charge = 'usage' then stream_offset else cast(-1 as bigint) end as stream_offset,
        coalesce(event_source, '') as event_source,
        coalesce(event_id, '') as event_id,
        role, partner_id, charge, account_id, subscription_id, price_id, price_version, usage_period, late, currency, amount,
        cast(after_quanta as decimal(38, 0)) - cast(coalesce(before_quanta, cast(0 as bigint)) as decimal(38, 0)) as quanta,
        quantity_scale
    from billed
), shared as (
    -- a share without a revenue row (the agreement was corrected, the fee was not) is kept
    select
        s.partner_id, s.account_id, s.subscription_id, s.charge, s.price_id, s.price_version, s.usage_period, s.late,
        s.currency,
        s.amount as exact_amount,
        s.quanta,
        s.quantity_scale,
        case
            when r.role = 'cost' then cast(-r.amount as decimal(38, 18))
            else coalesce(r.amount, cast(0 as decimal(38, 18)))
        end as revenue_amount
    from placed as s
    left join placed as r
        on r.role in ('revenue', 'cost')
        and r.stream = s.stream and r.stream_partition = s.stream_partition and r.stream_offset = s.stream_offset
        and r.event_source = s.event_source and r.event_id = s.event_id
        and r.subscription_id = s.subscription_id and r.price_id = s.price_id and r.price_version = s.price_version
        and r.usage_period = s.usage_period
    where s.role = 'share'
)
select
    partner_id, account_id, subscription_id, charge, price_id, price_version, usage_period, late, currency,
    cast(count(*) as bigint) as events,
    cast(sum(revenue_amount) as decimal(38, 18)) as revenue_amount,
    cast(sum(exact_amount) as decimal(38, 18)) as exact_amount,
    cast(sum(abs(revenue_amount)) as decimal(38, 18)) as absolute_revenue,
    cast(sum(abs(exact_amount)) as decimal(38, 18)) as absolute_share,
    cast(coalesce(sum(abs(quanta)), 0) as decimal(38, 0)) as absolute_quanta,
    cast(coalesce(max(quantity_scale), 0) as integer) as quantity_scale
from shared
group by partner_id, account_id, subscription_id, charge, price_id, price_version, usage_period, late, currency
order by partner_id, account_id, subscription_id, charge, price_id, price_version, usage_period, late, currency
