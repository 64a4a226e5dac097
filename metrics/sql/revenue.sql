-- What the run of a month bills for usage and owes partners: the amounts that stand on invoice and statement lines.
-- grain: one row per currency
-- in:    billed (the rows of the run: the columns of POSTINGS and late), currencies (currency, digits)
-- out:   currency, usage_revenue (customers' usage), share_cost (partners' shares of usage and fees)
-- args:  none
-- Rounding happens where a line is written, so that metrics and documents show the same totals.
with lines as (
    select currency, role, cast(sum(amount) as decimal(38, 18)) as exact_amount
    from billed
    where role = 'revenue' and charge = 'usage'
    group by currency, role, account_id, subscription_id, price_id, price_version, usage_period, late
    union all
    select currency, role, cast(sum(amount) as decimal(38, 18)) as exact_amount
    from billed
    where role = 'share'
    group by currency, role, partner_id, account_id, price_id, usage_period, late
), rounded as (
    select
        n.currency,
        n.role,
        case c.digits
            when 0 then cast(round(n.exact_amount, 0) as decimal(38, 4))
            when 2 then cast(round(n.exact_amount, 2) as decimal(38, 4))
            when 3 then cast(round(n.exact_amount, 3) as decimal(38, 4))
            when 4 then cast(round(n.exact_amount, 4) as decimal(38, 4))
        end as amount
    from lines as n
    join currencies as c on c.currency = n.currency
), billed_currencies as (
    select distinct currency from billed
)
select
    b.currency,
    cast(
        coalesce(sum(case when r.role = 'revenue' then r.amount else cast(0 as decimal(38, 4)) end), cast(0 as decimal(38, 4)))
        as decimal(38, 4)
    ) as usage_revenue,
    cast(
        coalesce(sum(case when r.role = 'share' then r.amount else cast(0 as decimal(38, 4)) end), cast(0 as decimal(38, 4)))
        as decimal(38, 4)
    ) as share_cost
from billed_currencies as b
left join rounded as r on r.currency = b.currency
group by b.currency
order by b.currency
