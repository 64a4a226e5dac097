-- What each partner is due for one period, in each currency.
-- grain: one row per partner and currency
-- in:    drafted_lines (STATEMENT_LINES of one period), partners
-- out:   STATEMENTS (schemas/billing.py)
-- args:  none
select
    l.period,
    l.partner_id,
    coalesce(p.name, l.partner_id) as partner_name,
    l.currency,
    cast(count(*) as integer) as lines,
    cast(sum(l.revenue_amount) as decimal(38, 18)) as revenue_amount,
    cast(sum(l.share_amount) as decimal(38, 4)) as share_amount
from drafted_lines as l
left join partners as p on p.partner_id = l.partner_id
group by l.period, l.partner_id, coalesce(p.name, l.partner_id), l.currency
order by l.partner_id, l.currency
