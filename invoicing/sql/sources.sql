-- One row per source, currency and role of the snapshot: its last offset, and what its rows add up to.
-- in:   postings
-- out:  stream, stream_partition, currency, role, last_offset, ledger_rows, ledger_amount, later_amount (usage of later months)
-- args: period
select
    postings.stream,
    postings.stream_partition,
    postings.currency,
    postings.role,
    max(postings.stream_offset) as last_offset,
    cast(count(*) as bigint) as ledger_rows,
    cast(sum(postings.amount) as decimal(38, 18)) as ledger_amount,
    cast(
        sum(
            case
                when postings.charge = 'usage' and postings.usage_month > $period then postings.amount
                else cast(0 as decimal(38, 18))
            end
        ) as decimal(38, 18)
    ) as later_amount
from postings
group by postings.stream, postings.stream_partition, postings.currency, postings.role
order by postings.stream, postings.stream_partition, postings.currency, postings.role
