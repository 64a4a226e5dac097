-- The ledger as a double-entry journal: every posting debits one account and credits another by the same amount.
-- grain: one row per posting
-- in:    postings (schemas/ledger.py)
-- out:   position, entry_date, debit_account, credit_account, amount, and the parties and items for subledgers
-- revenue: unbilled receivable to revenue. share: partner shares to partners payable. cost: carrier costs to carriers payable.
-- A negative amount stays on its side as a red entry, so the turnover of an account is what it really earned or cost.
select
    stream,
    stream_partition,
    stream_offset,
    stream_row,
    usage_period as entry_date,
    case role
        when 'revenue' then 'unbilled_receivable'
        when 'share' then 'partner_shares'
        when 'cost' then 'carrier_costs'
    end as debit_account,
    case role
        when 'revenue' then 'revenue'
        when 'share' then 'partners_payable'
        when 'cost' then 'carriers_payable'
    end as credit_account,
    amount,
    currency,
    role,
    charge,
    account_id,
    partner_id,
    subscription_id,
    price_id,
    event_id
from postings
