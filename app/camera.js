// The camera's preview and shutter.

import { InputError } from "./errors.js";

export class Camera {
  #video;
  #stream = null;

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
    try {
      const wanted = { facingMode: "environment", width: { ideal: 1600 }, height: { ideal: 1200 } };
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (error) {
      throw new InputError(
        `The camera cannot be used (${error.message || error.name}). Allow it for this page in the browser's settings, ` +
          "or choose a picture.",
      );
    }
    this.#video.srcObject = this.#stream;
    await this.#video.play();
  }

  /**
   * Take the picture that the preview shows.
   *
   * @returns {Promise<{bitmap: ImageBitmap, width: number, height: number}>}
   */
  async shoot() {
    const bitmap = await createImageBitmap(this.#video);
    return { bitmap, width: bitmap.width, height: bitmap.height };
  }

  /** End the preview and let the camera go. */
  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }
}
