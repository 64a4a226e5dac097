-- One row per invoice (account), tax class and rate: the tax of the summed net lines, half-up to the minor unit.
-- in:   net_lines
-- out:  account_id, tax_class, tax_rate, net_minor, tax_minor (whole minor units)
with summed as (
    select
        net_lines.account_id,
        net_lines.tax_class,
        net_lines.tax_rate,
        cast(sum(net_lines.net_minor) as decimal(24, 0)) as net_minor
    from net_lines
    group by net_lines.account_id, net_lines.tax_class, net_lines.tax_rate
)

select
    summed.account_id,
    summed.tax_class,
    summed.tax_rate,
    summed.net_minor,
    cast(round(cast(summed.net_minor * summed.tax_rate as decimal(38, 10)), 0) as decimal(24, 0)) as tax_minor
from summed
order by summed.account_id, summed.tax_class, summed.tax_rate
