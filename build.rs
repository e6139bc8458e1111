//! Tells the linker about the symbols that Node provides.

fn main() {
    napi_build::setup();
}
