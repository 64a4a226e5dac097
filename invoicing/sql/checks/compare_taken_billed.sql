-- Everything that usage has taken from balances: a finalised run has taken it off an invoice, or it is still to be billed.
-- grain: one row per currency
-- in:    postings, unbilled (cut at the newest positions and after the last month), outcomes, runs
-- out:   currency, left (ledger), right (outcomes of finalised runs and what no run has billed)
with final_runs as (
    select distinct period
    from runs
), both_sides as (
    select currency, cast(-amount as decimal(38, 18)) as ledger_amount, cast(0 as decimal(38, 18)) as billed_amount
    from postings
    where role = 'balance' and charge = 'deduct'
    union all
    select currency, cast(0 as decimal(38, 18)) as ledger_amount, cast(-amount as decimal(38, 18)) as billed_amount
    from unbilled
    where role = 'balance' and charge = 'deduct'
    union all
    select
        outcomes.currency,
        cast(0 as decimal(38, 18)) as ledger_amount,
        outcomes.taken_amount as billed_amount
    from outcomes
    inner join final_runs on outcomes.period = final_runs.period
    where outcomes.taken_amount <> 0
)
select
    currency,
    cast(sum(ledger_amount) as decimal(38, 18)) as "left",
    cast(sum(billed_amount) as decimal(38, 18)) as "right"
from both_sides
group by currency
order by currency
