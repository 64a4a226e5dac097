-- Series and years whose invoice numbers do not run 1, 2, 3 ... without a gap or a repeat.
-- in:   numbered (series, year, number: one row per invoice, final ones and those about to be)
-- out:  series, year, invoices, lowest, highest, different
with counted as (
    select
        numbered.series,
        numbered.year,
        cast(count(*) as bigint) as invoices,
        min(numbered.number) as lowest,
        max(numbered.number) as highest,
        cast(count(distinct numbered.number) as bigint) as different
    from numbered
    group by numbered.series, numbered.year
)

select counted.series, counted.year, counted.invoices, counted.lowest, counted.highest, counted.different
from counted
where counted.lowest <> 1
    or counted.highest <> counted.invoices
    or counted.different <> counted.invoices
order by counted.series, counted.year
