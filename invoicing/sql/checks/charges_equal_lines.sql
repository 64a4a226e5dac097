-- Accounts and currencies whose lines do not add up, exactly, to the charges of the ledger, in amount or in rows.
-- in:   charges, failures, draft_lines
-- out:  account_id, currency, charged_amount, lines_amount, charged_rows, lines_rows
with charged as (
    select
        charges.account_id,
        charges.currency,
        cast(sum(charges.exact_amount) as decimal(38, 18)) as amount,
        cast(sum(charges.events) as bigint) as events
    from charges
    left join failures on charges.account_id = failures.account_id
    where failures.account_id is null
    group by charges.account_id, charges.currency
),

lined as (
    select
        draft_lines.account_id,
        draft_lines.currency,
        cast(sum(draft_lines.exact_amount) as decimal(38, 18)) as amount,
        cast(sum(draft_lines.events) as bigint) as events
    from draft_lines
    group by draft_lines.account_id, draft_lines.currency
)

select
    coalesce(charged.account_id, lined.account_id) as account_id,
    coalesce(charged.currency, lined.currency) as currency,
    charged.amount as charged_amount,
    lined.amount as lines_amount,
    charged.events as charged_rows,
    lined.events as lines_rows
from charged
full outer join lined
    on charged.account_id = lined.account_id
    and charged.currency = lined.currency
where charged.account_id is null
    or lined.account_id is null
    or charged.amount <> lined.amount
    or charged.events <> lined.events
order by account_id, currency
