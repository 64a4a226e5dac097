-- One row per account and currency whose balance the usage of this run has taken from or given back to: how much, exactly, and
-- how much of it the invoice says. Money only: units that cover usage are no money and have made the usage itself cheaper.
-- Rounded half-up over all runs together and less what earlier invoices say, so that the invoices of an account always add up
-- to the rounded sum of what was taken, in however many runs it was billed.
-- in:   unbilled, failures, outcomes, invoices, runs, currencies
-- out:  account_id, currency, taken_amount (exact), paid_amount (of the invoice)
-- args: period
with taken as (
    select
        unbilled.account_id,
        unbilled.currency,
        cast(sum(cast(-unbilled.amount as decimal(38, 18))) as decimal(38, 18)) as amount
    from unbilled
    left join failures on unbilled.account_id = failures.account_id
    where unbilled.role = 'balance'
        and unbilled.charge = 'deduct'
        and failures.account_id is null
    group by unbilled.account_id, unbilled.currency
),

final_runs as (
    select distinct runs.period
    from runs
    where runs.period < $period
),

taken_before as (
    select outcomes.account_id, outcomes.currency, cast(sum(outcomes.taken_amount) as decimal(38, 18)) as amount
    from outcomes
    inner join final_runs on outcomes.period = final_runs.period
    where outcomes.taken_amount is not null
    group by outcomes.account_id, outcomes.currency
),

paid_before as (
    select invoices.account_id, invoices.currency, cast(sum(invoices.paid_amount) as decimal(38, 4)) as amount
    from invoices
    inner join final_runs on invoices.period = final_runs.period
    group by invoices.account_id, invoices.currency
),

summed as (
    select
        taken.account_id,
        taken.currency,
        taken.amount as taken_amount,
        cast(taken.amount + coalesce(taken_before.amount, cast(0 as decimal(38, 18))) as decimal(38, 18)) as all_taken,
        coalesce(paid_before.amount, cast(0 as decimal(38, 4))) as paid_before
    from taken
    left join taken_before
        on taken.account_id = taken_before.account_id
        and taken.currency = taken_before.currency
    left join paid_before
        on taken.account_id = paid_before.account_id
        and taken.currency = paid_before.currency
),

rounded as (
    select
        summed.account_id,
        summed.currency,
        summed.taken_amount,
        summed.paid_before,
        cast(round(cast(summed.all_taken * currencies.factor as decimal(38, 18)), 0) as decimal(24, 0)) as all_minor,
        currencies.unit as minor_unit
    from summed
    inner join currencies on summed.currency = currencies.currency
)

select
    rounded.account_id,
    rounded.currency,
    rounded.taken_amount,
    cast(cast(rounded.all_minor * rounded.minor_unit as decimal(38, 4)) - rounded.paid_before as decimal(38, 4)) as paid_amount
from rounded
order by rounded.account_id, rounded.currency
