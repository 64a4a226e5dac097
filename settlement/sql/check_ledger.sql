-- A statement says what the ledger says: what was billed up to this period less what was billed before it.
-- grain: one row per partner and currency whose statement differs from the ledger; none when all is well
-- in:    drafted_lines (STATEMENT_LINES of one period), postings, runs
-- out:   partner_id, currency, events, ledger_events, exact_amount, ledger_amount
-- args:  $period
with shares as (
    select stream, stream_partition, stream_offset, usage_month, charge, partner_id, currency, amount
    from postings
    where role = 'share'
), ledger_rows as (
    select s.partner_id, s.currency, cast(1 as bigint) as events, s.amount
    from shares as s
    where s.charge = 'usage'
        and exists (
            select 1
            from runs as r
            where r.stream = s.stream and r.stream_partition = s.stream_partition and r.through_offset >= s.stream_offset
                and r.period >= s.usage_month and r.period <= $period
        )
    union all
    select s.partner_id, s.currency, cast(-1 as bigint) as events, cast(-s.amount as decimal(38, 18)) as amount
    from shares as s
    where s.charge = 'usage'
        and exists (
            select 1
            from runs as r
            where r.stream = s.stream and r.stream_partition = s.stream_partition and r.through_offset >= s.stream_offset
                and r.period >= s.usage_month and r.period < $period
        )
    union all
    select s.partner_id, s.currency, cast(1 as bigint) as events, s.amount
    from shares as s
    where s.charge = 'recurring' and s.stream = concat('run:', $period)
), ledger_totals as (
    select
        partner_id, currency, cast(sum(events) as bigint) as events, cast(sum(amount) as decimal(38, 18)) as amount
    from ledger_rows
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
