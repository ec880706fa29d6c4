// The roll-out: where it stands, why, and what an administrator may do about it.

import { call } from "./calls.js";
import { element, format, percent, refresh, table } from "./charts.js";

const byId = (id) => document.getElementById(id);
const name = (constant, prefix) => (constant ?? "").replace(prefix, "").replace("_", " ").toLowerCase();

let current = null;

export async function look(model) {
  const { rollout } = await call("RolloutService", "GetRollout", { model });
  const { events = [] } = await call("RolloutService", "ListRolloutEvents", { model, pageSize: 10 });
  current = rollout;
  const running = rollout.state === "ROLLOUT_STATE_RUNNING";
  byId("rollout-change").hidden = !running;
  const state = name(rollout.state, "ROLLOUT_STATE_");
  const steps = rollout.rules?.stepPercents ?? [];
  const nodes = [element("p", {}, "State: ", element("strong", { id: "rollout-state" }, state),
    running ? `, ${name(rollout.mode, "ROLLOUT_MODE_")}, step ${(rollout.step ?? 0) + 1} of ${steps.length}.` : ".")];
  if (rollout.problem) nodes.push(element("p", { class: "bad" }, rollout.problem));
  if (rollout.versions?.length) {
    nodes.push(table("Versions of the plan", ["Version", "Role", "Share", "Available"], rollout.versions.map((version) => [
      version.version, name(version.role, "ROLLOUT_ROLE_"), `${format(version.sharePercent ?? 0)} %`, version.available ? "yes" : "no"])));
  }
  if (rollout.verdict) nodes.push(...verdict(rollout.verdict));
  refresh("rollout", ...nodes);
  refresh("rollout-history", ...(events.length ? [table("History, newest first", ["When", "What", "Who", "From", "To", "Why"],
    events.map(({ action, change, before, after }) => [new Date(change.time).toLocaleString(), action, change.by, before, after, change.reason]))] : []));
}

function verdict({ decision, reasons = [], findings = [] }) {
  const kind = { ROLLOUT_DECISION_ROLL_BACK: "bad", ROLLOUT_DECISION_ADVANCE: "good" }[decision];
  const share = ({ bad = 0, total = 0 } = {}) => `${percent(Number(total) ? bad / total : NaN)} of ${format(total)}`;
  return [
    element("p", {}, "Verdict: ", element("strong", { class: kind }, name(decision, "ROLLOUT_DECISION_")), "."),
    element("ul", {}, ...reasons.map((reason) => element("li", {}, reason))),
    ...(findings.length ? [table("Evidence: bad outcomes", ["Metric", "Stable", "Candidate", "Difference", "Tolerated", "Evidence against (1 takes it back)"],
      findings.map((finding) => [finding.metric, share(finding.stable), share(finding.candidate), percent(finding.difference ?? 0),
        percent(finding.tolerated ?? 0), format(Math.max(finding.evidenceRatio ?? 0, 0), 2)]))] : [])];
}

export function start(changed) {
  byId("rollout-change").addEventListener("submit", async (event) => {
    event.preventDefault();
    const outcome = byId("rollout-outcome");
    const method = event.submitter?.value ?? "AdvanceRollout";
    try {
      // Of what was shown: whoever changed the plan meanwhile is not overwritten.
      await call("RolloutService", method, { model: current.model, generation: current.generation, reason: byId("rollout-reason").value });
      byId("rollout-reason").value = "";
      outcome.textContent = "Done.";
    } catch (error) {
      outcome.textContent = error.code === "permission_denied" ? "That takes a key with the scope admin." : `${error.code}: ${error.message}`;
    }
    await changed();
    // Of a roll-out that has ended the buttons are gone, and the focus would be with them.
    if (byId("rollout-change").hidden) outcome.focus();
  });
}
