// What /metrics says, and what it says about the time between two looks.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** The samples of Prometheus's text format: [{name, labels, value}]. */
export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = LINE.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character));
    }
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

/** The value below which a share of `q` of a histogram's values lies, by linear interpolation; buckets: [[le, count]]. */
export function quantile(buckets, q) {
  const sorted = [...buckets].sort((a, b) => a[0] - b[0]);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (!total) return NaN;
  let [low, below] = [0, 0];
  for (const [le, count] of sorted) {
    if (count >= q * total) {
      return le === Infinity ? low : low + (le - low) * (q * total - below) / Math.max(count - below, 1e-9);
    }
    [low, below] = [le, count];
  }
  return low;
}

/** What was counted of predictions of `model`, by version: {calls, failed, buckets}. */
export function byVersion(samples, model) {
  const versions = new Map();
  const of = (labels) => {
    if (!versions.has(labels.version)) versions.set(labels.version, { calls: 0, failed: 0, buckets: new Map() });
    return versions.get(labels.version);
  };
  for (const { name, labels, value } of samples) {
    if (labels.model !== model || !/Predict|Infer|Classify|Regress/.test(labels.method ?? "")) continue;
    if (name === "tensorgate_calls_total") {
      of(labels).calls += value;
      if (labels.code !== "OK") of(labels).failed += value;
    } else if (name === "tensorgate_call_seconds_bucket") {
      const le = labels.le === "+Inf" ? Infinity : Number(labels.le);
      const { buckets } = of(labels);
      buckets.set(le, (buckets.get(le) ?? 0) + value);
    }
  }
  return versions;
}

/** `now` less `before`, both of byVersion; a counter that fell was started again. */
export function between(before, now) {
  const difference = new Map();
  for (const [version, counts] of now) {
    const old = before?.get(version) ?? { calls: 0, failed: 0, buckets: new Map() };
    const restarted = counts.calls < old.calls;
    const less = (value, by) => (restarted ? value : value - (by ?? 0));
    difference.set(version, {
      calls: less(counts.calls, old.calls),
      failed: less(counts.failed, old.failed),
      buckets: [...counts.buckets].map(([le, count]) => [le, less(count, old.buckets.get(le))]),
    });
  }
  return difference;
}
