-- The ledger as a double-entry journal: every posting debits one account and credits another by the same amount.
-- balance: a top-up is cash to customer deposits; what usage takes of it goes from customer deposits to unbilled receivable.
-- grain: one row per posting; holds and notices move no money and are not in it
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
        when 'balance' then case when charge = 'deduct' then 'customer_deposits' else 'cash_clearing' end
    end as debit_account,
    case role
        when 'revenue' then 'revenue'
        when 'share' then 'partners_payable'
        when 'cost' then 'carriers_payable'
        when 'balance' then case when charge = 'deduct' then 'unbilled_receivable' else 'customer_deposits' end
    end as credit_account,
    case
        when role = 'balance' and charge = 'deduct' then cast(-amount as decimal(38, 18))
        else cast(amount as decimal(38, 18))
    end as amount,
    currency,
    role,
    charge,
    account_id,
    partner_id,
    subscription_id,
    price_id,
    event_id
from postings
where role in ('revenue', 'share', 'cost', 'balance')
