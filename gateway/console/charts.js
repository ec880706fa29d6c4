// Elements, tables and small charts.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [480, 160, 44, 20];

/** An element with attributes and children; texts are never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Replaces what is in the element of that id, unless somebody's focus is within it. */
export function refresh(id, ...children) {
  const container = document.getElementById(id);
  if (!container.contains(document.activeElement)) container.replaceChildren(...children);
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A table with a caption; cells are texts, numbers or nodes. Columns of words are aligned as words are. */
export function table(caption, head, rows, attributes = {}) {
  const words = head.map((_, column) => rows.every((row) => typeof (row[column] ?? "") === "string" && !/^[-–\d]/.test(row[column] ?? "")));
  const cell = (value, column) => element(column === 0 ? "th" : "td", { scope: column === 0 && "row", class: words[column] && "words" }, value ?? "");
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", attributes,
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...head.map((name, column) => element("th", { scope: "col", class: words[column] && "words" }, name)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell))))));
}

/** Lines over time: series is a Map of name → numbers, oldest first, NaN for none. */
export function lines(series, unit) {
  const all = [...series.values()].flat().filter(Number.isFinite);
  const top = niceCeiling(Math.max(...all, 1e-9));
  const length = Math.max(...[...series.values()].map((values) => values.length), 2);
  const x = (place) => LEFT + (WIDTH - LEFT - 4) * place / (length - 1);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 8) * value / top;
  const latest = [...series].map(([name, values]) => `${name}: ${format(values.at(-1))} ${unit}`).join(", ");
  const chart = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": latest || "no traffic" });
  for (const value of [0, top / 2, top]) {
    chart.append(drawn("line", { class: "axis", x1: LEFT, x2: WIDTH - 4, y1: y(value), y2: y(value) }),
      drawn("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  [...series.values()].forEach((values, number) => {
    const offset = length - values.length;
    const points = values.flatMap((value, place) => (Number.isFinite(value) ? [`${x(place + offset)},${y(value)}`] : []));
    chart.append(drawn("polyline", { class: `series-${number % 4}`, points: points.join(" ") }));
  });
  return [chart, legend([...series.keys()])];
}

export function legend(names) {
  return element("ul", { class: "legend" }, ...names.map((name, number) => element("li", {},
    drawn("svg", { viewBox: "0 0 20 12", "aria-hidden": "true" },
      drawn("rect", { class: `series-${number % 4}`, width: 20, height: 12, rx: 2 })), name)));
}

/** Shares of the same bins, now as bars and the reference as an outline. */
export function histogram(label, now, reference) {
  const [height, width] = [80, 240];
  const shares = (counts) => counts.map((count) => count / Math.max(counts.reduce((a, b) => a + b, 0), 1));
  const [current, expected] = [shares(now), shares(reference)];
  const top = Math.max(...current, ...expected, 1e-9);
  const step = width / Math.max(current.length, 1);
  const chart = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  current.forEach((share, bin) => chart.append(drawn("rect", {
    class: "series-0", x: bin * step + 1, width: Math.max(step - 2, 1), y: height - height * share / top, height: height * share / top,
  })));
  const path = expected.flatMap((share, bin) => [bin, bin + 1].map((edge) => `${edge * step},${height - (height - 2) * share / top}`));
  chart.append(drawn("polyline", { class: "outline", points: path.join(" ") }));
  return chart;
}

/** A number for people: three figures, and a dash for none. */
export function format(value, digits = 3) {
  if (value === undefined || value === null || !Number.isFinite(Number(value))) return "–";
  const number = Number(value);
  return Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en") : String(Number(number.toPrecision(digits)));
}

export function percent(value) {
  return value === undefined || !Number.isFinite(Number(value)) ? "–" : `${(100 * Number(value)).toFixed(1)} %`;
}

function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}
