"""Published tables run again, and the goals of membership as figures: measured, not judged.

    command ─▶ studies ─▶ kinship, swim, lifeguard     a table each: cells, and what a row says of their samples
       │          │
       │          ├─ samples ── diary                  one cell with one seed; kept in a file, so that work can go on
       │          └─ tables                            Markdown, also between the marks in README.md
       └─────▶ figures ── goals                        one number each, beside its goal and the best peer's

Every cell is a scenario like any other: `--show` prints it, and `run` repeats it.
"""
