-- What the usage that finalised runs billed took from balances, rounded once per account, and what their invoices say of it.
-- grain: one row per currency
-- in:    outcomes, invoices, runs, currencies
-- out:   currency, left (outcomes, rounded half-up over all runs of an account), right (invoices)
with final_runs as (
    select distinct period
    from runs
), taken as (
    select
        outcomes.account_id,
        outcomes.currency,
        cast(sum(outcomes.taken_amount) as decimal(38, 18)) as amount
    from outcomes
    inner join final_runs on outcomes.period = final_runs.period
    where outcomes.taken_amount <> 0
    group by outcomes.account_id, outcomes.currency
), rounded as (
    select
        taken.currency,
        cast(
            cast(round(cast(taken.amount * currencies.factor as decimal(38, 18)), 0) as decimal(24, 0)) * currencies.unit
            as decimal(38, 4)
        ) as amount
    from taken
    inner join currencies on taken.currency = currencies.currency
), both_sides as (
    select invoices.currency, invoices.paid_amount, cast(0 as decimal(38, 4)) as rounded_amount
    from invoices
    inner join final_runs on invoices.period = final_runs.period
    where invoices.paid_amount <> 0
    union all
    select rounded.currency, cast(0 as decimal(38, 4)) as paid_amount, rounded.amount as rounded_amount
    from rounded
)
select
    currency,
    cast(sum(rounded_amount) as decimal(38, 18)) as "left",
    cast(sum(paid_amount) as decimal(38, 18)) as "right"
from both_sides
group by currency
order by currency
