// The exported model and its description.

import { InputError } from "./errors.js";

const DESCRIPTION = new URL("models/model.onnx.json", import.meta.url);
const REMAKE = "Remove the folder models, and make it again with: make app.";

/**
 * Read models/model.onnx.json.
 *
 * @returns {Promise<object>} the description that the export wrote, with `width` and `height` of the model's images.
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
  if (response.status === 404) throw new InputError(`${name} is missing. ${REMAKE}`);
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
  const [input, output] = [inputs?.[0] ?? {}, outputs?.[0] ?? {}];
  const [batch, height, width, channels] = input.shape ?? [];
  const isByte = (value) => Number.isInteger(value) && value >= 0 && value <= 255;
  const isColor = (color) => color?.length === 3 && color.every(isByte);
  const needs = [
    [format === "onnx", `its format is ${format}: export it with --format=onnx`],
    [typeof file === "string" && Number.isInteger(bytes), "it has no file and file_bytes: export the model again"],
    [inputs?.length === 1, `it has ${inputs?.length ?? "no"} inputs: the app takes models of one image`],
    [input.dtype === "uint8" && channels === 3, `its input is ${input.dtype}: export it with --preprocessing=normalize`],
    [
      batch === 1 && Number.isInteger(height * width),
      "its images have no fixed size: export it with --size=[401,401] --preprocessing=normalize",
    ],
    [output.dtype === "uint8", `its output is ${output.dtype}: export it with --argmax=true`],
    [
      String(output.shape) === String([1, height, width]),
      "it gives no label for each pixel: the app takes models that segment images",
    ],
    [classes?.length > 0 && classes.length === colors?.length, "its classes have no colors: export the model again"],
    [colors?.every(isColor), "a color is not three numbers from 0 to 255: export the model again"],
  ];
  const missing = needs.find(([met]) => !met);
  if (missing) {
    throw new InputError(`models/model.onnx.json describes a model that the app cannot use: ${missing[1]}.`);
  }
}
