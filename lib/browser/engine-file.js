// Which of the engine's modules this browser runs: one with an instruction that it lacks would be refused as a whole.

/** `i32x4.relaxed_dot_i8x16_i7x16_add_s` of two numbers, each in all lanes, to zero; the first lane. https://webassembly.github.io/spec/core/binary/ */
const PROBE = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, // (i32, i32) -> i32
  3, 2, 1, 0,
  7, 5, 1, 1, 0x66, 0, 0, // exported as "f"
  10, 22, 1, 20, 0,
  0x20, 0, 0xfd, 0x0f, // i8x16.splat of the first
  0x20, 1, 0xfd, 0x0f,
  0x41, 0, 0xfd, 0x11,
  0xfd, 0x93, 0x02, // the instruction
  0xfd, 0x1b, 0, 0x0b,
);

/** Whether the dot product of relaxed SIMD is there, and adds what the engine counts on: early ones did not. */
export async function hasRelaxedSimd() {
  if (!WebAssembly.validate(PROBE)) return false;
  const { instance } = await WebAssembly.instantiate(PROBE);
  const { f: dot } = instance.exports;
  return [[-1, 2], [-128, 63], [127, 63]].every(([activation, code]) => dot(activation, code) === 4 * activation * code);
}

/** The file beside the package that has the fastest engine which runs here. */
export const engineFile = async () => ((await hasRelaxedSimd()) ? 'engine-relaxed.wasm.gz' : 'engine.wasm.gz');
