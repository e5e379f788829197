// Image files as bitmaps, and bitmaps as the pixels that the model takes.

import { InputError } from "./errors.js";

const LONGEST_SIDE = 1600; // pixels that are kept of an image: enough for any screen, little enough for any phone

/**
 * Decode an image file, turned as its EXIF orientation says.
 *
 * @param {File} file
 * @returns {Promise<{bitmap: ImageBitmap, width: number, height: number}>} the bitmap, which is smaller for a large
 *   image, and the image's own size.
 * @throws {InputError} the browser cannot open it.
 */
export async function decodeImage(file) {
  if (file.size === 0) throw new InputError(`${file.name} is empty (0 bytes). Choose another image.`);
  if (file.type === "image/svg+xml") {
    throw new InputError(`${file.name} is a drawing (SVG), which has no pixels. Save it as PNG or JPEG, and choose that.`);
  }
  const { width, height } = await measure(file);
  try {
    return { bitmap: await reduced(file, width, height), width, height };
  } catch {
    throw new InputError(
      `${file.name} (${width} x ${height} pixels) cannot be decoded: it is damaged, or too large for this browser. ` +
        "Choose another image, or save it smaller.",
    );
  }
}

/**
 * Make a bitmap, of at most LONGEST_SIDE pixels on the longer side.
 *
 * @param {Blob | HTMLVideoElement} source
 * @param {number} width of the source, in pixels, as it is shown.
 * @param {number} height
 * @returns {Promise<ImageBitmap>}
 */
export function reduced(source, width, height) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const kept = {
    resizeWidth: Math.max(1, Math.round(width * scale)),
    resizeHeight: Math.max(1, Math.round(height * scale)),
    resizeQuality: "high",
  };
  return createImageBitmap(source, { imageOrientation: "from-image", ...(scale < 1 ? kept : {}) });
}

/** The size of an image as it is shown, from the head of the file. */
async function measure(file) {
  const image = new Image();
  const url = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = url;
    });
  } catch {
    throw new InputError(
      `${file.name} is no image that this browser can open. Choose a JPEG, PNG or WebP file` +
        (/\.hei[cf]$/i.test(file.name) ? ", or set the phone's camera to JPEG." : "."),
    );
  } finally {
    URL.revokeObjectURL(url);
  }
  return { width: image.naturalWidth, height: image.naturalHeight };
}

/**
 * Stretch a bitmap to the model's size.
 *
 * @param {ImageBitmap} bitmap
 * @param {number} width
 * @param {number} height
 * @returns {Uint8Array} RGB, row by row.
 */
export function toPixels(bitmap, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  const pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    pixels[to++] = rgba[from];
    pixels[to++] = rgba[from + 1];
    pixels[to++] = rgba[from + 2];
  }
  return pixels;
}
