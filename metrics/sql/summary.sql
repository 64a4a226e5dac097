-- The month in one line per currency: MRR at the start, the five movements, MRR at the end, and usage beside it.
-- grain: one row per currency that has MRR, a movement or billed rows
-- in:    account_mrr (account_mrr.sql), drafted_movements (MOVEMENTS), revenue (revenue.sql), currencies (currency, digits)
-- out:   SUMMARY (schemas/metrics.py); arpa is null when nobody pays
-- args:  $period, YYYY-MM
with accounts as (
    select
        currency,
        cast(sum(mrr_before) as decimal(38, 4)) as mrr_start,
        cast(sum(mrr_after) as decimal(38, 4)) as mrr_end,
        cast(sum(case when mrr_after > 0 then 1 else 0 end) as bigint) as paying_accounts
    from account_mrr
    group by currency
), moved as (
    select
        currency,
        cast(sum(case when movement = 'new' then mrr_change else cast(0 as decimal(38, 4)) end) as decimal(38, 4))
            as mrr_new,
        cast(sum(case when movement = 'expansion' then mrr_change else cast(0 as decimal(38, 4)) end) as decimal(38, 4))
            as mrr_expansion,
        cast(sum(case when movement = 'contraction' then mrr_change else cast(0 as decimal(38, 4)) end) as decimal(38, 4))
            as mrr_contraction,
        cast(sum(case when movement = 'churn' then mrr_change else cast(0 as decimal(38, 4)) end) as decimal(38, 4))
            as mrr_churn,
        cast(sum(case when movement = 'reactivation' then mrr_change else cast(0 as decimal(38, 4)) end) as decimal(38, 4))
            as mrr_reactivation
    from drafted_movements
    group by currency
), shown as (
    select currency from accounts
    union
    select currency from revenue
), joined as (
    select
        c.currency, c.digits,
        case c.digits
            when 0 then cast(1 as decimal(5, 0))
            when 2 then cast(100 as decimal(5, 0))
            when 3 then cast(1000 as decimal(5, 0))
            when 4 then cast(10000 as decimal(5, 0))
        end as minor_units,
        case c.digits
            when 0 then cast('1' as decimal(5, 4))
            when 2 then cast('0.01' as decimal(5, 4))
            when 3 then cast('0.001' as decimal(5, 4))
            when 4 then cast('0.0001' as decimal(5, 4))
        end as minor_unit,
        coalesce(a.mrr_start, cast(0 as decimal(38, 4))) as mrr_start,
        coalesce(m.mrr_new, cast(0 as decimal(38, 4))) as mrr_new,
        coalesce(m.mrr_expansion, cast(0 as decimal(38, 4))) as mrr_expansion,
        coalesce(m.mrr_contraction, cast(0 as decimal(38, 4))) as mrr_contraction,
        coalesce(m.mrr_churn, cast(0 as decimal(38, 4))) as mrr_churn,
        coalesce(m.mrr_reactivation, cast(0 as decimal(38, 4))) as mrr_reactivation,
        coalesce(a.mrr_end, cast(0 as decimal(38, 4))) as mrr_end,
        coalesce(a.paying_accounts, cast(0 as bigint)) as paying_accounts,
        coalesce(r.usage_revenue, cast(0 as decimal(38, 4))) as usage_revenue,
        coalesce(r.share_cost, cast(0 as decimal(38, 4))) as share_cost
    from shown as s
    join currencies as c on c.currency = s.currency
    left join accounts as a on a.currency = s.currency
    left join moved as m on m.currency = s.currency
    left join revenue as r on r.currency = s.currency
)
select
    cast($period as varchar) as period,
    currency,
    mrr_start,
    mrr_new,
    mrr_expansion,
    mrr_contraction,
    mrr_churn,
    mrr_reactivation,
    mrr_end,
    paying_accounts,
    -- in whole minor units, so that the average is a division of integers: half-up is (2 x sum + n) div (2 x n)
    case
        when paying_accounts > 0 then cast(
            cast(
                (
                    cast(cast(mrr_end as decimal(28, 4)) * minor_units as bigint) * cast(2 as bigint) + paying_accounts
                ) // (paying_accounts * cast(2 as bigint)) as decimal(19, 0)
            ) * minor_unit as decimal(38, 4)
        )
    end as arpa,
    usage_revenue,
    share_cost
from joined
order by currency
