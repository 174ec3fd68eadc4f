// In which of eight ways a photo lies, by the EXIF block of its JPEG, PNG or WebP file.

const ORIENTATION = 0x0112;
// A whole number of one, two or four bytes, by EXIF's number of its type.
const READ = { 1: "getUint8", 3: "getUint16", 4: "getUint32" };

// { turn, at, bytes }: 1 to 8, and where in the file that is written; `turn` is 1, and `at` is -1, where it is not.
export function orientation(buffer) {
  const view = new DataView(buffer);
  try {
    for (const block of blocks(view)) {
      const found = inBlock(view, block);
      if (found) return found;
    }
  } catch (error) {
    // A broken block says nothing; the photo may be whole all the same.
    if (!(error instanceof RangeError)) throw error;
  }
  return { turn: 1, at: -1, bytes: 0 };
}

// The file with that number gone, so that every browser decodes the photo as it is stored: not all of them can be told.
export function asStored(buffer, { at, bytes }) {
  if (at < 0) return buffer;
  const copy = buffer.slice(0);
  new Uint8Array(copy).fill(0, at, at + bytes);
  return copy;
}

function text(view, at, length) {
  return String.fromCharCode(...new Uint8Array(view.buffer, at, length));
}

export function isJpeg(buffer) {
  return buffer.byteLength > 2 && new DataView(buffer).getUint16(0) === 0xffd8;
}

// Where EXIF's TIFF headers are.
function* blocks(view) {
  const end = view.byteLength;
  if (isJpeg(view.buffer)) {
    for (let at = 2; at + 4 <= end && view.getUint8(at) === 0xff; ) {
      const marker = view.getUint8(at + 1);
      if (marker === 0xda) return;
      if (marker === 0xe1 && text(view, at + 4, 6) === "Exif\0\0") yield at + 10;
      at += 2 + view.getUint16(at + 2);
    }
  } else if (text(view, 1, 3) === "PNG") {
    for (let at = 8; at + 8 <= end; at += 12 + view.getUint32(at)) if (text(view, at + 4, 4) === "eXIf") yield at + 8;
  } else if (text(view, 8, 4) === "WEBP") {
    for (let at = 12; at + 8 <= end; ) {
      const size = view.getUint32(at + 4, true);
      if (text(view, at, 4) === "EXIF") yield at + (text(view, at + 8, 6) === "Exif\0\0" ? 14 : 8);
      at += 8 + size + (size % 2);
    }
  }
}

function inBlock(view, start) {
  const order = text(view, start, 2);
  if (order !== "II" && order !== "MM") return null;
  const little = order === "II";
  const directory = start + view.getUint32(start + 4, little);
  const count = view.getUint16(directory, little);
  for (let place = 0; place < count; place++) {
    const entry = directory + 2 + 12 * place;
    const read = READ[view.getUint16(entry + 2, little)];
    if (view.getUint16(entry, little) !== ORIENTATION || !read) continue;
    const turn = view[read](entry + 8, little);
    return turn >= 1 && turn <= 8 ? { turn, at: entry + 8, bytes: 4 } : null;
  }
  return null;
}
