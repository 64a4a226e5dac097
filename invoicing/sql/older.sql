-- One row per posting about which offsets decide: of usage months that a run has looked at, or a recurring fee of any month.
-- in:   postings (the snapshot)
-- out:  the columns of POSTINGS
-- args: after_month
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
    postings.corrects
from postings
where postings.charge = 'recurring'
    or postings.usage_month <= $after_month
