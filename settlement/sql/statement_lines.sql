-- What the run of one period owes its partners, line by line.
-- grain: one row per partner, account, price and usage period, numbered within the partner
-- in:    shares (shares.sql), currencies (currency, digits: decimals of its minor unit)
-- out:   STATEMENT_LINES (schemas/billing.py)
-- args:  $period, the month YYYY-MM of a finalised run
with summed as (
    select
        partner_id, account_id, price_id, usage_period, late, currency,
        cast(sum(events) as bigint) as events,
        cast(sum(revenue_amount) as decimal(38, 18)) as revenue_amount,
        cast(sum(exact_amount) as decimal(38, 18)) as exact_amount
    from shares
    group by partner_id, account_id, price_id, usage_period, late, currency
)
select
    cast($period as varchar) as period,
    s.partner_id,
    cast(
        row_number() over (
            partition by s.partner_id order by s.currency, s.account_id, s.price_id, s.usage_period, s.late
        ) as integer
    ) as line,
    s.account_id,
    s.price_id,
    s.usage_period,
    s.late,
    s.events,
    s.revenue_amount,
    s.exact_amount,
    case c.digits
        when 0 then cast(round(s.exact_amount, 0) as decimal(38, 4))
        when 2 then cast(round(s.exact_amount, 2) as decimal(38, 4))
        when 3 then cast(round(s.exact_amount, 3) as decimal(38, 4))
        when 4 then cast(round(s.exact_amount, 4) as decimal(38, 4))
    end as share_amount,
    s.currency
from summed as s
join currencies as c on c.currency = s.currency
order by partner_id, line
