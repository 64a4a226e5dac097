-- The rows of the ledger behind one invoice line: those that the bill run added up for it.
-- in:   unbilled (of the line's run), explained_line (one row of LINES)
-- out:  the columns of POSTINGS that explain an amount; quantities in quanta
select
    unbilled.stream,
    unbilled.stream_partition,
    unbilled.stream_offset,
    unbilled.stream_row,
    unbilled.event_source,
    unbilled.event_id,
    unbilled.occurred_at,
    unbilled.dimensions,
    unbilled.tier,
    unbilled.windows,
    unbilled.book_version,
    unbilled.roster_version,
    unbilled.quantity_scale,
    unbilled.quantity_quanta,
    unbilled.reported_quanta,
    unbilled.before_quanta,
    unbilled.after_quanta,
    unbilled.amount
from unbilled
inner join explained_line
    on unbilled.account_id = explained_line.account_id
    and unbilled.subscription_id = explained_line.subscription_id
    and unbilled.charge = explained_line.charge
    and unbilled.price_id = explained_line.price_id
    and unbilled.price_version = explained_line.price_version
    and unbilled.usage_period = explained_line.usage_period
    and unbilled.usage_period_end = explained_line.usage_period_end
    and unbilled.late = explained_line.late
where unbilled.role = 'revenue'
