// The exported model and its description.

import { InputError } from "./errors.js";

const DESCRIPTION = new URL("models/model.onnx.json", import.meta.url);
const REMAKE = "Make it again with: make app.";

/**
 * Read models/model.onnx.json.
 *
 * @returns {Promise<object>} the description that the export wrote, with `width` and `height` of the model's pictures.
 * @throws {InputError} it is missing, or describes a model of another kind.
 */
export async function readDescription() {
  const response = await request(DESCRIPTION, "models/model.onnx.json");
  let description;
  try {
    description = await response.json();
  } catch {
    throw new InputError(`models/model.onnx.json is not JSON. ${REMAKE}`);
  }
  check(description);
  const [, height, width] = description.inputs[0].shape;
  return { ...description, width, height };
}

/**
 * Fetch the model.
 *
 * The total is the description's, since a server that compresses gives another one, or none.
 *
 * @param {object} description as of readDescription.
 * @param {(received: number, total: number) => void} progressed called as bytes come in.
 * @returns {Promise<Uint8Array>}
 * @throws {InputError} the file is missing, cut off, or not the one that was described.
 */
export async function fetchModel(description, progressed) {
  const { file, file_bytes: total } = description;
  const response = await request(new URL(file, DESCRIPTION), `models/${file}`);
  const bytes = new Uint8Array(total);
  let received = 0;
  try {
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (received + value.length > total) throw wrongSize(file, `more than ${total}`, total);
      bytes.set(value, received);
      received += value.length;
      progressed(received, total);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`models/${file} broke off after ${received} of ${total} bytes. Reload the page to try again.`);
  }
  if (received < total) throw wrongSize(file, received, total);
  return bytes;
}

async function request(url, name) {
  let response;
  try {
    response = await fetch(url, { cache: "no-cache" });
  } catch {
    throw new InputError(`${name} could not be fetched: the server does not answer. Start it with: make app.`);
  }
  if (response.status === 404) throw new InputError(`${name} is missing. Make it with: make app.`);
  if (!response.ok) throw new InputError(`${name} could not be fetched: the server answered ${response.status}.`);
  return response;
}

function wrongSize(file, bytes, total) {
  return new InputError(
    `models/${file} has ${bytes} bytes where models/model.onnx.json says ${total}: it was cut off, or is of another export. ` +
      REMAKE,
  );
}

function check(description) {
  const { format, file, file_bytes: bytes, inputs, outputs, classes, colors } = description ?? {};
  const [input, output] = [inputs?.[0], outputs?.[0]];
  const fits =
    format === "onnx" &&
    typeof file === "string" &&
    Number.isInteger(bytes) &&
    inputs?.length === 1 &&
    input.dtype === "uint8" &&
    input.shape.length === 4 &&
    input.shape[0] === 1 &&
    input.shape[3] === 3 &&
    outputs?.length === 1 &&
    output.dtype === "uint8" &&
    String(output.shape) === String(input.shape.slice(0, 3)) &&
    classes?.length > 0 &&
    classes.length === colors?.length;
  if (fits) return;
  const found = [format, input?.dtype, input?.shape?.join("x")].filter(Boolean).join(", ");
  throw new InputError(
    `models/model.onnx.json describes a model that the app cannot use (${found || "without format and inputs"}). Export one ` +
      "with --format=onnx --size=[401,401] --preprocessing=normalize --argmax=true.",
  );
}
