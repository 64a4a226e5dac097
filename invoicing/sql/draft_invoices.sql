-- One row per invoice: INVOICES, still without a number. An account gets one when any of its lines has a net amount other
-- than zero; the total may be zero or negative (a credit in the customer's favour).
-- in:   draft_lines, accounts, billing_dates
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
    cast(summed.net_amount + summed.tax_amount as decimal(38, 4)) as total_amount
from summed
inner join accounts on summed.account_id = accounts.account_id
inner join billing_dates on summed.account_id = billing_dates.account_id
where summed.due_lines > 0
order by summed.account_id
