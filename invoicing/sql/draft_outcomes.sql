-- One row per account of the roster and per account with charges: OUTCOMES.
-- invoiced; failed, with the reason, its rows stay unbilled; nothing_due, no rows or only lines of zero, which count as billed.
-- in:   accounts, charges, failures, balance_payments, draft_invoices
-- out:  OUTCOMES
-- args: period
with everybody as (
    select accounts.account_id
    from accounts
    union
    select charges.account_id
    from charges
)

select
    cast($period as varchar) as period,
    everybody.account_id,
    case
        when failures.account_id is not null then 'failed'
        when draft_invoices.account_id is not null then 'invoiced'
        else 'nothing_due'
    end as outcome,
    failures.reason,
    coalesce(draft_invoices.currency, accounts.currency) as currency,
    case
        when failures.account_id is not null then cast(null as decimal(38, 4))
        else coalesce(draft_invoices.total_amount, cast(0 as decimal(38, 4)))
    end as total_amount,
    case
        when failures.account_id is not null then cast(null as decimal(38, 4))
        else coalesce(draft_invoices.due_amount, cast(0 as decimal(38, 4)))
    end as due_amount,
    case
        when failures.account_id is not null then cast(null as decimal(38, 18))
        else coalesce(balance_payments.taken_amount, cast(0 as decimal(38, 18)))
    end as taken_amount
from everybody
left join accounts on everybody.account_id = accounts.account_id
left join failures on everybody.account_id = failures.account_id
left join balance_payments on everybody.account_id = balance_payments.account_id
left join draft_invoices on everybody.account_id = draft_invoices.account_id
order by everybody.account_id
