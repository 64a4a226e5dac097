-- One row per tier that the aggregate of an invoice line touched with the rows of that line, with the tier's terms.
-- A discount is posted as '<list version>/<party>-<percent>%'; its tiers are those of the list version.
-- in:   line_rows, explained_line (one row of LINES), tiers
-- out:  tier, tier_from, tier_to, unit_price, package_size, flat, events (rows that ended in it), amount (of those rows)
with touched as (
    select
        line_rows.tier,
        cast(count(*) as bigint) as events,
        cast(sum(line_rows.amount) as decimal(38, 18)) as amount
    from line_rows
    group by line_rows.tier
),

own_terms as (
    select cast(count(*) as integer) as tiers
    from tiers
    inner join explained_line
        on tiers.price_id = explained_line.price_id
        and tiers.price_version = explained_line.price_version
),

terms as (
    select tiers.tier, tiers.tier_from, tiers.tier_to, tiers.unit_price, tiers.package_size, tiers.flat
    from tiers
    inner join explained_line on tiers.price_id = explained_line.price_id
    cross join own_terms
    where tiers.price_version = case
        when own_terms.tiers > 0 then explained_line.price_version
        else split_part(explained_line.price_version, '/', 1)
    end
)

select
    touched.tier,
    terms.tier_from,
    terms.tier_to,
    terms.unit_price,
    terms.package_size,
    terms.flat,
    touched.events,
    touched.amount
from touched
left join terms on touched.tier = terms.tier
order by touched.tier
