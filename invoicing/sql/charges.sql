-- One row per account, subscription, price version and usage period that the run is to bill: exact sums, nothing rounded.
-- A price of several meters is one row all the same; the first of their names stands for them.
-- in:   unbilled, quantity_units (quantity_scale, unit: 10^-scale)
-- out:  account_id, subscription_id, charge, price_id, price_version, meter_id, tax_class, currency, usage_period,
--       usage_period_end, late, events, quantity (what the rows add to the aggregate, in units), exact_amount
with measured as (
    select
        unbilled.account_id,
        unbilled.subscription_id,
        unbilled.charge,
        unbilled.price_id,
        unbilled.price_version,
        unbilled.meter_id,
        unbilled.tax_class,
        unbilled.currency,
        unbilled.usage_period,
        unbilled.usage_period_end,
        unbilled.late,
        unbilled.quantity_scale,
        cast(count(*) as bigint) as events,
        cast(sum(cast(unbilled.after_quanta - coalesce(unbilled.before_quanta, 0) as decimal(19, 0))) as decimal(28, 0)) as quanta,
        cast(sum(unbilled.amount) as decimal(38, 18)) as exact_amount
    from unbilled
    where unbilled.role = 'revenue'
    group by
        unbilled.account_id,
        unbilled.subscription_id,
        unbilled.charge,
        unbilled.price_id,
        unbilled.price_version,
        unbilled.meter_id,
        unbilled.tax_class,
        unbilled.currency,
        unbilled.usage_period,
        unbilled.usage_period_end,
        unbilled.late,
        unbilled.quantity_scale
)

select
    measured.account_id,
    measured.subscription_id,
    measured.charge,
    measured.price_id,
    measured.price_version,
    min(measured.meter_id) as meter_id,
    measured.tax_class,
    measured.currency,
    measured.usage_period,
    measured.usage_period_end,
    measured.late,
    cast(sum(measured.events) as bigint) as events,
    cast(sum(cast(measured.quanta * quantity_units.unit as decimal(38, 9))) as decimal(38, 18)) as quantity,
    cast(sum(measured.exact_amount) as decimal(38, 18)) as exact_amount
from measured
inner join quantity_units on measured.quantity_scale = quantity_units.quantity_scale
group by
    measured.account_id,
    measured.subscription_id,
    measured.charge,
    measured.price_id,
    measured.price_version,
    measured.tax_class,
    measured.currency,
    measured.usage_period,
    measured.usage_period_end,
    measured.late
order by
    measured.account_id,
    measured.subscription_id,
    measured.charge,
    measured.price_id,
    measured.price_version,
    measured.usage_period,
    measured.currency,
    measured.tax_class
