-- A statement says what the ledger says: its lines add up to the share rows of the run, row for row.
-- grain: one row per partner and currency whose statement differs from the ledger; none when all is well
-- in:    drafted_lines (STATEMENT_LINES of one period), billed (the rows of the run: POSTINGS and late)
-- out:   partner_id, currency, events, ledger_events, exact_amount, ledger_amount
-- args:  none
with ledger_totals as (
    select
        partner_id, currency, cast(count(*) as bigint) as events, cast(sum(amount) as decimal(38, 18)) as amount
    from billed
    where role = 'share'
    group by partner_id, currency
), totals as (
    select
        partner_id, currency, cast(sum(events) as bigint) as events, cast(sum(exact_amount) as decimal(38, 18)) as amount
    from drafted_lines
    group by partner_id, currency
)
select
    coalesce(t.partner_id, g.partner_id) as partner_id,
    coalesce(t.currency, g.currency) as currency,
    coalesce(t.events, cast(0 as bigint)) as events,
    coalesce(g.events, cast(0 as bigint)) as ledger_events,
    coalesce(t.amount, cast(0 as decimal(38, 18))) as exact_amount,
    coalesce(g.amount, cast(0 as decimal(38, 18))) as ledger_amount
from totals as t
full join ledger_totals as g on g.partner_id = t.partner_id and g.currency = t.currency
where coalesce(t.events, cast(0 as bigint)) <> coalesce(g.events, cast(0 as bigint))
    or coalesce(t.amount, cast(0 as decimal(38, 18))) <> coalesce(g.amount, cast(0 as decimal(38, 18)))
order by partner_id, currency
