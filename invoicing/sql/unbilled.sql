-- One row per posting that this run is to bill: every role, every account. Read as a view; nobody keeps it.
-- Usage is due by the month of its usage period; a recurring fee is due as soon as a run has posted it.
-- in:   postings (the snapshot), run_postings (rows the run itself adds; empty once they are in the ledger), cut, held_cut
-- out:  the columns of POSTINGS and late (the account was already billed for that usage month)
with known as (
    select
        postings.stream,
        postings.stream_partition,
        postings.stream_offset,
        postings.stream_row,
        postings.event_source,
        postings.event_id,
        postings.occurred_at,
        postings.dimensions,
        postings.account_id,
        postings.subscription_id,
        postings.counted_for,
        postings.role,
        postings.partner_id,
        postings.charge,
        postings.meter_id,
        postings.price_id,
        postings.price_version,
        postings.tier,
        postings.book_version,
        postings.roster_version,
        postings.usage_period,
        postings.usage_period_end,
        postings.usage_month,
        postings.quantity_quanta,
        postings.value,
        postings.before_quanta,
        postings.after_quanta,
        postings.quantity_scale,
        postings.currency,
        postings.amount,
        postings.tax_class,
        postings.corrects
    from postings
    union all
    select
        run_postings.stream,
        run_postings.stream_partition,
        run_postings.stream_offset,
        run_postings.stream_row,
        run_postings.event_source,
        run_postings.event_id,
        run_postings.occurred_at,
        run_postings.dimensions,
        run_postings.account_id,
        run_postings.subscription_id,
        run_postings.counted_for,
        run_postings.role,
        run_postings.partner_id,
        run_postings.charge,
        run_postings.meter_id,
        run_postings.price_id,
        run_postings.price_version,
        run_postings.tier,
        run_postings.book_version,
        run_postings.roster_version,
        run_postings.usage_period,
        run_postings.usage_period_end,
        run_postings.usage_month,
        run_postings.quantity_quanta,
        run_postings.value,
        run_postings.before_quanta,
        run_postings.after_quanta,
        run_postings.quantity_scale,
        run_postings.currency,
        run_postings.amount,
        run_postings.tax_class,
        run_postings.corrects
    from run_postings
),

placed as (
    select
        known.stream,
        known.stream_partition,
        known.stream_offset,
        known.stream_row,
        known.event_source,
        known.event_id,
        known.occurred_at,
        known.dimensions,
        known.account_id,
        known.subscription_id,
        known.counted_for,
        known.role,
        known.partner_id,
        known.charge,
        known.meter_id,
        known.price_id,
        known.price_version,
        known.tier,
        known.book_version,
        known.roster_version,
        known.usage_period,
        known.usage_period_end,
        known.usage_month,
        known.quantity_quanta,
        known.value,
        known.before_quanta,
        known.after_quanta,
        known.quantity_scale,
        known.currency,
        known.amount,
        known.tax_class,
        known.corrects,
        case when known.charge = 'recurring' then '' else known.usage_month end as due_month,
        cut.through_offset,
        cut.through_month,
        coalesce(held_cut.after_offset, cut.after_offset) as after_offset,
        coalesce(held_cut.after_month, cut.after_month) as after_month
    from known
    inner join cut
        on known.stream = cut.stream
        and known.stream_partition = cut.stream_partition
    left join held_cut
        on known.account_id = held_cut.account_id
        and known.stream = held_cut.stream
        and known.stream_partition = held_cut.stream_partition
)

select
    placed.stream,
    placed.stream_partition,
    placed.stream_offset,
    placed.stream_row,
    placed.event_source,
    placed.event_id,
    placed.occurred_at,
    placed.dimensions,
    placed.account_id,
    placed.subscription_id,
    placed.counted_for,
    placed.role,
    placed.partner_id,
    placed.charge,
    placed.meter_id,
    placed.price_id,
    placed.price_version,
    placed.tier,
    placed.book_version,
    placed.roster_version,
    placed.usage_period,
    placed.usage_period_end,
    placed.usage_month,
    placed.quantity_quanta,
    placed.value,
    placed.before_quanta,
    placed.after_quanta,
    placed.quantity_scale,
    placed.currency,
    placed.amount,
    placed.tax_class,
    placed.corrects,
    placed.charge <> 'recurring' and placed.usage_month <= placed.after_month as late
from placed
where placed.stream_offset <= placed.through_offset
    and placed.due_month <= placed.through_month
    and not (placed.stream_offset <= placed.after_offset and placed.due_month <= placed.after_month)
