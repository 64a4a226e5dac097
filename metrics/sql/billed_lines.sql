-- What the invoices of a finalised run bill for usage.
-- grain: one row per currency
-- in:    lines (LINES, schemas/billing.py)
-- out:   currency, usage_revenue
-- args:  $period, YYYY-MM
select currency, cast(sum(net_amount) as decimal(38, 4)) as usage_revenue
from lines
where period = $period and charge = 'usage'
group by currency
order by currency
