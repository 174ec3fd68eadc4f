// The model, beside the page's own thread: from a photo's file to the row that the service would answer.

import * as ort from "./onnxruntime.js";
import { decode, PhotoProblem } from "./photo.js";
import { likeliest, ranked, Rule } from "./rule.js";
import { square } from "./square.js";

const TOP = 5;
// What probabilities may differ by between this device and where the model was exported.
const TOLERANCE = 1e-3;

const ready = open();
let last = Promise.resolve();

// One photo after the other: there is one thread, and a phone's photo takes much memory.
addEventListener("message", ({ data: { id, file } }) => {
  last = last.then(() => answer(id, file));
});
ready.then(
  (model) => postMessage({ model: model.description, differs: model.differs }),
  (error) => postMessage({ failed: String(error) }),
);

async function answer(id, file) {
  try {
    postMessage({ id, row: await classify(await ready, file) });
  } catch (error) {
    const kind = error instanceof PhotoProblem ? error.kind : "failed";
    postMessage({ id, problem: { kind, message: error.message } });
  }
}

async function open() {
  // One thread: more would need headers that not every host can send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL("onnxruntime.wasm", import.meta.url).href };
  const [exported, check] = await Promise.all(["../kramar.json", "../check.json"].map(json));
  const session = await ort.InferenceSession.create(await bytes("../model.onnx"), { executionProviders: ["wasm"] });
  const { card } = exported;
  const rule = card.decisions && new Rule(card.decisions, card.classes);
  const model = { session, card, rule, description: described(exported) };
  // The first run is slow in any case; that it says what it should is known from then on.
  const { probabilities } = await run(model, drawn(card.resize.size));
  model.differs = probabilities.some((one, place) => !(Math.abs(one - check.probabilities[place]) <= TOLERANCE));
  return model;
}

async function bytes(address) {
  const answered = await fetch(new URL(address, import.meta.url));
  if (!answered.ok) throw new Error(`${address}: ${answered.status}`);
  return new Uint8Array(await answered.arrayBuffer());
}

async function json(address) {
  return JSON.parse(new TextDecoder().decode(await bytes(address)));
}

// The photo that check.json has the answer to.
function drawn(size) {
  return Uint8Array.from({ length: size * size * 3 }, (_, place) => (place * 2_654_435_761) % 4_294_967_296 >>> 24);
}

// What the service says of its model.
function described({ card, source }) {
  const { classes, decisions, metrics, resize } = card;
  return { classes, decisions, metrics, size: resize.size, heat_maps: false, provenance: { ...card, sha256: source } };
}

async function run({ session, card }, pixels) {
  const { size } = card.resize;
  const asked = ["probabilities", "unknown_score"].filter((name) => session.outputNames.includes(name));
  const found = await session.run({ images: new ort.Tensor("uint8", pixels, [1, size, size, 3]) }, asked);
  return { probabilities: found.probabilities.data, unknown: found.unknown_score?.data[0] ?? null };
}

async function classify(model, file) {
  const { card, rule } = model;
  const { size, crop } = card.resize;
  const pixels = square(await decode(file, Math.ceil(size / crop)), card.resize);
  const { probabilities, unknown } = await run(model, pixels);
  const top = likeliest(probabilities);
  const decided = rule?.decide(probabilities, unknown);
  const label = (place) => card.classes[place].label;
  return {
    label: label(top),
    probability: probabilities[top],
    category: decided ? decided.category : card.classes[top].category,
    decision: decided ? decided.decision : "",
    set: decided ? decided.members.map(label) : [],
    unknown_score: unknown,
    error: "",
    top: ranked(probabilities).slice(0, TOP).map((place) => ({ label: label(place), probability: probabilities[place] })),
  };
}
