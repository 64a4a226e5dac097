-- One row per account with charges that cannot be invoiced, with the first reason. Its rows stay unbilled for a later run.
-- in:   charges, accounts, billing_dates (account_id, issue_date, due_date, taxed_at), taxes, currencies
-- out:  account_id, reason
with charged as (
    select charges.account_id, min(charges.currency) as currency, max(charges.currency) as other_currency
    from charges
    group by charges.account_id
),

strangers as (
    select charged.account_id, 1 as rank, 'the account is not in the roster' as reason
    from charged
    left join accounts on charged.account_id = accounts.account_id
    where accounts.account_id is null
),

mixed as (
    select
        charged.account_id,
        2 as rank,
        'charged in two currencies, ' || charged.currency || ' and ' || charged.other_currency as reason
    from charged
    where charged.currency <> charged.other_currency
),

foreign_currency as (
    select
        charged.account_id,
        3 as rank,
        'charged in ' || charged.currency || ', but the account pays in ' || accounts.currency as reason
    from charged
    inner join accounts on charged.account_id = accounts.account_id
    where charged.currency <> accounts.currency
),

unknown_currency as (
    select charged.account_id, 4 as rank, charged.currency || ' is no currency of ISO 4217' as reason
    from charged
    left join currencies on charged.currency = currencies.currency
    where currencies.currency is null
),

untaxed as (
    select
        charges.account_id,
        5 as rank,
        'no tax rate for country ' || accounts.country || ' and class ' || charges.tax_class as reason
    from charges
    inner join accounts on charges.account_id = accounts.account_id
    inner join billing_dates on charges.account_id = billing_dates.account_id
    left join taxes
        on accounts.country = taxes.country
        and charges.tax_class = taxes.tax_class
        and taxes.valid_from <= billing_dates.taxed_at
        and (taxes.valid_to is null or taxes.valid_to > billing_dates.taxed_at)
    where taxes.country is null
),

reasons as (
    select strangers.account_id, strangers.rank, strangers.reason from strangers
    union all
    select mixed.account_id, mixed.rank, mixed.reason from mixed
    union all
    select foreign_currency.account_id, foreign_currency.rank, foreign_currency.reason from foreign_currency
    union all
    select unknown_currency.account_id, unknown_currency.rank, unknown_currency.reason from unknown_currency
    union all
    select untaxed.account_id, untaxed.rank, untaxed.reason from untaxed
),

ordered as (
    select
        reasons.account_id,
        reasons.reason,
        row_number() over (partition by reasons.account_id order by reasons.rank, reasons.reason) as place
    from reasons
)

select ordered.account_id, ordered.reason
from ordered
where ordered.place = 1
order by ordered.account_id
