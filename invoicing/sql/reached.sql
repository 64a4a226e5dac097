-- One row per source in the snapshot: its last offset. A commit holds whole messages in order, so all rows up to it are there.
-- in:   postings
-- out:  POSITIONS
select
    postings.stream,
    postings.stream_partition,
    max(postings.stream_offset) as through_offset
from postings
group by postings.stream, postings.stream_partition
order by postings.stream, postings.stream_partition
