// Traffic by version.

import { between, byVersion, parse, quantile } from "./metrics.js";
import { format, lines, percent, refresh, table } from "./charts.js";

// Looks that the charts show.
const HISTORY = 60;

let before = null;
let rates = new Map();
let latencies = new Map();

export function reset() {
  before = null;
  rates = new Map();
  latencies = new Map();
}

export async function look(model) {
  const response = await fetch("../metrics");
  const at = performance.now();
  const now = byVersion(parse(await response.text()), model);
  now.delete("0");
  if (before) {
    const seconds = (at - before.at) / 1000;
    const rows = [];
    for (const [version, { calls, failed, buckets }] of between(before.counts, now)) {
      push(rates, `version ${version}`, calls / seconds);
      push(latencies, `version ${version}`, 1000 * quantile(buckets, 0.95));
      const total = now.get(version);
      rows.push([version, format(calls / seconds), percent(calls ? failed / calls : NaN),
        ...[0.5, 0.95, 0.99].map((q) => format(1000 * quantile(buckets, q))), format(total.calls), percent(total.failed / total.calls)]);
    }
    refresh("rate-chart", ...lines(rates, "per second"));
    refresh("latency-chart", ...lines(latencies, "ms"));
    refresh("traffic", table("Predictions now and since the gateway started",
      ["Version", "Calls/s", "Failed", "p50 ms", "p95 ms", "p99 ms", "Calls in all", "Failed in all"], rows));
  }
  before = { at, counts: now };
}

function push(series, name, value) {
  const values = [...(series.get(name) ?? []), value];
  series.set(name, values.slice(-HISTORY));
}
