"""Two captures beside each other: a row and a chart for each feature."""

from collections.abc import Sequence
from html import escape

from gateway.drift.comparison import Comparison

_WIDTH, _HEIGHT, _GAP = 320, 90, 4


def section(comparisons: Sequence[Comparison], reference: str, current: str, *, alpha: float, min_psi: float) -> str:
    """HTML that says of each feature how far `current` is from `reference`, which are named so."""
    drifted = [each for each in comparisons if has_drifted(each, alpha=alpha, min_psi=min_psi)]
    names = ", ".join(escape(each.feature.name) for each in drifted) or "none"
    rows = "\n".join(_row(each, drifted=each in drifted) for each in comparisons)
    return f"""<h1>Drift</h1>
<p><svg width="12" height="12"><rect class="first" width="12" height="12"/></svg> {escape(reference)}
&nbsp; <svg width="12" height="12"><rect class="second" width="12" height="12"/></svg> {escape(current)}</p>
<p>Drifted: <strong>{names}</strong>. A feature has if its population stability index (PSI) is {min_psi:g} or more and
its p-value, by chi-squared and Kolmogorov–Smirnov, corrected by Holm over all features, is below {alpha:g}.</p>
<div class="scroll"><table>
<thead><tr><th>feature<th>rows<th>PSI<th>Jensen–Shannon<th>p-value<th><th>shares by bin</tr></thead>
<tbody>
{rows}
</tbody></table></div>
"""


def has_drifted(comparison: Comparison, *, alpha: float, min_psi: float) -> bool:
    """Whether a single look finds a difference that is certain and large enough."""
    return comparison.p_value < alpha and comparison.psi >= min_psi


def _row(comparison: Comparison, *, drifted: bool) -> str:
    numbers = (
        f"{comparison.feature.reference.sum()} / {comparison.rows}",
        f"{comparison.psi:.3f}",
        f"{comparison.jensen_shannon:.3f}",
        f"{comparison.p_value:.2g}",
    )
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    mark = '<span class="drifted">drifted</span>' if drifted else ""
    return f"<tr><td>{escape(comparison.feature.name)}</td>{cells}<td>{mark}</td><td>{_chart(comparison)}</td></tr>"


def _chart(comparison: Comparison) -> str:
    feature = comparison.feature
    first, second = (counts / max(int(counts.sum()), 1) for counts in (feature.reference, comparison.counts))
    top = max(first.max(), second.max(), 1e-9)
    width = _WIDTH / len(first)
    edges = feature.histogram.edges if feature.histogram else ()
    bars = []
    for place in range(len(first)):
        title = f"{edges[place]:.4g} to {edges[place + 1]:.4g}" if edges else feature.labels[place]
        pair = zip(("first", "second"), (first[place], second[place]), strict=True)
        for half, (name, share) in enumerate(pair):
            height, left = _HEIGHT * share / top, place * width + half * (width - _GAP) / 2
            bars.append(
                f'<rect class="{name}" x="{left:.1f}" y="{_HEIGHT - height:.1f}" width="{(width - _GAP) / 2:.1f}" '
                f'height="{height:.1f}"><title>{escape(title)}: {share:.1%}</title></rect>'
            )
    label = f"Shares of {feature.name} by bin"
    return f'<svg role="img" aria-label="{escape(label)}" width="{_WIDTH}" height="{_HEIGHT}">{"".join(bars)}</svg>'
