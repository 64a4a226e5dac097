-- Accounts whose invoice does not take off what their balance has paid, or says more or less than what was taken: over all
-- invoices in its currency the two may differ by no more than half a minor unit, and the amount due is the rest of the total.
-- in:   draft_invoices, draft_outcomes, balance_payments, outcomes, invoices, runs, currencies
-- out:  account_id, taken_amount, outcome_amount (the same as its outcome tells it), all_taken, all_paid (over all runs),
--       total_amount, due_amount
-- args: period
with final_runs as (
    select distinct runs.period
    from runs
    where runs.period < $period
),

told as (
    select outcomes.account_id, outcomes.currency, outcomes.taken_amount, cast(0 as decimal(38, 4)) as paid_amount
    from outcomes
    inner join final_runs on outcomes.period = final_runs.period
    where outcomes.taken_amount is not null
    union all
    select draft_outcomes.account_id, draft_outcomes.currency, draft_outcomes.taken_amount, cast(0 as decimal(38, 4)) as paid_amount
    from draft_outcomes
    where draft_outcomes.taken_amount is not null
    union all
    select invoices.account_id, invoices.currency, cast(0 as decimal(38, 18)) as taken_amount, invoices.paid_amount
    from invoices
    inner join final_runs on invoices.period = final_runs.period
    union all
    select draft_invoices.account_id, draft_invoices.currency, cast(0 as decimal(38, 18)) as taken_amount, draft_invoices.paid_amount
    from draft_invoices
),

summed as (
    select
        told.account_id,
        told.currency,
        cast(sum(told.taken_amount) as decimal(38, 18)) as all_taken,
        cast(sum(told.paid_amount) as decimal(38, 4)) as all_paid
    from told
    group by told.account_id, told.currency
)

select
    draft_outcomes.account_id,
    balance_payments.taken_amount,
    draft_outcomes.taken_amount as outcome_amount,
    summed.all_taken,
    summed.all_paid,
    draft_invoices.total_amount,
    draft_invoices.due_amount
from draft_outcomes
inner join summed
    on draft_outcomes.account_id = summed.account_id
    and draft_outcomes.currency = summed.currency
left join balance_payments on draft_outcomes.account_id = balance_payments.account_id
left join draft_invoices on draft_outcomes.account_id = draft_invoices.account_id
left join currencies on draft_outcomes.currency = currencies.currency
where draft_outcomes.outcome <> 'failed'
    and (
        coalesce(balance_payments.taken_amount, cast(0 as decimal(38, 18))) <> draft_outcomes.taken_amount
        or coalesce(balance_payments.paid_amount, cast(0 as decimal(38, 4)))
            <> coalesce(draft_invoices.paid_amount, cast(0 as decimal(38, 4)))
        or draft_invoices.total_amount - draft_invoices.paid_amount <> draft_invoices.due_amount
        or abs(cast(summed.all_paid - summed.all_taken as decimal(38, 18)))
            > cast(currencies.unit * cast(0.5 as decimal(2, 1)) as decimal(38, 18))
    )
order by draft_outcomes.account_id
