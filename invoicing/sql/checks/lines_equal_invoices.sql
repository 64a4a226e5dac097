-- Accounts whose lines do not add up to their invoice; lines without an invoice must be zero, each of them.
-- in:   draft_lines, draft_invoices
-- out:  account_id, lines_net, lines_tax, invoice_net, invoice_tax, invoice_total
with lined as (
    select
        draft_lines.account_id,
        cast(sum(draft_lines.net_amount) as decimal(38, 4)) as net_amount,
        cast(sum(draft_lines.tax_amount) as decimal(38, 4)) as tax_amount,
        cast(sum(case when draft_lines.net_amount <> 0 then 1 else 0 end) as integer) as due_lines
    from draft_lines
    group by draft_lines.account_id
)

select
    coalesce(lined.account_id, draft_invoices.account_id) as account_id,
    lined.net_amount as lines_net,
    lined.tax_amount as lines_tax,
    draft_invoices.net_amount as invoice_net,
    draft_invoices.tax_amount as invoice_tax,
    draft_invoices.total_amount as invoice_total
from lined
full outer join draft_invoices on lined.account_id = draft_invoices.account_id
where lined.account_id is null
    or (draft_invoices.account_id is null and lined.due_lines > 0)
    or lined.net_amount <> draft_invoices.net_amount
    or lined.tax_amount <> draft_invoices.tax_amount
    or draft_invoices.net_amount + draft_invoices.tax_amount <> draft_invoices.total_amount
order by account_id
