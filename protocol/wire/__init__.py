"""Bodies of messages, one file a family; `kinds` lists them all.

A body is a frozen, array-like struct with a tag. The wire grows by fields with defaults at the
end, which older nodes skip; a tag is never reused.
"""
