-- One row per invoice: INVOICES, still without a number. An account gets one when any of its lines has a net amount other
-- than zero, or its balance has paid anything; total and amount due may be zero or negative (in the customer's favour).
-- in:   draft_lines, balance_payments, accounts, billing_dates
-- out:  INVOICES
-- args: period
with summed as (
    select
        draft_lines.account_id,
        draft_lines.currency,
        cast(count(*) as integer) as lines,
        cast(sum(draft_lines.net_amount) as decimal(38, 4)) as net_amount,
        cast(sum(draft_lines.tax_amount) as decimal(38, 4)) as tax_amount,
        cast(sum(case when draft_lines.net_amount <> 0 then 1 else 0 end) as integer) as due_lines
    from draft_lines
    group by draft_lines.account_id, draft_lines.currency
),

paid as (
    select
        summed.account_id,
        summed.currency,
        coalesce(balance_payments.paid_amount, cast(0 as decimal(38, 4))) as paid_amount
    from summed
    left join balance_payments
        on summed.account_id = balance_payments.account_id
        and summed.currency = balance_payments.currency
)

select
    cast($period as varchar) as period,
    cast(null as varchar) as invoice_no,
    summed.account_id,
    accounts.name as account_name,
    summed.currency,
    billing_dates.issue_date,
    billing_dates.due_date,
    summed.lines,
    summed.net_amount,
    summed.tax_amount,
    cast(summed.net_amount + summed.tax_amount as decimal(38, 4)) as total_amount,
    paid.paid_amount,
    cast(summed.net_amount + summed.tax_amount - paid.paid_amount as decimal(38, 4)) as due_amount
from summed
inner join paid
    on summed.account_id = paid.account_id
    and summed.currency = paid.currency
inner join accounts on summed.account_id = accounts.account_id
inner join billing_dates on summed.account_id = billing_dates.account_id
where summed.due_lines > 0
    or paid.paid_amount <> 0
order by summed.account_id
