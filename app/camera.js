// The camera's preview and shutter.

import { InputError } from "./errors.js";
import { reduced } from "./image.js";

const REMEDIES = {
  NotAllowedError: "Allow it for this page in the browser's settings, or choose an image.",
  NotFoundError: "Connect one, or choose an image.",
};

export class Camera {
  #video;
  #turn = 0;

  /** @param {HTMLVideoElement} video shows the preview. */
  constructor(video) {
    this.#video = video;
  }

  /** Whether the browser lets the page have a camera at all: only over HTTPS, or from this device. */
  static get allowed() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  /**
   * Begin the preview.
   *
   * @throws {InputError} there is no camera, or it was refused.
   */
  async start() {
    const mine = ++this.#turn;
    const wanted = { facingMode: "environment", width: { ideal: 1600 }, height: { ideal: 1200 } };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (error) {
      if (mine !== this.#turn) return; // it was stopped before it began
      const remedy = REMEDIES[error.name] ?? "Close other programs that use it, or choose an image.";
      throw new InputError(`The camera cannot be used (${error.message || error.name}). ${remedy}`);
    }
    if (mine === this.#turn) this.#video.srcObject = stream;
    else end(stream);
  }

  /**
   * Take the image that the preview shows.
   *
   * @returns {Promise<{bitmap: ImageBitmap, width: number, height: number}>} as of decodeImage.
   * @throws {InputError} the camera gave none.
   */
  async shoot() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    try {
      return { bitmap: await reduced(this.#video, width, height), width, height };
    } catch (error) {
      throw new InputError(`The camera gave no image (${error.message || error.name}). Try again, or choose one.`);
    }
  }

  /** End the preview and let the camera go. */
  stop() {
    this.#turn++;
    end(this.#video.srcObject);
    this.#video.srcObject = null;
  }
}

function end(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}
