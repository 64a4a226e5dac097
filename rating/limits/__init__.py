"""Limits: what looks at a whole usage period or contract. Computed by the bill run, never by the stream."""
