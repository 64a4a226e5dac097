-- Accounts of which finalised runs and this one together have taken off other deductions than the ledger holds up to here.
-- A row of a balance that was taken off twice or left out shows as another amount. Accounts that failed in this run are looked
-- at next time.
-- in:   postings, cut, outcomes, runs, draft_outcomes, failures
-- out:  account_id, ledger_amount, billed_amount
-- args: period
with due as (
    select postings.account_id, cast(sum(cast(-postings.amount as decimal(38, 18))) as decimal(38, 18)) as amount
    from postings
    inner join cut
        on postings.stream = cut.stream
        and postings.stream_partition = cut.stream_partition
    left join failures on postings.account_id = failures.account_id
    where postings.role = 'balance'
        and postings.charge = 'deduct'
        and postings.stream_offset <= cut.through_offset
        and postings.usage_month <= cut.through_month
        and failures.account_id is null
    group by postings.account_id
),

final_runs as (
    select distinct runs.period
    from runs
    where runs.period < $period
),

all_outcomes as (
    select outcomes.account_id, outcomes.taken_amount
    from outcomes
    inner join final_runs on outcomes.period = final_runs.period
    union all
    select draft_outcomes.account_id, draft_outcomes.taken_amount
    from draft_outcomes
),

billed as (
    select all_outcomes.account_id, cast(sum(all_outcomes.taken_amount) as decimal(38, 18)) as amount
    from all_outcomes
    left join failures on all_outcomes.account_id = failures.account_id
    where all_outcomes.taken_amount is not null
        and failures.account_id is null
    group by all_outcomes.account_id
)

select
    coalesce(due.account_id, billed.account_id) as account_id,
    due.amount as ledger_amount,
    billed.amount as billed_amount
from due
full outer join billed on due.account_id = billed.account_id
where coalesce(due.amount, cast(0 as decimal(38, 18))) <> coalesce(billed.amount, cast(0 as decimal(38, 18)))
order by account_id
