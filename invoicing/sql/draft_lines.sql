-- One row per line of an invoice: LINES. The tax of an invoice and class is spread over its lines by largest remainder:
-- each line gets its exact tax rounded down, and the minor units that are left go to the lines that lost most.
-- in:   net_lines, invoice_taxes
-- out:  LINES
with exact as (
    select
        net_lines.account_id,
        net_lines.line,
        net_lines.tax_class,
        net_lines.tax_rate,
        cast(net_lines.net_minor * net_lines.tax_rate as decimal(38, 10)) as exact_minor,
        cast(floor(cast(net_lines.net_minor * net_lines.tax_rate as decimal(38, 10))) as decimal(24, 0)) as whole_minor
    from net_lines
),

ranked as (
    select
        exact.account_id,
        exact.line,
        exact.tax_class,
        exact.tax_rate,
        exact.whole_minor,
        cast(
            sum(exact.whole_minor) over (partition by exact.account_id, exact.tax_class, exact.tax_rate) as decimal(24, 0)
        ) as given_minor,
        row_number() over (
            partition by exact.account_id, exact.tax_class, exact.tax_rate
            order by cast(exact.exact_minor - exact.whole_minor as decimal(38, 10)) desc, exact.line
        ) as place
    from exact
),

shared as (
    select
        ranked.account_id,
        ranked.line,
        ranked.whole_minor + case
            when ranked.place <= invoice_taxes.tax_minor - ranked.given_minor then cast(1 as decimal(24, 0))
            else cast(0 as decimal(24, 0))
        end as tax_minor
    from ranked
    inner join invoice_taxes
        on ranked.account_id = invoice_taxes.account_id
        and ranked.tax_class = invoice_taxes.tax_class
        and ranked.tax_rate = invoice_taxes.tax_rate
)

select
    net_lines.period,
    net_lines.account_id,
    net_lines.line,
    net_lines.subscription_id,
    net_lines.charge,
    net_lines.price_id,
    net_lines.price_version,
    net_lines.meter_id,
    net_lines.unit,
    net_lines.name_en,
    net_lines.name_zh,
    net_lines.usage_period,
    net_lines.usage_period_end,
    net_lines.late,
    net_lines.events,
    net_lines.quantity,
    net_lines.exact_amount,
    net_lines.net_amount,
    net_lines.tax_class,
    cast(net_lines.tax_rate as decimal(38, 18)) as tax_rate,
    cast(cast(shared.tax_minor as decimal(24, 0)) * net_lines.minor_unit as decimal(38, 4)) as tax_amount,
    net_lines.currency
from net_lines
inner join shared
    on net_lines.account_id = shared.account_id
    and net_lines.line = shared.line
order by net_lines.account_id, net_lines.line
