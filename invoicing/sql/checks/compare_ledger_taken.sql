-- What the usage that the run of one period billed took from balances, and what the outcomes of its accounts say of it.
-- grain: one row per currency
-- in:    billed (the run's rows), outcomes
-- out:   currency, left (ledger), right (outcomes)
-- args:  period
with both_sides as (
    select currency, cast(-amount as decimal(38, 18)) as ledger_amount, cast(0 as decimal(38, 18)) as outcome_amount
    from billed
    where role = 'balance' and charge = 'deduct'
    union all
    select currency, cast(0 as decimal(38, 18)) as ledger_amount, taken_amount as outcome_amount
    from outcomes
    where period = $period and taken_amount <> 0
)
select
    currency,
    cast(sum(ledger_amount) as decimal(38, 18)) as "left",
    cast(sum(outcome_amount) as decimal(38, 18)) as "right"
from both_sides
group by currency
order by currency
