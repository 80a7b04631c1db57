"""Reports of runs and sweeps in files: JSON, and HTML and Markdown that are drawn from the same.

    world ─▶ observer ─┬─ views ─┬─▶ building ─▶ shapes ─┬─▶ json                (its schema is report.schema.json)
                       ├─ times ─┤                       ├─▶ page ─ pictures ─ svg
                       └─ usage ─┘                       └─▶ ticket

An observer is told what the rules are told and keeps counts; it never looks at all pairs. Everything
that a page or a ticket says stands in the JSON, and the same run gives the same bytes.
"""
