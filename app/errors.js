/** Something that the reader of the page can put right; the message names the thing and says what to do. */
export class InputError extends Error {}
