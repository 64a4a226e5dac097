-- The summary adds up, agrees with the accounts and says what the ledger says.
-- grain: one row per currency and rule that does not hold; none when all is well
-- in:    drafted_summary (SUMMARY), account_mrr (account_mrr.sql), revenue (revenue.sql), billed_lines (billed_lines.sql;
--        without rows while the run is not final)
-- out:   currency, rule, left_amount, right_amount
-- args:  none
with movements_add_up as (
    select
        currency, 'start + movements = end' as rule,
        cast(
            mrr_start + mrr_new + mrr_expansion + mrr_contraction + mrr_churn + mrr_reactivation as decimal(38, 4)
        ) as left_amount,
        mrr_end as right_amount
    from drafted_summary
), accounts_add_up as (
    select
        s.currency, 'end = sum of accounts' as rule, s.mrr_end as left_amount,
        cast(sum(coalesce(a.mrr_after, cast(0 as decimal(38, 4)))) as decimal(38, 4)) as right_amount
    from drafted_summary as s
    left join account_mrr as a on a.currency = s.currency
    group by s.currency, s.mrr_end
), ledger_agrees as (
    select
        b.currency, 'usage revenue = invoice lines' as rule,
        coalesce(r.usage_revenue, cast(0 as decimal(38, 4))) as left_amount,
        b.usage_revenue as right_amount
    from billed_lines as b
    left join revenue as r on r.currency = b.currency
), rules as (
    select currency, rule, left_amount, right_amount from movements_add_up
    union all
    select currency, rule, left_amount, right_amount from accounts_add_up
    union all
    select currency, rule, left_amount, right_amount from ledger_agrees
)
select currency, rule, left_amount, right_amount
from rules
where left_amount <> right_amount
order by currency, rule
