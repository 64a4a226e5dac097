-- The revenue rows that the run of one period billed, and the exact amounts of its invoice lines.
-- grain: one row per currency
-- in:    billed (the run's rows), lines
-- out:   currency, left (ledger), right (lines)
-- args:  period
with both_sides as (
    select currency, amount as ledger_amount, cast(0 as decimal(38, 18)) as line_amount
    from billed
    where role = 'revenue'
    union all
    select currency, cast(0 as decimal(38, 18)) as ledger_amount, exact_amount as line_amount
    from lines
    where period = $period
)
select
    currency,
    cast(sum(ledger_amount) as decimal(38, 18)) as "left",
    cast(sum(line_amount) as decimal(38, 18)) as "right"
from both_sides
group by currency
order by currency
