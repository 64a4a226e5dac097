-- Both sides of the journal, summed over each side's own accounts.
-- grain: one row per currency
-- in:    journal
-- out:   currency, left (debits), right (credits)
with sides as (
    select currency, amount as debit, cast(0 as decimal(38, 18)) as credit
    from journal
    where debit_account is not null
    union all
    select currency, cast(0 as decimal(38, 18)) as debit, amount as credit
    from journal
    where credit_account is not null
)
select
    currency,
    cast(sum(debit) as decimal(38, 18)) as "left",
    cast(sum(credit) as decimal(38, 18)) as "right"
from sides
group by currency
order by currency
