// Pillow's resize of 8-bit pictures, to the last bit (its Resample.c): a canvas resizes otherwise, and a model sees
// that. A picture is { width, height, data }, data being a Uint8Array of RGB.

const BITS = 22; // of a weight, as a whole number
const HALF = 2 ** (BITS - 1);
const FILTERS = {
  bilinear: { support: 1, weigh: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  bicubic: { support: 2, weigh: bicubic },
};

// Catmull and Rom's, a = -0.5, in the order in which Pillow multiplies.
function bicubic(given) {
  const a = -0.5;
  const x = Math.abs(given);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

export function support(filter) {
  return FILTERS[filter].support;
}

// The pixels from `from` to `to` of `length`, stretched to `size`: of each, the first that counts and all weights.
function weights(length, from, to, size, filter) {
  const { support, weigh } = FILTERS[filter];
  // Pillow keeps the ends of a box as float32.
  const start = Math.fround(from);
  const scale = Math.fround(Math.fround(to) - start) / size;
  const wide = Math.max(scale, 1);
  const reach = support * wide;
  return Array.from({ length: size }, (_, place) => {
    const center = start + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const last = Math.min(length, Math.trunc(center + reach + 0.5));
    const found = Array.from({ length: last - first }, (_, i) => weigh((i + first - center + 0.5) * (1 / wide)));
    const sum = found.reduce((all, one) => all + one, 0);
    const whole = found.map((one) => {
      const share = sum === 0 ? one : one / sum;
      return Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** BITS);
    });
    return { first, whole };
  });
}

function clipped(sum) {
  return Math.min(255, Math.max(0, sum >> BITS));
}

// The box { left, top, right, bottom } of a picture, as size x size pixels.
export function resize(picture, size, box, filter) {
  const { width, height } = picture;
  const across = weights(width, box.left, box.right, size, filter);
  const down = weights(height, box.top, box.bottom, size, filter);
  // Each pass rounds, so that their order shows: Pillow 13 begins with the columns where that is less work (found by
  // trying), older ones always with the rows.
  const isTall = size < height && height + size > 2 * width;
  return isTall ? narrowed(lowered(picture, down), across) : lowered(narrowed(picture, across), down);
}

// Rows of fewer, or more, pixels.
function narrowed({ width, height, data }, across) {
  const made = new Uint8Array(height * across.length * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (const { first, whole } of across) {
      let [r, g, b] = [HALF, HALF, HALF];
      let from = (y * width + first) * 3;
      for (const weight of whole) {
        r += data[from++] * weight;
        g += data[from++] * weight;
        b += data[from++] * weight;
      }
      made[to++] = clipped(r);
      made[to++] = clipped(g);
      made[to++] = clipped(b);
    }
  }
  return { width: across.length, height, data: made };
}

// Columns of fewer, or more, pixels.
function lowered({ width, data }, down) {
  const line = width * 3;
  const made = new Uint8Array(down.length * line);
  down.forEach(({ first, whole }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = HALF;
      let from = first * line + x;
      for (const weight of whole) {
        sum += data[from] * weight;
        from += line;
      }
      made[y * line + x] = clipped(sum);
    }
  });
  return { width, height: down.length, data: made };
}
