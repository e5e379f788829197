// Masks as colors, and what share of the image each class has.

import { InputError } from "./errors.js";

/** Whether a class has a color; black ones leave the image as it is. */
export const isColored = (color) => color.some((value) => value > 0);

/**
 * Paint a mask, opaque where a class has a color.
 *
 * @param {HTMLCanvasElement} canvas takes the mask's size.
 * @param {Uint8Array} mask the label of each pixel.
 * @param {object} description as of readDescription.
 */
export function paintMask(canvas, mask, { width, height, colors }) {
  const image = new ImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  const painted = new Uint32Array(Uint8Array.from(colors.flatMap((c) => [...c, isColored(c) ? 255 : 0])).buffer);
  for (let i = 0; i < mask.length; i++) words[i] = painted[mask[i]];
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/**
 * The classes that are present, the largest first.
 *
 * @param {Uint8Array} mask the label of each pixel.
 * @param {object} description as of readDescription.
 * @returns {{name: string, color: number[], share: number}[]}
 * @throws {InputError} the mask has a label without a name.
 */
export function classShares(mask, { classes, colors }) {
  const counts = new Uint32Array(256);
  for (const label of mask) counts[label]++;
  const unknown = counts.findIndex((count, label) => count > 0 && label >= classes.length);
  if (unknown >= 0) {
    throw new InputError(
      `The model gave the label ${unknown}, but models/model.onnx.json names ${classes.length} classes. Export it again.`,
    );
  }
  return classes
    .map((name, label) => ({ name, color: colors[label], share: counts[label] / mask.length }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share);
}
