"""Writes what each root costs into its README.md: `python terraform/cost/estimate.py [--check]`."""

import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
TERRAFORM = HERE.parent
BEGIN, END = "<!-- cost -->\n", "<!-- /cost -->\n"


def table(root: str, usage: dict[str, Any], prices: dict[str, Any]) -> str:
    """The cost of one root, as Markdown: dearest first, in US dollars a month."""
    kinds = prices[root.split("/")[1]]
    lines = [(amount * kinds[kind]["price"], amount, kinds[kind]) for kind, amount in usage["usage"].items()]
    rows = [
        f"| {kind['what']} | {amount:g} {kind['unit']} | {kind['price']:g} | {cost:.2f} |"
        for cost, amount, kind in sorted(lines, key=lambda line: -line[0])
    ]
    return "\n".join(
        [
            f"{usage['note']} List prices of {prices['as_of']}, without free tiers.",
            "",
            "| what | a month | USD each | USD |",
            "|---|--:|--:|--:|",
            *rows,
            f"| **together** | | | **{sum(cost for cost, *_ in lines):.0f}** |",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """1 with --check if a README is behind the data."""
    prices, usage = (yaml.safe_load((HERE / f"{name}.yaml").read_text()) for name in ("prices", "usage"))
    behind = 0
    for root, used in usage.items():
        file = TERRAFORM / root / "README.md"
        text = file.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        wanted = f"{before}{BEGIN}{table(root, used, prices)}{END}{after}"
        if wanted != text and "--check" in arguments:
            sys.stderr.write(f"{file.relative_to(TERRAFORM.parent)}: run `python terraform/cost/estimate.py`\n")
            behind = 1
        elif wanted != text:
            file.write_text(wanted)
    return behind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
