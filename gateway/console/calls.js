// The gateway's methods, by the Connect protocol.

let key = sessionStorage.getItem("tensorgate.key") ?? "";

export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function signIn(value) {
  key = value.trim();
  // Gone with the tab.
  sessionStorage.setItem("tensorgate.key", key);
}

export function signedIn() {
  return key !== "";
}

/** What the method answers, in protobuf's JSON. CallError with gRPC's code otherwise. */
export async function call(service, method, request = {}) {
  const headers = { "content-type": "application/json", "connect-timeout-ms": "30000" };
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(`../tensorgate.v1.${service}/${method}`, {
      method: "POST", headers, body: JSON.stringify(request),
    });
  } catch {
    throw new CallError("unavailable", "the gateway does not answer");
  }
  const answer = await response.json().catch(() => (
    { code: response.status === 404 ? "unimplemented" : "unknown", message: `HTTP status ${response.status}` }));
  if (!response.ok) throw new CallError(answer.code, answer.message);
  return answer;
}
