// Drift: each feature of a window beside its reference.

import { call } from "./calls.js";
import { element, format, histogram, refresh } from "./charts.js";

const byId = (id) => document.getElementById(id);
const STATES = {
  DRIFT_STATE_STEADY: ["good", "steady"],
  DRIFT_STATE_DRIFTED: ["bad", "drifted"],
  DRIFT_STATE_COLLECTING: ["muted", "collecting"],
  DRIFT_STATE_NO_REFERENCE: ["muted", "no reference"],
};

export async function look(model) {
  const drift = await call("DriftService", "GetDrift", { model });
  const windows = drift.windows ?? [];
  const select = byId("drift-window");
  if (select.options.length !== windows.length) {
    select.replaceChildren(...windows.map(({ duration }, place) => new Option(`the last ${spoken(duration)}`, place)));
  }
  const [kind, state] = STATES[drift.state] ?? ["muted", drift.state];
  const alarms = new Set((drift.alarms ?? []).map(({ feature }) => feature));
  const window = windows[Number(select.value)];
  refresh("drift",
    element("p", {}, `Version ${drift.version}: `, element("strong", { class: kind, id: "drift-state" }, state), `. ${drift.summary ?? ""}`),
    element("p", { class: "muted" }, `${format(window?.rows ?? 0)} predictions in the window; bars are the window, the line is the reference.`),
    element("div", { class: "columns" }, ...(window?.features ?? []).map((feature) => shown(feature, alarms.has(feature.name)))));
}

function shown(feature, alarmed) {
  const text = `PSI ${format(feature.psi)}, p ${format(feature.pValue)}`;
  return element("figure", {},
    element("figcaption", {}, feature.name, alarmed ? element("strong", { class: "bad" }, " drifted") : "", ` (${text})`),
    histogram(`${feature.name}${alarmed ? ", drifted" : ""}: ${text}`, (feature.window ?? []).map(Number), (feature.reference ?? []).map(Number)));
}

/** "300s" as people say it. */
export function spoken(duration) {
  const seconds = parseFloat(duration);
  const [size, name] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([unit]) => seconds >= unit) ?? [1, "second"];
  return seconds === size ? name : `${format(seconds / size)} ${name}s`;
}
