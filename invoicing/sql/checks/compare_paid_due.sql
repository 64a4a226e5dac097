-- The totals of one period's invoices, and what balances have paid of them with what is due.
-- grain: one row per currency
-- in:    invoices
-- out:   currency, left (totals), right (paid and due)
-- args:  period
select
    currency,
    cast(sum(total_amount) as decimal(38, 18)) as "left",
    cast(sum(cast(paid_amount + due_amount as decimal(38, 4))) as decimal(38, 18)) as "right"
from invoices
where period = $period
group by currency
order by currency
