// Quality: how good each version is, by the labels that came back.

import { call } from "./calls.js";
import { element, format, percent, refresh, table } from "./charts.js";

const byId = (id) => document.getElementById(id);
const WINDOWS = { QUALITY_WINDOW_HOUR: "the last hour", QUALITY_WINDOW_DAY: "the last day", QUALITY_WINDOW_WEEK: "the last week", QUALITY_WINDOW_ALL: "all time" };
const interval = (figure, write) => {
  if (!figure) return "–";
  const range = figure.low === undefined ? "" : ` (${write(figure.low).replace(" %", "")} to ${write(figure.high)})`;
  return write(figure.value ?? 0) + range;
};

export async function look(model) {
  const select = byId("quality-window");
  if (!select.options.length) {
    select.replaceChildren(...Object.entries(WINDOWS).map(([value, text]) => new Option(text, value)));
  }
  const { qualities = [] } = await call("QualityService", "GetQuality", { model, window: select.value });
  if (!qualities.length) {
    refresh("quality", element("p", { class: "muted" }, "No predictions in this window."));
    return;
  }
  const figures = qualities.find(({ regression }) => regression) ? REGRESSION : CLASSIFICATION;
  const head = ["Version", "Variant", "Predictions", "Labels", ...figures.map(([title]) => title), "Without labels, estimated"];
  refresh("quality",
    table("Figures with their 95 % intervals", head, qualities.map((quality) => [
      quality.version, quality.variant, format(quality.predictions), `${format(quality.labels)} (${percent(quality.labelCoverage?.value)})`,
      ...figures.map(([, of, write]) => interval(of(quality), write)), interval(quality.estimatedAccuracy?.accuracy, percent)])),
    ...qualities.filter(({ classification }) => classification).flatMap(classes));
}

const CLASSIFICATION = [
  ["Accuracy", ({ classification }) => classification?.accuracy, percent],
  ["Macro F1", ({ classification }) => classification?.macroF1, format],
  ["Log loss", ({ classification }) => classification?.logLoss, format],
  ["Calibration error", ({ classification }) => classification?.calibrationError, format],
];
const REGRESSION = [
  ["RMSE", ({ regression }) => regression?.rmse, format],
  ["MAE", ({ regression }) => regression?.mae, format],
  ["Bias", ({ regression }) => regression?.bias, format],
];

function classes({ version, variant, classification }) {
  const found = classification.classes ?? [];
  const counts = new Map((classification.confusion ?? []).map(({ actual = 0, predicted = 0, count }) => [`${actual},${predicted}`, Number(count)]));
  const name = ({ label, classIndex = 0 }) => label || String(classIndex);
  const cell = (row, column) => {
    const count = counts.get(`${row.classIndex ?? 0},${column.classIndex ?? 0}`) ?? 0;
    return element("span", { class: count === 0 ? "muted" : row !== column && "mistake" }, String(count));
  };
  return [
    table(`Confusion matrix of version ${version}, ${variant}: true classes down, predicted across`, ["", ...found.map(name)].map((text) => text || "True class"),
      found.map((row) => [name(row), ...found.map((column) => cell(row, column))]), { class: "confusion" }),
    table(`Classes of version ${version}, ${variant}`, ["Class", "Labels", "Precision", "Recall", "F1"], found.map((each) => [
      name(each), format(each.actual ?? 0), interval(each.precision, percent), interval(each.recall, percent), interval(each.f1, format)]))];
}
