-- Invoices and tax classes whose lines do not carry exactly the tax of their class.
-- in:   invoice_taxes, draft_lines, currencies
-- out:  account_id, tax_class, tax_rate, class_tax, lines_tax
with lined as (
    select
        draft_lines.account_id,
        draft_lines.tax_class,
        draft_lines.tax_rate,
        min(draft_lines.currency) as currency,
        cast(sum(draft_lines.tax_amount) as decimal(38, 4)) as tax_amount
    from draft_lines
    group by draft_lines.account_id, draft_lines.tax_class, draft_lines.tax_rate
)

select
    invoice_taxes.account_id,
    invoice_taxes.tax_class,
    invoice_taxes.tax_rate,
    cast(invoice_taxes.tax_minor * currencies.unit as decimal(38, 4)) as class_tax,
    lined.tax_amount as lines_tax
from invoice_taxes
left join lined
    on invoice_taxes.account_id = lined.account_id
    and invoice_taxes.tax_class = lined.tax_class
    and invoice_taxes.tax_rate = lined.tax_rate
left join currencies on lined.currency = currencies.currency
where lined.account_id is null
    or cast(invoice_taxes.tax_minor * currencies.unit as decimal(38, 4)) <> lined.tax_amount
order by invoice_taxes.account_id, invoice_taxes.tax_class, invoice_taxes.tax_rate
