// A client made from the .proto files alone. Arguments: the folder of the .proto files, the gateway's address, an image.
// The key is in TENSORGATE_KEY. Prints what Predict and StreamPredict answer, and what a wrong key gets, as JSON.
"use strict";

const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [protos, address, file] = process.argv.slice(2);
const definition = protoLoader.loadSync("tensorgate/v1/inference_service.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: Number,
  enums: String,
  oneofs: true,
});
const { InferenceService } = grpc.loadPackageDefinition(definition).tensorgate.v1;
const client = new InferenceService(address, grpc.credentials.createInsecure());

function metadata(key) {
  const entries = new grpc.Metadata();
  entries.set("authorization", `Bearer ${key}`);
  return entries;
}

function predict(request, key) {
  return new Promise((resolve) => {
    client.Predict(request, metadata(key), (error, answer) =>
      resolve(error ? { code: grpc.status[error.code], details: error.details } : answer),
    );
  });
}

async function stream(requests, key) {
  const call = client.StreamPredict(metadata(key));
  for (const request of requests) {
    call.write(request);
  }
  call.end();
  const answers = [];
  for await (const answer of call) {
    answers.push(answer);
  }
  return answers;
}

async function main() {
  const key = process.env.TENSORGATE_KEY;
  const request = { model: "digits", instances: [{ image: fs.readFileSync(file) }] };
  const tagged = [request, { model: "cats" }, request].map((one, place) => ({
    tag: `t${place}`,
    request: one,
    in_order: true,
  }));
  const answers = {
    predict: await predict(request, key),
    stream: await stream(tagged, key),
    refused: await predict(request, "wrong"),
  };
  console.log(JSON.stringify(answers));
  client.close();
}

main();
