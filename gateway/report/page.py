"""The page: nothing from anywhere else, light or dark."""

from collections.abc import Iterable

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Report</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; --first: #7a8699; --second: #c2410c }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse }
caption { text-align: left; font-weight: 600; padding: 1rem 0 .4rem }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; vertical-align: top }
caption, .number { white-space: nowrap }
.number { text-align: right; font-variant-numeric: tabular-nums }
td.hit { font-weight: 600 }
.drifted { font-weight: 600; color: var(--second) }
.first { fill: var(--first) } .second { fill: var(--second) }
line { stroke: currentColor; stroke-dasharray: 4 3 }
</style></head><body>
"""


def page(sections: Iterable[str]) -> str:
    """HTML of the sections, which are HTML themselves."""
    return f"{_HEAD}{''.join(sections)}</body></html>\n"
