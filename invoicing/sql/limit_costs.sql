-- What limits look at, with what it costs: one row per fee and per subscription's part of an aggregate of usage, of accounts
-- that have any limit.
-- A fee counts in the usage period in which its service period begins: a yearly one may begin on any day.
-- in:   limit_postings (the rows that count), limited_accounts (account_id), accounts
-- out:  account_id, subscription_id, counted_for, price_id, price_version, fee, month (YYYY-MM), quanta, amount
-- args: first_month, last_month
with counted as (
    select
        limit_postings.account_id,
        limit_postings.subscription_id,
        limit_postings.counted_for,
        limit_postings.price_id,
        limit_postings.price_version,
        limit_postings.charge = 'recurring' as fee,
        case
            when limit_postings.charge = 'recurring'
                and extract(day from limit_postings.usage_period) < accounts.billing_day
                then strftime(cast(limit_postings.usage_period - interval '1' month as date), '%Y-%m')
            else limit_postings.usage_month
        end as month,
        case
            when limit_postings.charge = 'recurring' then cast(0 as decimal(19, 0))
            else cast(limit_postings.after_quanta - coalesce(limit_postings.before_quanta, 0) as decimal(19, 0))
        end as quanta,
        limit_postings.amount
    from limit_postings
    inner join limited_accounts on limit_postings.account_id = limited_accounts.account_id
    inner join accounts on limit_postings.account_id = accounts.account_id
    where limit_postings.role = 'revenue'
        and limit_postings.charge in ('usage', 'recurring')
)

select
    counted.account_id,
    counted.subscription_id,
    counted.counted_for,
    counted.price_id,
    counted.price_version,
    counted.fee,
    counted.month,
    cast(sum(counted.quanta) as bigint) as quanta,
    cast(sum(counted.amount) as decimal(38, 18)) as amount
from counted
where counted.month >= $first_month
    and counted.month <= $last_month
group by
    counted.account_id,
    counted.subscription_id,
    counted.counted_for,
    counted.price_id,
    counted.price_version,
    counted.fee,
    counted.month
order by
    counted.account_id,
    counted.subscription_id,
    counted.counted_for,
    counted.price_id,
    counted.price_version,
    counted.fee,
    counted.month
