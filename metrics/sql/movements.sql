-- How monthly recurring revenue moved in a month: new, expansion, contraction, churn or reactivation, one word per account.
-- Nothing now after something: churn. Something after nothing: reactivation if the account had MRR at an earlier month's
-- end, else new. More: expansion. Less, while something is left: contraction. (ChartMogul's five, measured at month ends.)
-- grain: one row per account and currency whose MRR changed
-- in:    account_mrr (account_mrr.sql)
-- out:   MOVEMENTS (schemas/metrics.py)
-- args:  $period, YYYY-MM
select
    cast($period as varchar) as period,
    account_id,
    currency,
    case
        when mrr_after = 0 then 'churn'
        when mrr_before = 0 and paid_before then 'reactivation'
        when mrr_before = 0 then 'new'
        when mrr_after > mrr_before then 'expansion'
        else 'contraction'
    end as movement,
    mrr_before,
    mrr_after,
    cast(mrr_after - mrr_before as decimal(38, 4)) as mrr_change
from account_mrr
where mrr_after <> mrr_before
order by account_id, currency
