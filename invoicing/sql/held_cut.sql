-- One row per account that failed in the last finalised run, and source: the account was last billed by an earlier run, or never.
-- Stands in for the `after_` columns of cut for the rows of that account, so what was left out is billed now.
-- in:   reached, runs, outcomes
-- out:  account_id, stream, stream_partition, after_offset (-1: never billed), after_month ('': never billed)
-- args: period
with earlier_runs as (
    select distinct runs.period
    from runs
    where runs.period < $period
),

last_run as (
    select max(earlier_runs.period) as period
    from earlier_runs
),

failed as (
    select outcomes.account_id, outcomes.period
    from outcomes
    inner join earlier_runs on outcomes.period = earlier_runs.period
    where outcomes.outcome = 'failed'
),

held as (
    select failed.account_id
    from failed
    inner join last_run on failed.period = last_run.period
),

billed_until as (
    select held.account_id, max(earlier_runs.period) as period
    from held
    cross join earlier_runs
    left join failed
        on held.account_id = failed.account_id
        and earlier_runs.period = failed.period
    where failed.account_id is null
    group by held.account_id
)

select
    held.account_id,
    reached.stream,
    reached.stream_partition,
    coalesce(runs.through_offset, cast(-1 as bigint)) as after_offset,
    coalesce(billed_until.period, '') as after_month
from held
cross join reached
left join billed_until on held.account_id = billed_until.account_id
left join runs
    on billed_until.period = runs.period
    and reached.stream = runs.stream
    and reached.stream_partition = runs.stream_partition
order by held.account_id, reached.stream, reached.stream_partition
