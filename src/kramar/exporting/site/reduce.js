// Pictures made smaller by a whole factor: by the mean of blocks, as Pillow does it (its Reduce.c), and as a JPEG
// decoder does it that reads fewer of each block's frequencies.

// One that divides by `count` as Pillow does: by a multiplication, rounded as float32.
function division(count) {
  const factor = Math.trunc(Math.fround(2 ** 32 / (256 * count)));
  return (sum) => Math.floor(((sum + (count >> 1)) * factor) / 2 ** 24);
}

// Means of factor x factor pixels of the box (of whole numbers); those at its right and lower edge may be of fewer.
export function reduce({ width, data }, factor, { left, top, right, bottom }) {
  const [wide, high] = [Math.ceil((right - left) / factor), Math.ceil((bottom - top) / factor)];
  const made = new Uint8Array(wide * high * 3);
  const by = new Map();
  for (let y = 0, to = 0; y < high; y++) {
    const [first, last] = [top + y * factor, Math.min(top + (y + 1) * factor, bottom)];
    for (let x = 0; x < wide; x++) {
      const [start, end] = [left + x * factor, Math.min(left + (x + 1) * factor, right)];
      const count = (last - first) * (end - start);
      if (!by.has(count)) by.set(count, division(count));
      const mean = by.get(count);
      let [r, g, b] = [0, 0, 0];
      for (let row = first; row < last; row++) {
        for (let from = (row * width + start) * 3, stop = (row * width + end) * 3; from < stop; ) {
          r += data[from++];
          g += data[from++];
          b += data[from++];
        }
      }
      made[to++] = mean(r);
      made[to++] = mean(g);
      made[to++] = mean(b);
    }
  }
  return { width: wide, height: high, data: made };
}

// By how much a JPEG may be made smaller while it is decoded, so that `least` pixels are left of the shorter side.
export function drafted(width, height, least) {
  const scale = Math.min(Math.trunc(width / least), Math.trunc(height / least));
  return [8, 4, 2, 1].find((factor) => scale >= factor) ?? 1;
}

// What a JPEG decoder keeps of 8 pixels, as 8 / factor: their lowest frequencies (a DCT, cut short, and back).
function kept(factor) {
  const few = 8 / factor;
  const wave = (frequency, place, count) =>
    Math.sqrt((frequency ? 2 : 1) / count) * Math.cos((Math.PI * frequency * (place + 0.5)) / count);
  return Array.from({ length: few }, (_, to) =>
    Array.from({ length: 8 }, (_, from) => {
      let sum = 0;
      for (let frequency = 0; frequency < few; frequency++) sum += wave(frequency, to, few) * wave(frequency, from, 8);
      return sum / Math.sqrt(factor);
    }),
  );
}

// Rows of a decoded JPEG, from the start of one of its blocks on, made smaller as its decoder would: nearly so, since
// what it rounds in between is not known any more. `data` is RGBA.
export function draft({ width, height, data }, factor) {
  const [wide, high] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  const matrix = kept(factor);
  const few = 8 / factor;
  const narrow = new Float32Array(wide * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < wide; x++) {
      const row = matrix[x % few];
      const start = Math.floor(x / few) * 8;
      let [r, g, b] = [0, 0, 0];
      for (let i = 0; i < 8; i++) {
        const from = (y * width + Math.min(start + i, width - 1)) * 4;
        r += data[from] * row[i];
        g += data[from + 1] * row[i];
        b += data[from + 2] * row[i];
      }
      const to = (y * wide + x) * 3;
      narrow[to] = r;
      narrow[to + 1] = g;
      narrow[to + 2] = b;
    }
  }
  const made = new Uint8ClampedArray(wide * high * 3);
  for (let y = 0; y < high; y++) {
    const row = matrix[y % few];
    const start = Math.floor(y / few) * 8;
    for (let x = 0; x < wide * 3; x++) {
      let sum = 0;
      for (let i = 0; i < 8; i++) sum += narrow[Math.min(start + i, height - 1) * wide * 3 + x] * row[i];
      made[y * wide * 3 + x] = sum;
    }
  }
  return new Uint8Array(made.buffer);
}
