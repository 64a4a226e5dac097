-- The rows that the run of one period bills: what was unbilled at its positions, without the accounts that failed in it.
-- grain: one row per posting. Read as a view; nobody keeps it
-- in:    unbilled (POSTINGS and late, cut at the run's positions), failed_accounts (account_id)
-- out:   the columns of POSTINGS that settlement and metrics need, and late
-- args:  none
select
    u.stream, u.stream_partition, u.stream_offset, u.stream_row, u.event_source, u.event_id, u.role, u.partner_id, u.charge,
    u.account_id, u.subscription_id, u.price_id, u.price_version, u.usage_period, u.usage_month, u.before_quanta, u.after_quanta,
    u.quantity_scale, u.currency, u.amount, u.late
from unbilled as u
where not exists (
    select 1
    from failed_accounts as f
    where f.account_id = u.account_id
)
