-- One row per source in the snapshot: its last offset. A commit holds whole messages in order, so all rows up to it are there.
-- in:   sources
-- out:  POSITIONS
select
    sources.stream,
    sources.stream_partition,
    max(sources.last_offset) as through_offset
from sources
group by sources.stream, sources.stream_partition
order by sources.stream, sources.stream_partition
