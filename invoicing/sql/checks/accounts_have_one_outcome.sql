-- Accounts of the roster or with charges that have no outcome or more than one.
-- in:   accounts, charges, draft_outcomes
-- out:  account_id, outcomes
with everybody as (
    select accounts.account_id
    from accounts
    union
    select charges.account_id
    from charges
),

counted as (
    select draft_outcomes.account_id, cast(count(*) as integer) as outcomes
    from draft_outcomes
    group by draft_outcomes.account_id
)

select everybody.account_id, counted.outcomes
from everybody
left join counted on everybody.account_id = counted.account_id
where counted.outcomes is null
    or counted.outcomes <> 1
order by everybody.account_id
