-- The price version an invoice line was charged by, and the negotiated discount on it if its version names one.
-- in:   explained_line (one row of LINES), prices
-- out:  price_id, price_version (as posted), terms_version (whose terms apply), model, aggregation, unit, interval, included_units,
--       cap, floor, flat_at_zero, calendar_id, windows, split, valid_from, valid_to
select
    explained_line.price_id,
    explained_line.price_version,
    prices.price_version as terms_version,
    prices.model,
    meters.aggregation,
    meters.unit,
    prices.interval,
    prices.included_units,
    prices.cap,
    prices.floor,
    prices.flat_at_zero,
    prices.calendar_id,
    prices.windows,
    prices.split,
    prices.valid_from,
    prices.valid_to
from explained_line
inner join prices
    on explained_line.price_id = prices.price_id
    and (
        explained_line.price_version = prices.price_version
        or split_part(explained_line.price_version, '/', 1) = prices.price_version
    )
left join meters on prices.meter_id = meters.meter_id
order by case when explained_line.price_version = prices.price_version then 0 else 1 end
limit 1
