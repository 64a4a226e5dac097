-- One row per aggregate that has rows from events, of prices with a flat fee at zero usage: there the fee has been charged.
-- in:   postings, prices
-- out:  counted_for, price_id, price_version, usage_period
with flat_prices as (
    select distinct prices.price_id
    from prices
    where prices.flat_at_zero
)

select distinct
    postings.counted_for,
    postings.price_id,
    postings.price_version,
    postings.usage_period
from postings
inner join flat_prices on postings.price_id = flat_prices.price_id
where postings.charge = 'usage'
    and postings.stream not like 'run:%'
order by postings.counted_for, postings.price_id, postings.price_version, postings.usage_period
