-- One row per currency and role: what the ledger holds and where all of it is. For revenue nothing may be left over:
-- ledger_amount = later_amount + billed_amount + failed_amount + run_amount, exactly, over the whole history.
-- Shares and costs are settled, not invoiced; they are listed so that the numbers can be compared with the statements.
-- in:   sources (of the whole snapshot), run_postings, lines, runs, charges, failures, draft_lines
-- out:  currency, role, ledger_rows, ledger_amount, later_amount (usage of later months), billed_amount (lines of finalised
--       runs), failed_amount (left out by this run), run_amount (lines of this run), difference (null unless revenue)
-- args: period
with known as (
    select
        sources.currency,
        sources.role,
        sources.ledger_rows,
        sources.ledger_amount,
        sources.later_amount
    from sources
    union all
    select
        run_postings.currency,
        run_postings.role,
        cast(1 as bigint) as ledger_rows,
        run_postings.amount as ledger_amount,
        case
            when run_postings.charge = 'usage' and run_postings.usage_month > $period then run_postings.amount
            else cast(0 as decimal(38, 18))
        end as later_amount
    from run_postings
),

held as (
    select
        known.currency,
        known.role,
        cast(sum(known.ledger_rows) as bigint) as ledger_rows,
        cast(sum(known.ledger_amount) as decimal(38, 18)) as ledger_amount,
        cast(sum(known.later_amount) as decimal(38, 18)) as later_amount
    from known
    group by known.currency, known.role
),

final_runs as (
    select distinct runs.period
    from runs
    where runs.period < $period
),

billed as (
    select lines.currency, cast(sum(lines.exact_amount) as decimal(38, 18)) as amount
    from lines
    inner join final_runs on lines.period = final_runs.period
    group by lines.currency
),

failed as (
    select charges.currency, cast(sum(charges.exact_amount) as decimal(38, 18)) as amount
    from charges
    inner join failures on charges.account_id = failures.account_id
    group by charges.currency
),

drafted as (
    select draft_lines.currency, cast(sum(draft_lines.exact_amount) as decimal(38, 18)) as amount
    from draft_lines
    group by draft_lines.currency
),

parts as (
    select
        held.currency,
        held.role,
        held.ledger_rows,
        held.ledger_amount,
        held.later_amount,
        coalesce(billed.amount, cast(0 as decimal(38, 18))) as billed_amount,
        coalesce(failed.amount, cast(0 as decimal(38, 18))) as failed_amount,
        coalesce(drafted.amount, cast(0 as decimal(38, 18))) as run_amount
    from held
    left join billed on held.currency = billed.currency and held.role = 'revenue'
    left join failed on held.currency = failed.currency and held.role = 'revenue'
    left join drafted on held.currency = drafted.currency and held.role = 'revenue'
)

select
    parts.currency,
    parts.role,
    parts.ledger_rows,
    parts.ledger_amount,
    parts.later_amount,
    parts.billed_amount,
    parts.failed_amount,
    parts.run_amount,
    case
        when parts.role = 'revenue'
            then cast(
                parts.ledger_amount - parts.later_amount - parts.billed_amount - parts.failed_amount - parts.run_amount
                as decimal(38, 18)
            )
        else cast(null as decimal(38, 18))
    end as difference
from parts
order by parts.currency, parts.role
