// The page: who looks, at which model, and what is asked how often.

import { call, signIn, signedIn } from "./calls.js";
import * as attempt from "./try.js";
import * as drift from "./drift.js";
import * as quality from "./quality.js";
import * as rollout from "./rollout.js";
import * as traffic from "./traffic.js";

const byId = (id) => document.getElementById(id);
const SECONDS = 2;
const PANELS = { rollout, quality, drift };

function say(text, kind = "") {
  const status = byId("status");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.kind = kind;
}

async function models() {
  const { models: found = [] } = await call("InferenceService", "ListModels");
  const select = byId("model");
  const names = found.map(({ name }) => name);
  if (names.join() !== [...select.options].map(({ value }) => value).join()) {
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(chosen)) select.value = chosen;
  }
  return found;
}

/** Shows a panel where there is something to show: the gateway may do without it, and the key may not be for it. */
async function show(id, panel, model) {
  try {
    await panel.look(model);
    byId(id).hidden = false;
  } catch (error) {
    if (!["unimplemented", "not_found", "failed_precondition", "unavailable", "permission_denied"].includes(error.code)) throw error;
    byId(id).hidden = true;
  }
}

async function look() {
  try {
    const found = await models();
    const model = found.find(({ name }) => name === byId("model").value);
    if (!model) {
      say(found.length ? "" : "This key may call no model.", "bad");
      return;
    }
    attempt.fit(model);
    await traffic.look(model.name);
    for (const [name, panel] of Object.entries(PANELS)) await show(`${name}-section`, panel, model.name);
    say(model.defaultVersion ? "" : `No version of ${model.name} is ready.`, "bad");
  } catch (error) {
    say(error.code === "unauthenticated" ? (signedIn() ? "The key is not valid." : "Sign in with an API key.")
      : `${error.code ?? "error"}: ${error.message}`, "bad");
  }
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(byId("key").value);
  byId("key").value = "";
  look();
});
byId("model").addEventListener("change", () => { traffic.reset(); look(); });
attempt.start();
rollout.start(look);
for (const id of ["quality-window", "drift-window"]) byId(id).addEventListener("change", look);

(async () => {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resume) => setTimeout(resume, 1000 * SECONDS));
  }
})();
