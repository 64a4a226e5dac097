-- No row of a balance is missing or there twice: those of an account are numbered 1, 2, 3 ...
-- grain: one row
-- in:    postings
-- out:   currency (null), left (rows), right (rows of accounts whose numbers have no gap and no double)
with numbered as (
    select
        account_id,
        cast(count(*) as bigint) as balance_rows,
        cast(count(distinct after_quanta) as bigint) as numbers,
        cast(max(after_quanta) as bigint) as last_number
    from postings
    where role in ('balance', 'hold', 'notice')
    group by account_id
)
select
    cast(null as varchar) as currency,
    cast(coalesce(sum(balance_rows), 0) as decimal(38, 18)) as "left",
    cast(
        coalesce(
            sum(case when balance_rows = numbers and numbers = last_number then balance_rows else cast(0 as bigint) end), 0
        ) as decimal(38, 18)
    ) as "right"
from numbered
