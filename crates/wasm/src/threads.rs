//! A web worker's module has no threads. The standard library asks the C library for them all the same, and that of WASI has
//! these functions only in its newest versions; a no is all that they say there too.

use std::ffi::{c_int, c_void};

/// `ENOTSUP` of WASI.
const NOT_SUPPORTED: c_int = 58;

macro_rules! answers {
    ($answer:expr, $($name:ident($($argument:ty),*)),* $(,)?) => {
        $(
            #[expect(unsafe_code, reason = "stands in for a function of the C library; touches no argument")]
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $name($(_: $argument),*) -> c_int {
                $answer
            }
        )*
    };
}

answers!(
    NOT_SUPPORTED,
    pthread_create(*mut c_void, *const c_void, *const c_void, *mut c_void),
    pthread_join(*mut c_void, *mut c_void),
    pthread_detach(*mut c_void),
);

answers!(
    0,
    pthread_attr_init(*mut c_void),
    pthread_attr_destroy(*mut c_void),
    pthread_attr_setstacksize(*mut c_void, usize),
);
