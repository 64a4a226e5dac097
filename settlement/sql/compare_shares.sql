-- The share rows that the run of one period billed, and the statements made of them; nothing while it is not settled.
-- grain: one row per currency
-- in:    billed (the run's rows), statement_lines
-- out:   currency, left (ledger), right (statements)
-- args:  period
with stated as (
    select currency, cast(sum(exact_amount) as decimal(38, 18)) as amount
    from statement_lines
    where period = $period
    group by currency
), due as (
    select currency, cast(sum(amount) as decimal(38, 18)) as amount
    from billed
    where role = 'share'
    group by currency
)
select
    stated.currency,
    coalesce(due.amount, cast(0 as decimal(38, 18))) as "left",
    stated.amount as "right"
from stated
left join due on due.currency = stated.currency
order by stated.currency
