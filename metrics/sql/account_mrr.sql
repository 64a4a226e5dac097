-- Monthly recurring revenue of every account at the end of the month before and at the end of this one.
-- The end of a month is its last day: a fee counts when it is in force on that day (fee_from <= day < fee_to).
-- grain: one row per account and currency that ever had a fee in force by the later of the two days
-- in:    fees (FEES, schemas/metrics.py), currencies (currency, digits: decimals of its minor unit)
-- out:   account_id, currency, mrr_before, mrr_after, paid_before: had MRR at the end of some earlier month
-- args:  $period, YYYY-MM; $start_day, last day of the month before; $end_day, last day of the month
with valued as (
    select
        f.account_id, f.currency,
        case
            when f.fee_from <= $start_day and (f.fee_to is null or f.fee_to > $start_day) then f.monthly_fee
            else cast(0 as decimal(38, 18))
        end as fee_before,
        case
            when f.fee_from <= $end_day and (f.fee_to is null or f.fee_to > $end_day) then f.monthly_fee
            else cast(0 as decimal(38, 18))
        end as fee_after,
        case
            when f.monthly_fee > 0 and last_day(f.fee_from) <= $start_day
                and (f.fee_to is null or f.fee_to > last_day(f.fee_from)) then 1
            else 0
        end as counted_before
    from fees as f
    where f.fee_from <= $end_day
), summed as (
    select
        account_id, currency,
        cast(sum(fee_before) as decimal(38, 18)) as fee_before,
        cast(sum(fee_after) as decimal(38, 18)) as fee_after,
        max(counted_before) as counted_before
    from valued
    group by account_id, currency
)
select
    s.account_id,
    s.currency,
    case c.digits
        when 0 then cast(round(s.fee_before, 0) as decimal(38, 4))
        when 2 then cast(round(s.fee_before, 2) as decimal(38, 4))
        when 3 then cast(round(s.fee_before, 3) as decimal(38, 4))
        when 4 then cast(round(s.fee_before, 4) as decimal(38, 4))
    end as mrr_before,
    case c.digits
        when 0 then cast(round(s.fee_after, 0) as decimal(38, 4))
        when 2 then cast(round(s.fee_after, 2) as decimal(38, 4))
        when 3 then cast(round(s.fee_after, 3) as decimal(38, 4))
        when 4 then cast(round(s.fee_after, 4) as decimal(38, 4))
    end as mrr_after,
    case when s.counted_before = 1 then true else false end as paid_before
from summed as s
join currencies as c on c.currency = s.currency
order by s.account_id, s.currency
