-- No row of the ledger is there twice: as many rows as distinct positions.
-- grain: one row
-- in:    postings
-- out:   currency (null), left (rows), right (distinct positions)
with positions as (
    select distinct stream, stream_partition, stream_offset, stream_row
    from postings
), counted as (
    select
        (select cast(count(*) as bigint) from postings) as posting_rows,
        (select cast(count(*) as bigint) from positions) as position_rows
)
select
    cast(null as varchar) as currency,
    cast(posting_rows as decimal(38, 18)) as "left",
    cast(position_rows as decimal(38, 18)) as "right"
from counted
