"""What usage costs: events in, exact postings out. Pure: no clock, no files, no stream, no database."""
