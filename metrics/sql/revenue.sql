-- What the run of a month bills for usage and owes partners, exactly as the ledger has it.
-- grain: one row per currency
-- in:    billed (the rows of the run: the columns of POSTINGS and late)
-- out:   currency, usage_revenue (customers' usage), share_cost (partners' shares of usage and fees)
-- args:  none
select
    currency,
    cast(
        sum(case when role = 'revenue' and charge = 'usage' then amount else cast(0 as decimal(38, 18)) end)
        as decimal(38, 18)
    ) as usage_revenue,
    cast(sum(case when role = 'share' then amount else cast(0 as decimal(38, 18)) end) as decimal(38, 18)) as share_cost
from billed
group by currency
order by currency
