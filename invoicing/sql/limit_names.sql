-- One row per charge that a limit made: what it is called on the invoice.
-- A floor is of a price ('<price>/floor'), an overage of a commitment ('<limit>/overage'), a pool names the price it covers.
-- in:   charges, limits, prices
-- out:  charge, price_id, price_version, name_en, name_zh
with made as (
    select distinct charges.charge, charges.price_id, charges.price_version
    from charges
    where charges.charge not in ('usage', 'recurring')
),

priced as (
    select prices.price_id, max(prices.name_en) as name_en, max(prices.name_zh) as name_zh
    from prices
    group by prices.price_id
),

named as (
    select
        made.charge,
        made.price_id,
        made.price_version,
        coalesce(limits.name_en, priced.name_en, made.price_id) as own_en,
        coalesce(limits.name_zh, priced.name_zh, made.price_id) as own_zh,
        coalesce(covered.name_en, made.price_version) as covered_en,
        coalesce(covered.name_zh, made.price_version) as covered_zh
    from made
    left join limits on split_part(made.price_id, '/', 1) = limits.limit_id and made.charge <> 'floor'
    left join priced on split_part(made.price_id, '/', 1) = priced.price_id and made.charge = 'floor'
    left join priced as covered on made.price_version = covered.price_id and made.charge = 'pool'
)

select
    named.charge,
    named.price_id,
    named.price_version,
    case named.charge
        when 'pool' then named.own_en || ': ' || named.covered_en
        when 'floor' then named.own_en || ': minimum'
        when 'overage' then named.own_en || ': overage'
        when 'cap' then named.own_en || ': beyond the limit'
        else named.own_en || ': not used'
    end as name_en,
    case named.charge
        when 'pool' then named.own_zh || '：' || named.covered_zh
        when 'floor' then named.own_zh || '：最低消费补足'
        when 'overage' then named.own_zh || '：超出承诺部分'
        when 'cap' then named.own_zh || '：超出上限部分'
        else named.own_zh || '：未用足部分'
    end as name_zh
from named
order by named.charge, named.price_id, named.price_version
