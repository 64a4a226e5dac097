-- One row per line of an invoice, before tax: the exact sum rounded half-up to the currency's minor unit, numbered from 1.
-- Failed accounts have no lines. A discount is posted as '<list version>/<party>-<percent>%' and has the name of the list price.
-- What limits made stands after usage and fees, in the order in which limits apply.
-- in:   charges, failures, accounts, billing_dates, taxes, currencies, prices, meters, limit_names
-- out:  the columns of LINES without tax_amount, and net_minor (whole minor units), tax_rate as DECIMAL(12,10)
-- args: period
with named as (
    select
        prices.price_id,
        prices.price_version,
        min(prices.model) as model,
        min(prices.name_en) as name_en,
        min(prices.name_zh) as name_zh
    from prices
    group by prices.price_id, prices.price_version
),

billable as (
    select
        charges.account_id,
        charges.subscription_id,
        charges.charge,
        charges.price_id,
        charges.price_version,
        charges.meter_id,
        charges.tax_class,
        charges.currency,
        charges.usage_period,
        charges.usage_period_end,
        charges.late,
        charges.events,
        charges.quantity,
        charges.exact_amount,
        cast(taxes.rate as decimal(12, 10)) as tax_rate,
        currencies.unit as minor_unit,
        cast(round(cast(charges.exact_amount * currencies.factor as decimal(38, 18)), 0) as decimal(24, 0)) as net_minor
    from charges
    inner join accounts on charges.account_id = accounts.account_id
    inner join billing_dates on charges.account_id = billing_dates.account_id
    inner join currencies on charges.currency = currencies.currency
    inner join taxes
        on accounts.country = taxes.country
        and charges.tax_class = taxes.tax_class
        and taxes.valid_from <= billing_dates.taxed_at
        and (taxes.valid_to is null or taxes.valid_to > billing_dates.taxed_at)
    left join failures on charges.account_id = failures.account_id
    where failures.account_id is null
)

select
    cast($period as varchar) as period,
    billable.account_id,
    cast(
        row_number() over (
            partition by billable.account_id
            order by
                case billable.charge
                    when 'pool' then 1
                    when 'floor' then 2
                    when 'commitment' then 3
                    when 'overage' then 4
                    when 'cap' then 5
                    else 0
                end,
                billable.subscription_id,
                billable.charge,
                billable.late,
                billable.usage_period,
                billable.price_id,
                billable.price_version,
                billable.tax_class
        ) as integer
    ) as line,
    billable.subscription_id,
    billable.charge,
    billable.price_id,
    billable.price_version,
    billable.meter_id,
    case
        when billable.charge = 'recurring' then 'licence-day'
        when coalesce(named.model, listed.model) = 'capacity' then 'tier'
        else meters.unit
    end as unit,
    coalesce(limit_names.name_en, named.name_en, listed.name_en, billable.price_id) as name_en,
    coalesce(limit_names.name_zh, named.name_zh, listed.name_zh, billable.price_id) as name_zh,
    billable.usage_period,
    billable.usage_period_end,
    billable.late,
    billable.events,
    billable.quantity,
    billable.exact_amount,
    cast(billable.net_minor * billable.minor_unit as decimal(38, 4)) as net_amount,
    billable.tax_class,
    billable.tax_rate,
    billable.currency,
    billable.net_minor,
    billable.minor_unit
from billable
left join meters on billable.meter_id = meters.meter_id
left join limit_names
    on billable.charge = limit_names.charge
    and billable.price_id = limit_names.price_id
    and billable.price_version = limit_names.price_version
left join named
    on billable.price_id = named.price_id
    and billable.price_version = named.price_version
left join named as listed
    on billable.price_id = listed.price_id
    and split_part(billable.price_version, '/', 1) = listed.price_version
order by billable.account_id, line
