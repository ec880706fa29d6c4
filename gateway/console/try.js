// Trying a model by its contract: draw, drop or choose an image, fill in a row, or write an instance.

import { call } from "./calls.js";
import { element, percent, table } from "./charts.js";

const byId = (id) => document.getElementById(id);
const STEP = 8;
const PEN = 20;
// Of a float32, which most models answer with, the others say nothing.
const DIGITS = 7;

let model = null;
let paper = null;
let fields = [];

/** Fits the form to the model, as GetModel describes it. */
export function fit(described) {
  if (model?.name === described.name && model?.defaultVersion === described.defaultVersion) return;
  model = described;
  const version = described.versions?.find(({ version }) => version === described.defaultVersion);
  const { acceptsImages: images = false, columns = [] } = version?.contract ?? {};
  const rows = columns.length > 0;
  byId("image-input").hidden = !images;
  byId("row-input").hidden = !rows;
  byId("instance-input").hidden = images || rows;
  byId("answer").replaceChildren();
  fields = columns.map((column, place) => ({ ...column, control: control(column, `column-${place}`) }));
  byId("row").replaceChildren(...fields.flatMap(({ name, control }) => [element("label", { for: control.id }, name), control]));
  if (!images && !rows) byId("instance").value = example(version);
}

/** What a column's value is put in; empty is null where that may be. */
function control({ type, nullable = false }, id) {
  if (type === "COLUMN_TYPE_BOOLEAN") {
    return element("select", { id }, ...[...(nullable ? [""] : []), "false", "true"].map((value) => element("option", {}, value)));
  }
  const number = type === "COLUMN_TYPE_NUMBER";
  return element("input", { id, autocomplete: "off", ...(number && { type: "number", step: "any", required: !nullable && "" }) });
}

const READ = { COLUMN_TYPE_NUMBER: Number, COLUMN_TYPE_STRING: String, COLUMN_TYPE_BOOLEAN: (text) => text === "true" };

function row() {
  return Object.fromEntries(fields.map(({ name, type, nullable, control: { value } }) => [name, nullable && value === "" ? null : READ[type](value)]));
}

/** An instance of the default signature's shape, all zeros. */
function example(version) {
  const wanted = version?.contract?.signature || "serving_default";
  const signature = version?.signatures?.find(({ name }) => name === wanted);
  const tensors = {};
  for (const { name, dtype, shape } of signature?.inputs ?? []) {
    const sizes = (shape ?? []).slice(1).map((size) => Math.max(Number(size), 1));
    const count = Math.min(sizes.reduce((product, size) => product * size, 1), 10000);
    const field = dtype === "DATA_TYPE_STRING" ? "stringValues" : /FLOAT/.test(dtype) ? "floatValues" : "intValues";
    tensors[name] = { dtype, shape: sizes, [field]: Array(count).fill(field === "stringValues" ? "" : 0) };
  }
  return JSON.stringify({ tensors: { tensors } }, null, 1);
}

async function ask(instance) {
  const answer = byId("answer");
  answer.setAttribute("aria-busy", "true");
  try {
    const response = await call("InferenceService", "Predict", { model: model.name, instances: [instance], topK: 1000 });
    show(response);
  } catch (error) {
    answer.replaceChildren(element("p", { class: "bad" }, `${error.code ?? "error"}: ${error.message}`));
  } finally {
    answer.removeAttribute("aria-busy");
  }
}

function show(response) {
  const [prediction] = response.predictions;
  const by = element("p", { class: "muted" }, `version ${response.version}, receipt `, element("code", {}, prediction.id || "none"));
  const nodes = [];
  if (prediction.classification) {
    const { label, confidence, top } = prediction.classification;
    nodes.push(element("p", { class: "big", id: "label" }, label),
      element("p", {}, `with confidence ${percent(confidence ?? 0)}`),
      table("Probability of each class", ["Class", "Probability"], top.map(({ label: name, score = 0 }) => [name,
        element("span", {}, `${percent(score)} `, element("meter", { min: 0, max: 1, value: score, "aria-label": `of ${name}` }))])));
  } else if (prediction.regression) {
    nodes.push(element("p", { class: "big", id: "label" }, String(Number((prediction.regression.value ?? 0).toPrecision(DIGITS)))));
  } else {
    nodes.push(element("pre", {}, JSON.stringify(prediction.outputs, null, 1)));
  }
  byId("answer").replaceChildren(...nodes, by, ...feedback(prediction));
}

/** A form that says what would have been right. */
function feedback(prediction) {
  const scores = prediction.classification?.top;
  if (!prediction.id || !(scores || prediction.regression)) return [];
  const outcome = element("p", { role: "status", class: "muted" });
  const input = scores
    ? element("select", { id: "truth" }, ...scores.map(({ label }) => label).sort().map((label) => element("option", {}, label)))
    : element("input", { id: "truth", type: "number", step: "any", required: "" });
  if (scores) input.value = prediction.classification.label;
  const form = element("form", {}, element("label", {}, "It is ", input), " ", element("button", {}, "Send feedback"), outcome);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await submitFeedback(prediction.id, scores ? { label: input.value } : { value: Number(input.value) });
      outcome.textContent = "Thank you: it counts.";
    } catch (error) {
      outcome.textContent = `${error.code}: ${error.message}`;
    }
  });
  return [form];
}

async function submitFeedback(receipt, truth) {
  await call("FeedbackService", "SubmitFeedback", { feedback: [{ id: receipt, ...truth }] });
}

async function askImage(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let binary = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  await ask({ image: btoa(binary) });
}

class Paper {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pen = [canvas.width / 2, canvas.height / 2];
    this.down = false;
    this.clear();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.down = true;
      this.moveTo(this.place(event), false);
      this.lineTo(this.place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) for (const each of event.getCoalescedEvents?.() ?? [event]) this.lineTo(this.place(each));
    });
    canvas.addEventListener("pointerup", () => { this.down = false; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.down = false; });
  }

  clear() {
    this.context.fillStyle = "#fff";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    Object.assign(this.context, { strokeStyle: "#000", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.canvas.width / box.width, (event.clientY - box.top) * this.canvas.height / box.height];
  }

  moveTo(place) {
    this.pen = place.map((value, axis) => Math.min(Math.max(value, 0), axis ? this.canvas.height : this.canvas.width));
  }

  lineTo(place) {
    this.context.beginPath();
    this.context.moveTo(...this.pen);
    this.moveTo(place);
    this.context.lineTo(...this.pen);
    this.context.stroke();
  }

  key(event) {
    const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (right || down) {
      const place = [this.pen[0] + STEP * right, this.pen[1] + STEP * down];
      if (this.down) this.lineTo(place); else this.moveTo(place);
    } else if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.lineTo(this.pen);
      this.canvas.setAttribute("aria-label", `Paper to draw on, the pen is ${this.down ? "down" : "up"}`);
    } else if (event.key === "Delete") {
      this.clear();
    } else if (event.key === "Enter") {
      byId("ask").click();
    } else {
      return;
    }
    event.preventDefault();
  }
}

export function start() {
  const canvas = byId("paper");
  paper = new Paper(canvas);
  byId("clear").addEventListener("click", () => { paper.clear(); byId("answer").replaceChildren(); });
  byId("ask").addEventListener("click", () => canvas.toBlob(askImage, "image/png"));
  byId("file").addEventListener("change", (event) => { if (event.target.files[0]) askImage(event.target.files[0]); });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    canvas.addEventListener(kind, (event) => {
      event.preventDefault();
      canvas.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) askImage(event.dataTransfer.files[0]);
    });
  }
  byId("row-input").addEventListener("submit", (event) => {
    event.preventDefault();
    ask({ row: row() });
  });
  byId("instance-input").addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      ask(JSON.parse(byId("instance").value));
    } catch (error) {
      byId("answer").replaceChildren(element("p", { class: "bad" }, `not JSON: ${error.message}`));
    }
  });
}
