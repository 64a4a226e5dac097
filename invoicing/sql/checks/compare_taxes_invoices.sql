-- The tax amounts of one period's invoice lines, and those of its invoices.
-- grain: one row per currency
-- in:    lines, invoices
-- out:   currency, left (lines), right (invoices)
-- args:  period
with both_sides as (
    select currency, tax_amount as line_amount, cast(0 as decimal(38, 4)) as invoice_amount
    from lines
    where period = $period
    union all
    select currency, cast(0 as decimal(38, 4)) as line_amount, tax_amount as invoice_amount
    from invoices
    where period = $period
)
select
    currency,
    cast(sum(line_amount) as decimal(38, 18)) as "left",
    cast(sum(invoice_amount) as decimal(38, 18)) as "right"
from both_sides
group by currency
order by currency
