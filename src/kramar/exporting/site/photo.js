// From a photo's file to an upright picture: `decode` of kramar's data/pixels.py. The browser decodes it, and its JPEG
// decoder may differ from Pillow's by a level or two.

import { asStored, isJpeg, orientation } from "./orientation.js";
import { draft, drafted } from "./reduce.js";

const MOST = 89_478_485;
// Rows that are read at a time, a multiple of a JPEG's blocks: canvases have a largest size, and photos may be larger.
const STRIP = 512;

export class PhotoProblem extends Error {
  // `kind` as the service has it: unreadable, too_large.
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

// { width, height, data }, RGB and upright; a large JPEG smaller, but with `least` pixels on its shorter side.
export async function decode(file, least) {
  const buffer = await file.arrayBuffer();
  if (!buffer.byteLength) throw new PhotoProblem("unreadable", "the file is empty (0 bytes)");
  const lies = buffer.byteLength > 16 ? orientation(buffer) : { turn: 1, at: -1 };
  let bitmap;
  try {
    const stored = new Blob([asStored(buffer, lies)], { type: file.type });
    // Pillow leaves colour profiles alone.
    bitmap = await createImageBitmap(stored, { colorSpaceConversion: "none" });
  } catch {
    throw new PhotoProblem("unreadable", "not an image that this browser can read");
  }
  const { width, height } = bitmap;
  if (width * height > MOST) {
    bitmap.close();
    throw new PhotoProblem("too_large", `${width} x ${height} pixels; at most ${MOST} are read: shrink it first`);
  }
  const picture = read(bitmap, isJpeg(buffer) ? drafted(width, height, least) : 1);
  bitmap.close();
  return turned(picture, lies.turn);
}

// The pixels of a bitmap, on white where it is transparent, made smaller as a JPEG decoder does it.
function read(bitmap, factor) {
  const { width } = bitmap;
  const [wide, high] = [Math.ceil(width / factor), Math.ceil(bitmap.height / factor)];
  const data = new Uint8Array(wide * high * 3);
  const canvas = new OffscreenCanvas(width, Math.min(STRIP, bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < bitmap.height; top += STRIP) {
    const height = Math.min(STRIP, bitmap.height - top);
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, -top);
    const strip = context.getImageData(0, 0, width, height);
    data.set(factor === 1 ? coloured(strip.data) : draft(strip, factor), (top / factor) * wide * 3);
  }
  return { width: wide, height: high, data };
}

function coloured(data) {
  const made = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    made[to++] = data[from];
    made[to++] = data[from + 1];
    made[to++] = data[from + 2];
  }
  return made;
}

// Upright, from one of EXIF's eight orientations.
function turned(picture, turn) {
  if (turn === 1) return picture;
  const { width, height, data } = picture;
  const [wide, high] = turn > 4 ? [height, width] : [width, height];
  const made = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      let [column, row] = turn > 4 ? [y, x] : [x, y];
      if ([2, 3, 7, 8].includes(turn)) column = width - 1 - column;
      if ([3, 4, 6, 7].includes(turn)) row = height - 1 - row;
      const from = (row * width + column) * 3;
      made[to++] = data[from];
      made[to++] = data[from + 1];
      made[to++] = data[from + 2];
    }
  }
  return { width: wide, height: high, data: made };
}
