// The page's side of the worker that runs the model.

import { InputError } from "./errors.js";

export class Engine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = []; // the worker answers in order
  #failure = null; // why it never will again

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.shift();
      if (data.error) reject(new InputError(data.error));
      else resolve(data);
    };
    this.#worker.onerror = (event) => {
      const what = event.message ? `worker.js failed: ${event.message}` : "worker.js could not be loaded";
      this.#failure = new InputError(`${what}. Reload the page to try again.`);
      this.#waiting.splice(0).forEach(({ reject }) => reject(this.#failure));
    };
  }

  /**
   * Open a model on the fastest device that works, and run it once.
   *
   * @param {Uint8Array} bytes the file, which the worker takes over.
   * @param {object} description as of readDescription.
   * @returns {Promise<{device: string}>} what it runs on, in words.
   */
  open(bytes, description) {
    return this.#ask({ open: { bytes, description } }, [bytes.buffer]);
  }

  /**
   * Label each pixel.
   *
   * @param {Uint8Array} pixels RGB, row by row, of the model's size; the worker takes them over.
   * @returns {Promise<{mask: Uint8Array, milliseconds: number, device: string}>} `mask` holds the label of each pixel.
   */
  segment(pixels) {
    return this.#ask({ segment: { pixels } }, [pixels.buffer]);
  }

  #ask(request, transferred) {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(request, transferred);
    });
  }
}
