-- One row per posting of usage months that no run has looked at yet: all of them are to be billed, whatever their offsets.
-- A part of the view unbilled, for a run that looks at its whole snapshot; cut decides about the rest, older.
-- in:   postings (the snapshot)
-- out:  the columns of POSTINGS and late
-- args: after_month, through_month
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
    postings.windows,
    postings.book_version,
    postings.roster_version,
    postings.usage_period,
    postings.usage_period_end,
    postings.usage_month,
    postings.quantity_quanta,
    postings.reported_quanta,
    postings.value,
    postings.before_quanta,
    postings.after_quanta,
    postings.quantity_scale,
    postings.currency,
    postings.amount,
    postings.tax_class,
    postings.corrects,
    false as late
from postings
where postings.charge <> 'recurring'
    and postings.usage_month > $after_month
    and postings.usage_month <= $through_month
