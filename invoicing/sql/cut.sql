-- One row per source (stream and partition) in the snapshot: which of its rows this run looks at.
-- A row is to be billed when its offset is at most `through_offset` and its usage month at most `through_month`, unless the
-- last finalised run has billed it: offset at most `after_offset` and usage month at most `after_month`.
-- in:   reached (stream, stream_partition, through_offset: the snapshot's last offsets), runs
-- out:  stream, stream_partition, through_offset, through_month, after_offset (-1: none), after_month ('': none)
-- args: period
with last_run as (
    select max(runs.period) as period
    from runs
    where runs.period < $period
),

billed as (
    select runs.stream, runs.stream_partition, runs.through_offset
    from runs
    inner join last_run on runs.period = last_run.period
)

select
    reached.stream,
    reached.stream_partition,
    reached.through_offset,
    cast($period as varchar) as through_month,
    coalesce(billed.through_offset, cast(-1 as bigint)) as after_offset,
    coalesce(last_run.period, '') as after_month
from reached
cross join last_run
left join billed
    on reached.stream = billed.stream
    and reached.stream_partition = billed.stream_partition
order by reached.stream, reached.stream_partition
