-- Charges of which finalised runs and this one together have billed other rows than the ledger holds up to here.
-- A row billed twice or left out shows as a different count or amount. Accounts that failed in this run are looked at next time.
-- in:   postings, run_postings, cut, lines, runs, draft_lines, failures
-- out:  account_id, subscription_id, price_id, price_version, usage_period, ledger_rows, billed_rows, ledger_amount, billed_amount
-- args: period
with known as (
    select
        postings.stream, postings.stream_partition, postings.stream_offset, postings.charge, postings.usage_month,
        postings.account_id, postings.subscription_id, postings.price_id, postings.price_version, postings.usage_period,
        postings.amount
    from postings
    where postings.role = 'revenue'
    union all
    select
        run_postings.stream, run_postings.stream_partition, run_postings.stream_offset, run_postings.charge,
        run_postings.usage_month, run_postings.account_id, run_postings.subscription_id, run_postings.price_id,
        run_postings.price_version, run_postings.usage_period, run_postings.amount
    from run_postings
    where run_postings.role = 'revenue'
),

due as (
    select
        known.account_id, known.subscription_id, known.price_id, known.price_version, known.usage_period,
        cast(count(*) as bigint) as events,
        cast(sum(known.amount) as decimal(38, 18)) as amount
    from known
    inner join cut
        on known.stream = cut.stream
        and known.stream_partition = cut.stream_partition
    left join failures on known.account_id = failures.account_id
    where known.stream_offset <= cut.through_offset
        and (known.charge = 'recurring' or known.usage_month <= cut.through_month)
        and failures.account_id is null
    group by known.account_id, known.subscription_id, known.price_id, known.price_version, known.usage_period
),

final_runs as (
    select distinct runs.period
    from runs
    where runs.period < $period
),

all_lines as (
    select
        lines.account_id, lines.subscription_id, lines.price_id, lines.price_version, lines.usage_period,
        lines.events, lines.exact_amount
    from lines
    inner join final_runs on lines.period = final_runs.period
    left join failures on lines.account_id = failures.account_id
    where failures.account_id is null
    union all
    select
        draft_lines.account_id, draft_lines.subscription_id, draft_lines.price_id, draft_lines.price_version,
        draft_lines.usage_period, draft_lines.events, draft_lines.exact_amount
    from draft_lines
),

billed as (
    select
        all_lines.account_id, all_lines.subscription_id, all_lines.price_id, all_lines.price_version, all_lines.usage_period,
        cast(sum(all_lines.events) as bigint) as events,
        cast(sum(all_lines.exact_amount) as decimal(38, 18)) as amount
    from all_lines
    group by
        all_lines.account_id, all_lines.subscription_id, all_lines.price_id, all_lines.price_version, all_lines.usage_period
)

select
    coalesce(due.account_id, billed.account_id) as account_id,
    coalesce(due.subscription_id, billed.subscription_id) as subscription_id,
    coalesce(due.price_id, billed.price_id) as price_id,
    coalesce(due.price_version, billed.price_version) as price_version,
    coalesce(due.usage_period, billed.usage_period) as usage_period,
    due.events as ledger_rows,
    billed.events as billed_rows,
    due.amount as ledger_amount,
    billed.amount as billed_amount
from due
full outer join billed
    on due.account_id = billed.account_id
    and due.subscription_id = billed.subscription_id
    and due.price_id = billed.price_id
    and due.price_version = billed.price_version
    and due.usage_period = billed.usage_period
where due.account_id is null
    or billed.account_id is null
    or due.events <> billed.events
    or due.amount <> billed.amount
order by account_id, subscription_id, price_id, price_version, usage_period
